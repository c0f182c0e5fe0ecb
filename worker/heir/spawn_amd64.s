//go:build linux

#include "go_asm.h"
#include "textflag.h"

// func spawn(s *state, flags, stack uintptr) (pid int)
//
// No signal may be delivered between the two changes of the mask, on either
// side: the child would run the handlers of the Go runtime. So nothing but
// system calls happens in between, and all of it here.
TEXT ·spawn(SB), NOSPLIT|NOFRAME, $0-32
	MOVQ	s+0(FP), R12
	MOVQ	$const_sysSigprocmask, AX
	MOVQ	$const_sigSetmask, DI
	LEAQ	state_all(R12), SI
	LEAQ	state_mask(R12), DX
	MOVQ	$8, R10
	SYSCALL

	MOVQ	$const_sysClone, AX
	MOVQ	flags+8(FP), DI
	MOVQ	stack+16(FP), SI
	LEAQ	state_pidfd(R12), DX
	XORL	R10, R10
	XORL	R8, R8
	SYSCALL
	TESTQ	AX, AX
	JEQ	child
	MOVQ	AX, pid+24(FP)

	MOVQ	$const_sysSigprocmask, AX
	MOVQ	$const_sigSetmask, DI
	LEAQ	state_mask(R12), SI
	XORL	DX, DX
	MOVQ	$8, R10
	SYSCALL
	RET

	// From here on: the heir. No g, no TLS, no Go. The kernel preserves
	// all registers but AX, CX and R11.
	//
	// R12 the state
	// R13 pause between two cuts in ns, 0 before the fence. A fenced worker
	//     may accept until its last thread has stopped, so one is not enough.
	// R14 bits of the current word of the map; in a search, descriptors
	//     missing in a row
	// R15 1 when the worker is dead, 2 when its descriptors were searched then
	// BX  index of the current word; in a search, descriptor
child:
	XORL	R13, R13
	XORL	R15, R15

	MOVQ	$const_sysSetpgid, AX
	XORL	DI, DI
	XORL	SI, SI
	SYSCALL
	MOVQ	$const_sysPrctl, AX
	MOVQ	$const_prSetName, DI
	LEAQ	state_name(R12), SI
	SYSCALL
	MOVL	$1, AX
	XCHGL	AX, state_ready(R12)
	MOVQ	$const_sysFutex, AX
	LEAQ	state_ready(R12), DI
	MOVQ	$const_futexWake, SI
	MOVQ	$1, DX
	SYSCALL

wait:
	XORL	DX, DX
	TESTQ	R13, R13
	JEQ	poll
	LEAQ	state_timeout(R12), DX
	MOVQ	$0, 0(DX)
	MOVQ	R13, 8(DX)
poll:
	MOVQ	$const_sysPpoll, AX
	LEAQ	state_fence(R12), DI
	MOVQ	$2, SI
	XORL	R10, R10
	MOVQ	$8, R8
	SYSCALL
	CMPQ	AX, $-const_eintr
	JEQ	wait
	TESTQ	AX, AX
	JLT	quit
	JEQ	again
	MOVW	(state_worker+pollFD_revents)(R12), CX
	TESTW	$const_pollIn, CX
	JNE	dead
	// POLLNVAL: the worker closed our descriptor of it.
	TESTW	CX, CX
	JNE	quit
	MOVW	(state_fence+pollFD_revents)(R12), CX
	MOVL	$-1, (state_fence+pollFD_fd)(R12)
	TESTW	$const_pollIn, CX
	JEQ	wait
	MOVQ	$const_firstPause, R13
	JMP	cut
again:
	CMPQ	R13, $const_lastPause
	JGE	search
	SHLQ	$1, R13
search:
	// A thread of the worker may have died between accept and Track. What
	// has the listener's address was accepted from it.
	MOVL	state_listenerLen(R12), CX
	TESTL	CX, CX
	JEQ	cut
	XORL	BX, BX
	XORL	R14, R14
descriptor:
	MOVL	$const_nameLen, state_socknameLen(R12)
	MOVQ	$const_sysGetsockname, AX
	MOVQ	BX, DI
	LEAQ	state_sockname(R12), SI
	LEAQ	state_socknameLen(R12), DX
	SYSCALL
	CMPQ	AX, $-const_ebadf
	JEQ	missing
	XORL	R14, R14
	TESTQ	AX, AX
	JNE	another
	MOVL	state_socknameLen(R12), CX
	CMPL	CX, state_listenerLen(R12)
	JNE	another
	LEAQ	state_sockname(R12), SI
	LEAQ	state_listener(R12), DI
	REP; CMPSB
	JNE	another
	LOCK
	BTSQ	BX, state_tracked(R12)
another:
	INCQ	BX
	CMPQ	BX, $const_trackable
	JLT	descriptor
	JMP	cut
missing:
	INCQ	R14
	CMPQ	R14, $const_farEnough
	JLT	another
	JMP	cut
dead:
	// The descriptor said so; but the table is the worker's, who may have
	// put another one in its place. So the memory has to say so too: unshare
	// refuses, and does nothing else, as long as anybody shares it.
	MOVQ	$const_sysUnshare, AX
	MOVQ	$const_cloneVM, DI
	SYSCALL
	CMPQ	AX, $-const_einval
	JEQ	quit
	MOVQ	$1, R15

cut:
	XORL	BX, BX
word:
	MOVQ	state_tracked(R12)(BX*8), R14
bit:
	BSFQ	R14, DI
	JEQ	next
	LEAQ	-1(R14), AX
	ANDQ	AX, R14
	MOVQ	BX, AX
	SHLQ	$6, AX
	ADDQ	AX, DI
	// A listener is shared with those who go on: never shut one down.
	MOVL	$4, state_acceptingLen(R12)
	MOVQ	$const_sysGetsockopt, AX
	MOVQ	$const_solSocket, SI
	MOVQ	$const_soAcceptConn, DX
	LEAQ	state_accepting(R12), R10
	LEAQ	state_acceptingLen(R12), R8
	SYSCALL
	TESTQ	AX, AX
	JNE	bit
	MOVL	state_accepting(R12), AX
	TESTL	AX, AX
	JNE	bit
	MOVQ	$const_sysShutdown, AX
	MOVQ	$const_shutRDWR, SI
	SYSCALL
	DECL	state_rush(R12)
	JNE	bit
	// So many: the others have to have their turns too.
	MOVQ	$const_sysScheduler, AX
	XORL	DI, DI
	MOVQ	$const_schedNormal, SI
	LEAQ	state_priority(R12), DX
	SYSCALL
	JMP	bit
next:
	INCQ	BX
	CMPQ	BX, $(const_trackable/64)
	JLT	word
	CMPL	state_rush(R12), $0
	JLE	calm
	// The first cut was the urgent one.
	MOVL	$0, state_rush(R12)
	MOVQ	$const_sysScheduler, AX
	XORL	DI, DI
	MOVQ	$const_schedNormal, SI
	LEAQ	state_priority(R12), DX
	SYSCALL
calm:
	TESTQ	R15, R15
	JEQ	wait
	CMPQ	R15, $1
	JNE	close
	MOVQ	$2, R15
	JMP	search
close:

	// Whoever answers now has the machine first: the ends of pipes and of
	// the control socket wake the supervisor.
	LEAQ	state_timeout(R12), DX
	MOVQ	$0, 0(DX)
	MOVQ	$const_closePause, 8(DX)
	MOVQ	$const_sysPpoll, AX
	XORL	DI, DI
	XORL	SI, SI
	XORL	R10, R10
	MOVQ	$8, R8
	SYSCALL
	MOVQ	$const_sysCloseRange, AX
	XORL	DI, DI
	MOVL	$0xffffffff, SI
	XORL	DX, DX
	SYSCALL
	// And again: memory is freed in time that nobody else wants.
	LEAQ	state_timeout(R12), DX
	MOVQ	$0, 0(DX)
	MOVQ	$const_freePause, 8(DX)
	MOVQ	$const_sysPpoll, AX
	XORL	DI, DI
	XORL	SI, SI
	XORL	R10, R10
	MOVQ	$8, R8
	SYSCALL
	MOVQ	$const_sysSchedSet, AX
	XORL	DI, DI
	LEAQ	state_idle(R12), SI
	XORL	DX, DX
	SYSCALL
	MOVQ	$const_sysExitGroup, AX
	XORL	DI, DI
	SYSCALL
	INT	$3

	// The worker may live, so nothing is touched. If it does not, this is
	// right as well: leaving closes what nobody else holds.
quit:
	MOVQ	$const_sysExitGroup, AX
	MOVQ	$1, DI
	SYSCALL
	INT	$3
