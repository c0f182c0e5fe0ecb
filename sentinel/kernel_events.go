package sentinel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
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
	watched, ringMap, lostMap *ebpf.Map
	ring                      *ring
	links                     []link.Link
	hook                      exitHook

	mu       sync.Mutex // of deletion
	deletion *deletion
}

// openKernelEvents loads and attaches. ringSize is in bytes, a power of two
// and of the page's size; hooks are the places for the exit, the best first.
func openKernelEvents(ringSize int, hooks []exitHook) (_ *kernelEvents, err error) {
	if u := unprivileged(); u != "" {
		return nil, errors.New(u)
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("the kernel's type information: %w", err)
	}
	p := programs{}
	if p.layout, err = findLayout(kernel); err != nil {
		return nil, err
	}
	k := &kernelEvents{}
	if k.hook, err = findExitHook(kernel, hooks); err != nil {
		return nil, err
	}
	if p.namespace, err = ownNamespace(p.layout); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if err = k.makeMaps(ringSize); err != nil {
		return nil, err
	}
	p.watched, p.ring, p.lost = k.watched, k.ringMap, k.lostMap
	for _, at := range []struct {
		exitHook
		code asm.Instructions
	}{
		{exitHook{"signal_generate", true}, p.generate()},
		{exitHook{"signal_deliver", true}, p.deliver()},
		{k.hook, p.exit()},
	} {
		if err = k.attach(at.exitHook, at.code); err != nil {
			return nil, fmt.Errorf("program at %s: %w", at.name, err)
		}
	}
	return k, nil
}

func (k *kernelEvents) makeMaps(ringSize int) (err error) {
	for _, m := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&k.watched, ebpf.MapSpec{Name: "watched", Type: ebpf.Hash, KeySize: 4, ValueSize: valueSize,
			MaxEntries: maxWatched, Flags: unix.BPF_F_NO_PREALLOC}},
		{&k.ringMap, ebpf.MapSpec{Name: "deaths", Type: ebpf.RingBuf, MaxEntries: uint32(ringSize)}},
		{&k.lostMap, ebpf.MapSpec{Name: "lost", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}},
	} {
		if *m.to, err = ebpf.NewMap(&m.spec); err != nil {
			return fmt.Errorf("map %s: %w", m.spec.Name, err)
		}
	}
	k.deletion = &deletion{}
	k.deletion.attr.mapFD = uint32(k.watched.FD())
	k.deletion.attr.key = uintptr(unsafe.Pointer(&k.deletion.pid))
	k.ring, err = newRing(k.ringMap.FD(), ringSize)
	return err
}

func (k *kernelEvents) attach(at exitHook, code asm.Instructions) error {
	spec := &ebpf.ProgramSpec{Name: "understudy", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry,
		AttachTo: at.name, License: "GPL", Instructions: code}
	if at.tracepoint {
		spec.AttachType = ebpf.AttachTraceRawTp
	}
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		return err
	}
	defer program.Close() // the link keeps it
	l, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		return err
	}
	k.links = append(k.links, l)
	return nil
}

// ownNamespace finds where this process's PID namespace lies.
func ownNamespace(l layout) (namespace, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return namespace{}, &os.PathError{Op: "stat", Path: "/proc/self/ns/pid", Err: err}
	}
	if st.Ino == initialPidNS {
		return namespace{}, nil
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "understudy", Type: ebpf.RawTracepoint,
		License: "GPL", Instructions: levelProgram(l)})
	if err != nil {
		return namespace{}, fmt.Errorf("PID namespace: %w", err)
	}
	defer program.Close()
	level, err := program.Run(&ebpf.RunOptions{})
	if err != nil {
		return namespace{}, fmt.Errorf("PID namespace: %w", err)
	}
	return namespace{level: int32(level), inum: int32(st.Ino)}, nil
}

func (k *kernelEvents) watch(pid int, token uint64) error {
	key := uint32(pid)
	var value [valueSize]byte
	binary.NativeEndian.PutUint64(value[valueToken:], token)
	return k.watched.Put(key, value[:])
}

func (k *kernelEvents) unwatch(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deletion.pid = uint32(pid)
	_, _, _ = unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_DELETE_ELEM, uintptr(unsafe.Pointer(&k.deletion.attr)), unsafe.Sizeof(k.deletion.attr))
}

// deletion is the request to take a process out of the map. It is made by the
// bare system call, from memory kept for it: it is on the path of a notice,
// and the library's call allocates.
type deletion struct {
	attr struct { // union bpf_attr of BPF_MAP_DELETE_ELEM
		mapFD, _     uint32
		key          uintptr
		value, flags uint64
	}
	pid uint32
}

func (k *kernelEvents) fd() int { return k.ringMap.FD() }

func (k *kernelEvents) drain(take func(record)) {
	for {
		b := k.ring.next()
		if b == nil {
			return
		}
		kind := binary.NativeEndian.Uint32(b[recordKind:])
		r := record{
			token:  binary.NativeEndian.Uint64(b[recordToken:]),
			at:     int64(binary.NativeEndian.Uint64(b[recordAt:])),
			signal: int(binary.NativeEndian.Uint32(b[recordStatus:]) & 0x7f),
			kind:   Kind(kind & 0xff),
			early:  kind&recordEarly != 0,
		}
		k.ring.done(len(b))
		take(r)
	}
}

func (k *kernelEvents) lost() uint64 {
	var n uint64
	_ = k.lostMap.Lookup(uint32(0), &n) // an array's first element always exists
	return n
}

func (k *kernelEvents) close() {
	for _, l := range k.links {
		_ = l.Close()
	}
	if k.ring != nil {
		k.ring.close()
	}
	for _, m := range []*ebpf.Map{k.watched, k.ringMap, k.lostMap} {
		if m != nil {
			_ = m.Close()
		}
	}
}
