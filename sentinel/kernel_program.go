package sentinel

import (
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

// The maps that the programs share with the sentinel.
const (
	mapWatched = "watched"
	mapDeaths  = "deaths" // the ring
	mapLost    = "lost"   // how many records found no room
)

// A value of the map of watched processes: the token with which the sentinel
// knows the process, and which notices were given. 16 bytes.
const (
	valueToken  = 0
	valueDoomed = 8
	valueFenced = 12
	valueSize   = 16
)

// A record in the ring: token, time, wait status, kind. 24 bytes.
const (
	recordToken  = 0
	recordAt     = 8
	recordStatus = 16
	recordKind   = 20
	recordSize   = 24
	// recordEarly is set in the kind if the process still had its memory.
	recordEarly = 1 << 8
)

// programs writes the three kernel programs. In all of them: R6 the arguments,
// R7 the task, R8 the value of the map, R9 its signal_struct. They read kernel
// memory by plain loads, which the kernel guards: a bad one gives 0.
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
	ins := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, 16, asm.DWord), // task
	}
	return append(append(append(ins,
		p.find()...),
		asm.LoadMem(asm.R1, asm.R9, p.flags, asm.Word),
		asm.And.Imm(asm.R1, signalGroupExit),
		asm.JEq.Imm(asm.R1, 0, "out"),
		asm.LoadMem(asm.R1, asm.R9, p.exitCode, asm.Word)),
		p.tell(Doomed)...)
}

// deliver sees a signal reaching its thread (signal:signal_deliver): the
// default action of a signal that generate could not judge (it dumps core, was
// blocked, or a tracer decides), or the end of a thread whose process exits.
// The lock on the process's signals is held, so nothing here is a race.
func (p programs) deliver() asm.Instructions {
	ins := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetCurrentTaskBtf.Call(),
		asm.Mov.Reg(asm.R7, asm.R0),
	}
	return append(append(append(ins,
		p.find()...),
		asm.LoadMem(asm.R2, asm.R9, p.flags, asm.Word),
		asm.LoadMem(asm.R1, asm.R9, p.exitCode, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.And.Imm(asm.R3, signalGroupExit),
		asm.JNE.Imm(asm.R3, 0, "tell"),
		// Another thread calls exec: this one dies, the process does not.
		asm.LoadMem(asm.R3, asm.R9, p.exec, asm.DWord),
		asm.JNE.Imm(asm.R3, 0, "out"),
		asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord), // the signal
		asm.And.Imm(asm.R2, signalUnkillable),     // init of a PID namespace
		asm.JEq.Imm(asm.R2, 0, "killable"),
		asm.JNE.Imm(asm.R1, int32(unix.SIGKILL), "out"),
		asm.LoadMem(asm.R3, asm.R6, 16, asm.DWord).WithSymbol("killable"), // its action
		asm.LoadMem(asm.R3, asm.R3, p.handler, asm.DWord),
		asm.JNE.Imm(asm.R3, 0, "out"), // not SIG_DFL
		asm.Mov.Reg(asm.R4, asm.R1),
		asm.Sub.Imm(asm.R4, 1),
		asm.LoadImm(asm.R3, int64(harmless), asm.DWord),
		asm.RSh.Reg(asm.R3, asm.R4),
		asm.And.Imm(asm.R3, 1),
		asm.JNE.Imm(asm.R3, 0, "out"),
		asm.Mov.Reg(asm.R1, asm.R1).WithSymbol("tell")),
		p.tell(Doomed)...)
}

// exit sees a thread exiting, at one of exitHooks. Memory and files are there
// still. The last thread is the fence; any other tells of the end of the
// process if that was decided (exit_group), and is nothing otherwise.
func (p programs) exit() asm.Instructions {
	ins := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetCurrentTaskBtf.Call(),
		asm.Mov.Reg(asm.R7, asm.R0),
	}
	ins = append(append(ins, p.find()...),
		asm.LoadMem(asm.R1, asm.R9, p.exitCode, asm.Word),
		asm.LoadMem(asm.R2, asm.R6, 8, asm.DWord), // group_dead
		asm.And.Imm(asm.R2, 0xff),
		asm.JNE.Imm(asm.R2, 0, "fenced"),
		asm.LoadMem(asm.R2, asm.R9, p.flags, asm.Word),
		asm.And.Imm(asm.R2, signalGroupExit),
		asm.JEq.Imm(asm.R2, 0, "out"))
	ins = append(ins, p.record(Doomed)...)
	ins = append(ins, asm.Ja.Label("out"), asm.Mov.Reg(asm.R1, asm.R1).WithSymbol("fenced"))
	return append(ins, p.tell(Fenced)...)
}

// find sets R8 and R9 for the task in R7, or leaves if nobody watches it.
func (p programs) find() asm.Instructions {
	var ins asm.Instructions
	if p.namespace.level == 0 {
		ins = append(ins, asm.LoadMem(asm.R1, asm.R7, p.tgid, asm.Word))
	} else { // the process's number in the sentinel's PID namespace
		upid := p.numbers + int16(p.namespace.level)*p.upidSize
		ins = append(ins,
			asm.LoadMem(asm.R2, asm.R7, p.signal, asm.DWord),
			asm.LoadMem(asm.R2, asm.R2, p.pids+8*pidTypeTGID, asm.DWord),
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
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.LoadMem(asm.R9, asm.R7, p.signal, asm.DWord))
}

// tell is record and the end of a program.
func (p programs) tell(kind Kind) asm.Instructions {
	return append(p.record(kind),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return())
}

// record sends one notice with the wait status in R1, unless it was sent.
func (p programs) record(kind Kind) asm.Instructions {
	const base = -32 // of the record, from the frame pointer
	flag, said := int16(valueDoomed), "doomed_early"
	if kind == Fenced {
		flag, said = valueFenced, "fenced_early"
	}
	return asm.Instructions{
		asm.StoreMem(asm.RFP, base+recordStatus, asm.R1, asm.Word),
		asm.Mov.Imm(asm.R1, 1),
		exchange(asm.R8, asm.R1, flag),
		asm.JNE.Imm(asm.R1, 0, "out"),
		asm.Mov.Imm(asm.R2, int32(kind)),
		asm.LoadMem(asm.R1, asm.R7, p.mm, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, said),
		asm.Or.Imm(asm.R2, recordEarly),
		asm.StoreMem(asm.RFP, base+recordKind, asm.R2, asm.Word).WithSymbol(said),
		asm.LoadMem(asm.R1, asm.R8, valueToken, asm.DWord),
		asm.StoreMem(asm.RFP, base+recordToken, asm.R1, asm.DWord),
		asm.FnKtimeGetNs.Call(), // CLOCK_MONOTONIC
		asm.StoreMem(asm.RFP, base+recordAt, asm.R0, asm.DWord),
		asm.LoadMapPtr(asm.R1, 0).WithReference(mapDeaths),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, base),
		asm.Mov.Imm(asm.R3, recordSize),
		asm.Mov.Imm(asm.R4, unix.BPF_RB_FORCE_WAKEUP),
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
	}
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
