package sentinel

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// layout is where the running kernel keeps the fields that the programs read,
// as byte offsets, by its own type information (BTF).
type layout struct {
	tgid, signal, mm            int16 // task_struct
	flags, exitCode, exec, pids int16 // signal_struct
	handler                     int16 // k_sigaction.sa.sa_handler
	threadPid                   int16 // task_struct, for the PID namespace
	level, numbers              int16 // pid
	upidSize, nr, ns, inum      int16 // upid, pid_namespace.ns.inum
}

func findLayout(kernel *btf.Spec) (layout, error) {
	var l layout
	var upid *btf.Struct
	if err := kernel.TypeByName("upid", &upid); err != nil {
		return l, fmt.Errorf("kernel type upid: %w", err)
	}
	l.upidSize = int16(upid.Size)
	for _, f := range []struct {
		to    *int16
		name  string
		field string // its path
	}{
		{&l.tgid, "task_struct", "tgid"},
		{&l.signal, "task_struct", "signal"},
		{&l.mm, "task_struct", "mm"},
		{&l.threadPid, "task_struct", "thread_pid"},
		{&l.flags, "signal_struct", "flags"},
		{&l.exitCode, "signal_struct", "group_exit_code"},
		{&l.exec, "signal_struct", "group_exec_task|group_exit_task"}, // the second before 5.17
		{&l.pids, "signal_struct", "pids"},
		{&l.handler, "k_sigaction", "sa.sa_handler"},
		{&l.level, "pid", "level"},
		{&l.numbers, "pid", "numbers"},
		{&l.nr, "upid", "nr"},
		{&l.ns, "upid", "ns"},
		{&l.inum, "pid_namespace", "ns.inum"},
	} {
		offset, err := offsetOf(kernel, f.name, f.field)
		if err != nil {
			return l, fmt.Errorf("kernel type %s, field %s: %w", f.name, f.field, err)
		}
		*f.to = offset
	}
	return l, nil
}

var errNoField = errors.New("not in this kernel")

// offsetOf finds a field by its path (a.b), or by another that it may have
// (a.b|c).
func offsetOf(kernel *btf.Spec, name, field string) (int16, error) {
	var s *btf.Struct
	if err := kernel.TypeByName(name, &s); err != nil {
		return 0, err
	}
	for _, path := range strings.Split(field, "|") {
		if offset, err := walk(s, strings.Split(path, ".")); err != errNoField {
			return offset, err
		}
	}
	return 0, errNoField
}

func walk(in btf.Type, path []string) (int16, error) {
	total := uint32(0)
	for _, field := range path {
		offset, t, ok := member(in, field)
		if !ok {
			return 0, errNoField
		}
		total, in = total+offset, t
	}
	if total > 1<<15-1 { // what an instruction can address
		return 0, fmt.Errorf("offset %d is out of reach", total)
	}
	return int16(total), nil
}

// member finds a field, also inside members without a name.
func member(in btf.Type, name string) (offset uint32, t btf.Type, ok bool) {
	var members []btf.Member
	switch c := btf.UnderlyingType(in).(type) {
	case *btf.Struct:
		members = c.Members
	case *btf.Union:
		members = c.Members
	}
	for _, m := range members {
		if m.Name == name {
			return m.Offset.Bytes(), m.Type, true
		}
		if m.Name == "" {
			if offset, t, ok := member(m.Type, name); ok {
				return m.Offset.Bytes() + offset, t, true
			}
		}
	}
	return 0, nil, false
}

// exitHook is a place in the kernel that every exiting thread passes. All of
// them say group_dead (no other thread of the process is left) in their second
// argument.
type exitHook struct {
	name       string
	tracepoint bool
}

// exitHooks come before the memory is torn down: the tracepoint since 6.16,
// where its second argument is new too; the functions in do_exit
// (kernel/exit.c) where the kernel keeps accounts, which distributions' do.
var exitHooks = []exitHook{
	{"sched_process_exit", true},
	{"taskstats_exit", false},
	{"acct_collect", false},
}

// findExitHook returns the first of candidates that this kernel has in the
// form that is needed.
func findExitHook(kernel *btf.Spec, candidates []exitHook) (exitHook, error) {
	for _, h := range candidates {
		if kernelHas(kernel, h) {
			return h, nil
		}
	}
	return exitHook{}, errors.New("this kernel has no hook at a process's exit before its memory is freed")
}

func kernelHas(kernel *btf.Spec, h exitHook) bool {
	var tp *btf.Typedef
	var f *btf.Func
	switch {
	case h.tracepoint && kernel.TypeByName("btf_trace_"+h.name, &tp) == nil:
		pointer, _ := btf.As[*btf.Pointer](tp.Type)
		if pointer == nil {
			return false
		}
		proto, _ := btf.As[*btf.FuncProto](pointer.Target)
		return proto != nil && len(proto.Params) == 3 // the first is the probe's own
	case !h.tracepoint && kernel.TypeByName(h.name, &f) == nil:
		proto, _ := btf.As[*btf.FuncProto](f.Type)
		return proto != nil && len(proto.Params) == 2 && proto.Params[1].Name == "group_dead"
	}
	return false
}
