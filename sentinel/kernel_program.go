package sentinel

import (
	"slices"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// signal_struct.flags, from include/linux/sched/signal.h.
const (
	signalGroupExit  = 0x4
	signalUnkillable = 0x40
)

// pidTypeTGID is the index of signal_struct.pids, from include/linux/pid_types.h.
const pidTypeTGID = 1

// harmless is the set of signals whose default action is not death: they are
// ignored or stop the process (include/linux/signal.h).
const harmless = 1<<(unix.SIGCONT-1) | 1<<(unix.SIGCHLD-1) | 1<<(unix.SIGWINCH-1) | 1<<(unix.SIGURG-1) |
	1<<(unix.SIGSTOP-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)

// dumping is the set of signals (a bit each) whose default action dumps core
// (include/linux/signal.h, SIG_KERNEL_COREDUMP_MASK).
const dumping = 1<<unix.SIGQUIT | 1<<unix.SIGILL | 1<<unix.SIGTRAP | 1<<unix.SIGABRT | 1<<unix.SIGFPE |
	1<<unix.SIGSEGV | 1<<unix.SIGBUS | 1<<unix.SIGSYS | 1<<unix.SIGXCPU | 1<<unix.SIGXFSZ

// The maps that the programs share with the sentinel.
const (
	mapWatched = "watched"
	mapDeaths  = "deaths" // the ring
	mapLost    = "lost"   // how many records found no room
)

// A value of the map of watched processes: the token with which the sentinel
// knows the process, which notices were given (0 or 1), and whether the second
// of them need not wake anybody. 24 bytes.
const (
	valueToken  = 0
	valueDoomed = 8
	valueFenced = 12
	valueQuiet  = 16
	valueSize   = 24
)

// A record in the ring: token, time, wait status, kind, thread. 28 bytes.
const (
	recordToken  = 0
	recordAt     = 8
	recordStatus = 16
	recordKind   = 20
	recordThread = 24
	recordSize   = 28
	// recordEarly is set in the kind if the process still had its memory.
	recordEarly = 1 << 8
)

// recordBase is where a program builds its record, from the frame pointer.
const recordBase = -32

// programs writes the three kernel programs. In all of them: R6 the arguments,
// R7 the task, R8 the value of the map, R9 its signal_struct. First comes what
// spares almost everybody the look-up in the map. They read kernel memory by
// plain loads, which the kernel guards: a bad one gives 0.
type programs struct {
	layout
	namespace namespace
}

// namespace is a PID namespace as the kernel sees it: how deep it lies, and
// its inode. The initial one has level 0.
type namespace struct{ level, inum int32 }

// generate sees a signal being sent, in the sender's context
// (signal:signal_generate). When it kills, the kernel has marked the process
// already: nothing can save it, and it need not have run since.
func (p programs) generate() asm.Instructions {
	return join(
		asm.Instructions{
			asm.LoadMem(asm.R7, asm.R1, 16, asm.DWord),
			asm.LoadMem(asm.R9, asm.R7, p.signal, asm.DWord),
			asm.LoadMem(asm.R2, asm.R9, p.flags, asm.Word),
			asm.And.Imm(asm.R2, signalGroupExit),
			asm.JEq.Imm(asm.R2, 0, "out"),
			asm.LoadMem(asm.R1, asm.R9, p.exitCode, asm.Word),
		},
		p.find(),
		p.record(Doomed),
		end())
}

// deliver sees a signal reaching its thread (signal:signal_deliver): the
// default action of a signal that generate could not judge (it dumps core, was
// blocked, or a tracer decides), or the end of a thread whose process exits.
// The lock on the process's signals is held, so nothing here is a race.
func (p programs) deliver() asm.Instructions {
	return join(
		begin(),
		asm.Instructions{
			asm.LoadMem(asm.R9, asm.R7, p.signal, asm.DWord),
			asm.LoadMem(asm.R2, asm.R9, p.flags, asm.Word),
			asm.LoadMem(asm.R1, asm.R9, p.exitCode, asm.Word),
			asm.Mov.Reg(asm.R3, asm.R2),
			asm.And.Imm(asm.R3, signalGroupExit),
			asm.JNE.Imm(asm.R3, 0, "fatal"),
			// Another thread calls exec: this one dies, the process does not.
			asm.LoadMem(asm.R3, asm.R9, p.exec, asm.DWord),
			asm.JNE.Imm(asm.R3, 0, "out"),
			asm.LoadMem(asm.R3, asm.R6, 16, asm.DWord), // the action
			asm.LoadMem(asm.R3, asm.R3, p.handler, asm.DWord),
			asm.JNE.Imm(asm.R3, 0, "out"),             // not SIG_DFL
			asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord), // the signal
			asm.Mov.Reg(asm.R4, asm.R1),
			asm.Sub.Imm(asm.R4, 1),
			asm.LoadImm(asm.R3, int64(harmless), asm.DWord),
			asm.RSh.Reg(asm.R3, asm.R4),
			asm.And.Imm(asm.R3, 1),
			asm.JNE.Imm(asm.R3, 0, "out"),
			asm.And.Imm(asm.R2, signalUnkillable), // init of a PID namespace
			asm.JEq.Imm(asm.R2, 0, "fatal"),
			asm.JNE.Imm(asm.R1, int32(unix.SIGKILL), "out"),
		},
		label("fatal", p.find()),
		p.record(Doomed),
		end())
}

// exit sees a thread exiting, at one of exitHooks. Memory and files are there
// still. The last thread is the fence; any other tells of the end of the
// process if that was decided (exit_group), and is nothing otherwise.
func (p programs) exit() asm.Instructions {
	last := func(target string) asm.Instructions {
		return asm.Instructions{
			asm.LoadMem(asm.R2, asm.R6, 8, asm.DWord), // group_dead
			asm.And.Imm(asm.R2, 0xff),
			asm.JNE.Imm(asm.R2, 0, target),
		}
	}
	return join(
		begin(),
		asm.Instructions{
			asm.LoadMem(asm.R9, asm.R7, p.signal, asm.DWord),
			asm.LoadMem(asm.R1, asm.R9, p.exitCode, asm.Word),
		},
		last("ends"),
		asm.Instructions{
			asm.LoadMem(asm.R2, asm.R9, p.flags, asm.Word),
			asm.And.Imm(asm.R2, signalGroupExit),
			asm.JEq.Imm(asm.R2, 0, "out"),
		},
		label("ends", p.find()),
		last("fenced"),
		p.record(Doomed),
		asm.Instructions{asm.Ja.Label("out")},
		label("fenced", p.record(Fenced)),
		end())
}

// begin is for a program that runs in the context of the task it is about.
func begin() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetCurrentTaskBtf.Call(),
		asm.Mov.Reg(asm.R7, asm.R0),
	}
}

// find keeps the wait status in R1 for the record, and sets R8, or leaves if
// nobody watches the process.
func (p programs) find() asm.Instructions {
	ins := asm.Instructions{asm.StoreMem(asm.RFP, recordBase+recordStatus, asm.R1, asm.Word)}
	if p.namespace.level == 0 {
		ins = append(ins, asm.LoadMem(asm.R1, asm.R7, p.tgid, asm.Word))
	} else { // the process's number in the sentinel's PID namespace
		upid := p.upid()
		ins = append(ins,
			asm.LoadMem(asm.R2, asm.R9, p.pids+8*pidTypeTGID, asm.DWord),
			asm.LoadMem(asm.R1, asm.R2, p.level, asm.Word),
			asm.JLT.Imm(asm.R1, p.namespace.level, "out"),
			asm.LoadMem(asm.R1, asm.R2, upid+p.ns, asm.DWord),
			asm.LoadMem(asm.R1, asm.R1, p.inum, asm.Word),
			asm.LoadImm(asm.R3, int64(uint32(p.namespace.inum)), asm.DWord),
			asm.JNE.Reg(asm.R1, asm.R3, "out"),
			asm.LoadMem(asm.R1, asm.R2, upid+p.nr, asm.Word))
	}
	return append(ins,
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, 0).WithReference(mapWatched),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(asm.R8, asm.R0))
}

// upid is where a struct pid has its number in the sentinel's PID namespace.
func (p programs) upid() int16 { return p.numbers + int16(p.namespace.level)*p.upidSize }

// record sends one notice, unless it was sent.
func (p programs) record(kind Kind) asm.Instructions {
	flag, late := int16(valueDoomed), "doomed late"
	if kind == Fenced {
		flag, late = valueFenced, "fenced late"
	}
	wake := asm.Instructions{asm.Mov.Imm(asm.R4, unix.BPF_RB_FORCE_WAKEUP)}
	if kind == Fenced { // one less, BPF_RB_NO_WAKEUP, where that was asked for and Doomed was told
		wake = append(wake,
			asm.LoadMem(asm.R1, asm.R8, valueDoomed, asm.Word),
			asm.LoadMem(asm.R2, asm.R8, valueQuiet, asm.Word),
			asm.And.Reg(asm.R1, asm.R2),
			asm.Sub.Reg(asm.R4, asm.R1))
	}
	return join(asm.Instructions{
		asm.Mov.Imm(asm.R1, 1),
		exchange(asm.R8, asm.R1, flag),
		asm.JNE.Imm(asm.R1, 0, "out"),
		asm.Mov.Imm(asm.R2, int32(kind)),
		asm.LoadMem(asm.R1, asm.R7, p.mm, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, late),
		asm.Or.Imm(asm.R2, recordEarly),
		asm.StoreMem(asm.RFP, recordBase+recordKind, asm.R2, asm.Word).WithSymbol(late),
		asm.LoadMem(asm.R1, asm.R7, p.threadPid, asm.DWord),
		asm.LoadMem(asm.R1, asm.R1, p.upid()+p.nr, asm.Word),
		asm.StoreMem(asm.RFP, recordBase+recordThread, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R8, valueToken, asm.DWord),
		asm.StoreMem(asm.RFP, recordBase+recordToken, asm.R1, asm.DWord),
		asm.FnKtimeGetNs.Call(), // CLOCK_MONOTONIC
		asm.StoreMem(asm.RFP, recordBase+recordAt, asm.R0, asm.DWord),
	}, wake, asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference(mapDeaths),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, recordBase),
		asm.Mov.Imm(asm.R3, recordSize),
		asm.FnRingbufOutput.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		// The ring is full. Count it, and let the next thread try again.
		asm.StoreImm(asm.R8, flag, 0, asm.Word),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, 0).WithReference(mapLost),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
	})
}

func end() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return()}
}

func join(parts ...asm.Instructions) asm.Instructions { return slices.Concat(parts...) }

// label makes the first instruction of a part the target of jumps.
func label(name string, part asm.Instructions) asm.Instructions {
	part[0] = part[0].WithSymbol(name)
	return part
}

// exchange swaps a 32-bit register and memory. The library leaves the constant
// of an atomic instruction 0 (an addition) unless it is set beforehand.
func exchange(address, value asm.Register, offset int16) asm.Instruction {
	ins := asm.Xchg.Mem(address, value, asm.Word, offset)
	ins.Constant = int64(asm.Xchg >> 8)
	return ins
}

// levelProgram returns how deep the calling process's PID namespace lies.
func levelProgram(l layout) asm.Instructions {
	return asm.Instructions{
		asm.FnGetCurrentTaskBtf.Call(),
		asm.LoadMem(asm.R1, asm.R0, l.threadPid, asm.DWord),
		asm.LoadMem(asm.R0, asm.R1, l.level, asm.Word),
		asm.Return(),
	}
}
