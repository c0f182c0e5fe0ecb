package sentinel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

const (
	// maxWatched bounds the kernel's map; it grows as it is needed. A process
	// beyond it is known by its pidfd alone.
	maxWatched = 1 << 16
	// ringSize holds the records of some thousand deaths at once: a death is
	// 64 bytes. What does not fit is counted and healed by the pidfd.
	ringSize = 1 << 18
	// initialPidNS is the inode of the first PID namespace, from
	// include/linux/proc_ns.h.
	initialPidNS = 0xEFFFFFFC
)

// kernelEvents is the early source: three small programs in the kernel see
// signals and exits, look the process up in a map of those watched, and write
// a record to a ring buffer that wakes the sentinel. The rest of the machine
// costs them one failed look-up, and wakes nobody.
type kernelEvents struct {
	*ebpf.Collection
	links []link.Link
	ring  *ring
	// quiet is 1 if Fenced wakes nobody where Doomed was told, of processes
	// that are watched from then on.
	quiet uint32

	mu       sync.Mutex // of deletion
	deletion *deletion
}

// openKernelEvents loads and attaches. ringSize is in bytes, a power of two
// and a multiple of the page's; hooks are the places for the exit, the best
// first.
func openKernelEvents(ringSize int, hooks []exitHook) (*kernelEvents, error) {
	if !has(unix.CAP_SYS_ADMIN) && !(has(unix.CAP_BPF) && has(unix.CAP_PERFMON)) {
		return nil, errors.New("needs CAP_BPF and CAP_PERFMON")
	}
	spec, err := kernelSpec(ringSize, hooks)
	if err != nil {
		return nil, err
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	k := &kernelEvents{Collection: c, deletion: newDeletion(c.Maps[mapWatched])}
	for name, p := range c.Programs {
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			k.close()
			return nil, fmt.Errorf("attach to %s: %w", name, err)
		}
		k.links = append(k.links, l)
	}
	if k.ring, err = newRing(c.Maps[mapDeaths].FD(), ringSize); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

// kernelSpec is what is to be loaded, written for the running kernel.
func kernelSpec(ringSize int, hooks []exitHook) (*ebpf.CollectionSpec, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("the kernel's type information: %w", err)
	}
	p := programs{}
	if p.layout, err = findLayout(kernel); err != nil {
		return nil, err
	}
	hook, err := findExitHook(kernel, hooks)
	if err != nil {
		return nil, err
	}
	if p.namespace, err = ownNamespace(p.layout); err != nil {
		return nil, fmt.Errorf("own PID namespace: %w", err)
	}
	return &ebpf.CollectionSpec{
		Maps: map[string]*ebpf.MapSpec{
			mapWatched: {Type: ebpf.Hash, KeySize: 4, ValueSize: valueSize, MaxEntries: maxWatched, Flags: unix.BPF_F_NO_PREALLOC},
			mapDeaths:  {Type: ebpf.RingBuf, MaxEntries: uint32(ringSize)},
			mapLost:    {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1},
		},
		Programs: map[string]*ebpf.ProgramSpec{
			"signal_generate": programAt(exitHook{"signal_generate", true}, p.generate()),
			"signal_deliver":  programAt(exitHook{"signal_deliver", true}, p.deliver()),
			hook.name:         programAt(hook, p.exit()),
		},
	}, nil
}

func programAt(at exitHook, code asm.Instructions) *ebpf.ProgramSpec {
	spec := &ebpf.ProgramSpec{Name: "understudy", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry,
		AttachTo: at.name, License: "GPL", Instructions: code}
	if at.tracepoint {
		spec.AttachType = ebpf.AttachTraceRawTp
	}
	return spec
}

// ownNamespace finds where this process's PID namespace lies.
func ownNamespace(l layout) (namespace, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return namespace{}, fmt.Errorf("/proc/self/ns/pid: %w", err)
	}
	if st.Ino == initialPidNS {
		return namespace{}, nil
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.RawTracepoint, License: "GPL", Instructions: levelProgram(l)})
	if err != nil {
		return namespace{}, err
	}
	defer program.Close()
	level, err := program.Run(&ebpf.RunOptions{})
	if err != nil {
		return namespace{}, err
	}
	return namespace{level: int32(level), inum: int32(st.Ino)}, nil
}

func (k *kernelEvents) watch(pid int, token uint64) error {
	var value [valueSize]byte
	binary.NativeEndian.PutUint64(value[valueToken:], token)
	binary.NativeEndian.PutUint32(value[valueQuiet:], k.quiet)
	return k.Maps[mapWatched].Put(uint32(pid), value[:])
}

func (k *kernelEvents) unwatch(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deletion.do(pid)
}

func (k *kernelEvents) fd() int { return k.Maps[mapDeaths].FD() }

func (k *kernelEvents) drain(take func(record)) {
	for {
		b := k.ring.next()
		if b == nil {
			return
		}
		kind := binary.NativeEndian.Uint32(b[recordKind:])
		signal := int(binary.NativeEndian.Uint32(b[recordStatus:]) & 0x7f)
		r := record{
			token:  binary.NativeEndian.Uint64(b[recordToken:]),
			at:     int64(binary.NativeEndian.Uint64(b[recordAt:])),
			signal: signal,
			kind:   Kind(kind & 0xff),
			early:  kind&recordEarly != 0,
		}
		if r.kind == Doomed && uint64(dumping)>>signal&1 != 0 {
			r.dumper = int(binary.NativeEndian.Uint32(b[recordThread:]))
		}
		k.ring.done(len(b))
		take(r)
	}
}

func (k *kernelEvents) lost() uint64 {
	var n uint64
	_ = k.Maps[mapLost].Lookup(uint32(0), &n) // an array's first element always exists
	return n
}

func (k *kernelEvents) close() {
	for _, l := range k.links {
		_ = l.Close()
	}
	if k.ring != nil {
		k.ring.close()
	}
	k.Collection.Close()
}

// deletion takes processes out of the map by the bare system call, from memory
// kept for it: it is on the path of a notice, and the library's allocates.
type deletion struct {
	attr struct { // union bpf_attr for BPF_MAP_DELETE_ELEM
		mapFD, _     uint32
		key          uintptr
		value, flags uint64
	}
	pid uint32
}

func newDeletion(m *ebpf.Map) *deletion {
	d := &deletion{}
	d.attr.mapFD = uint32(m.FD())
	d.attr.key = uintptr(unsafe.Pointer(&d.pid))
	return d
}

func (d *deletion) do(pid int) {
	d.pid = uint32(pid)
	// An error says that it was not there.
	_, _, _ = unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_DELETE_ELEM, uintptr(unsafe.Pointer(&d.attr)), unsafe.Sizeof(d.attr))
}
