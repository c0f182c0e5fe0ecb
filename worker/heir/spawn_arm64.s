//go:build linux

#include "go_asm.h"
#include "textflag.h"

// func spawn(s *state, flags, stack uintptr) (pid int)
//
// See spawn_amd64.s: this is the same, line by line.
TEXT ·spawn(SB), NOSPLIT|NOFRAME, $0-32
	MOVD	s+0(FP), R19
	MOVD	$const_sysSigprocmask, R8
	MOVD	$const_sigSetmask, R0
	ADD	$state_all, R19, R1
	ADD	$state_mask, R19, R2
	MOVD	$8, R3
	SVC

	// On arm64 the thread pointer comes before the child's id; both unused.
	MOVD	$const_sysClone, R8
	MOVD	flags+8(FP), R0
	MOVD	stack+16(FP), R1
	ADD	$state_pidfd, R19, R2
	MOVD	ZR, R3
	MOVD	ZR, R4
	SVC
	CBZ	R0, child
	MOVD	R0, pid+24(FP)

	MOVD	$const_sysSigprocmask, R8
	MOVD	$const_sigSetmask, R0
	ADD	$state_mask, R19, R1
	MOVD	ZR, R2
	MOVD	$8, R3
	SVC
	RET

	// From here on: the heir. The kernel preserves all registers but R0.
	//
	// R19 the state
	// R20 pause between two cuts in ns, 0 before the fence
	// R21 bits of the current word of the map; in a search, descriptors
	//     missing in a row
	// R22 1 when the worker is dead, 2 when its descriptors were searched then
	// R23 index of the current word; in a search, descriptor
child:
	MOVD	ZR, R20
	MOVD	ZR, R22

	MOVD	$const_sysSetpgid, R8
	MOVD	ZR, R0
	MOVD	ZR, R1
	SVC
	MOVD	$const_sysPrctl, R8
	MOVD	$const_prSetName, R0
	ADD	$state_name, R19, R1
	SVC
	MOVD	$1, R3
	ADD	$state_ready, R19, R0
	STLRW	R3, (R0)
	MOVD	$const_sysFutex, R8
	MOVD	$const_futexWake, R1
	MOVD	$1, R2
	SVC

wait:
	MOVD	ZR, R2
	CBZ	R20, poll
	ADD	$state_timeout, R19, R2
	MOVD	ZR, 0(R2)
	MOVD	R20, 8(R2)
poll:
	MOVD	$const_sysPpoll, R8
	ADD	$state_fence, R19, R0
	MOVD	$2, R1
	MOVD	ZR, R3
	MOVD	$8, R4
	SVC
	CMN	$const_eintr, R0
	BEQ	wait
	CMP	$0, R0
	BLT	quit
	BEQ	again
	MOVHU	(state_worker+pollFD_revents)(R19), R1
	TST	$const_pollIn, R1
	BNE	dead
	CBNZ	R1, quit
	MOVHU	(state_fence+pollFD_revents)(R19), R1
	MOVD	$-1, R2
	MOVW	R2, (state_fence+pollFD_fd)(R19)
	TST	$const_pollIn, R1
	BEQ	wait
	MOVD	$const_firstPause, R20
	B	cut
again:
	MOVD	$const_lastPause, R1
	CMP	R1, R20
	BGE	search
	LSL	$1, R20
search:
	// A thread of the worker may have died between accept and Track. What
	// has the listener's address was accepted from it.
	MOVWU	state_listenerLen(R19), R1
	CBZ	R1, cut
	MOVD	ZR, R23
	MOVD	ZR, R21
descriptor:
	MOVD	$const_nameLen, R1
	MOVW	R1, state_socknameLen(R19)
	MOVD	$const_sysGetsockname, R8
	MOVD	R23, R0
	ADD	$state_sockname, R19, R1
	ADD	$state_socknameLen, R19, R2
	SVC
	CMN	$const_ebadf, R0
	BEQ	missing
	MOVD	ZR, R21
	CBNZ	R0, another
	MOVWU	state_socknameLen(R19), R1
	MOVWU	state_listenerLen(R19), R2
	CMPW	R1, R2
	BNE	another
	ADD	$state_sockname, R19, R2
	ADD	$state_listener, R19, R3
same:
	MOVBU.P	1(R2), R4
	MOVBU.P	1(R3), R5
	CMPW	R4, R5
	BNE	another
	SUBS	$1, R1
	BNE	same
	LSR	$6, R23, R1
	ADD	$state_tracked, R19, R2
	ADD	R1<<3, R2
	MOVD	$1, R3
	LSL	R23, R3
set:
	LDAXR	(R2), R4
	ORR	R3, R4
	STLXR	R4, (R2), R5
	CBNZ	R5, set
another:
	ADD	$1, R23
	CMP	$const_trackable, R23
	BLT	descriptor
	B	cut
missing:
	ADD	$1, R21
	CMP	$const_farEnough, R21
	BLT	another
	B	cut
dead:
	MOVD	$const_sysUnshare, R8
	MOVD	$const_cloneVM, R0
	SVC
	CMN	$const_einval, R0
	BEQ	quit
	MOVD	$1, R22

cut:
	MOVD	ZR, R23
word:
	ADD	$state_tracked, R19, R1
	MOVD	(R1)(R23<<3), R21
bit:
	CBZ	R21, next
	RBIT	R21, R0
	CLZ	R0, R0
	SUB	$1, R21, R1
	AND	R1, R21
	ADD	R23<<6, R0
	MOVD	R0, R24
	MOVD	$4, R1
	MOVW	R1, state_acceptingLen(R19)
	MOVD	$const_sysGetsockopt, R8
	MOVD	$const_solSocket, R1
	MOVD	$const_soAcceptConn, R2
	ADD	$state_accepting, R19, R3
	ADD	$state_acceptingLen, R19, R4
	SVC
	CBNZ	R0, bit
	MOVWU	state_accepting(R19), R0
	CBNZ	R0, bit
	MOVD	$const_sysShutdown, R8
	MOVD	R24, R0
	MOVD	$const_shutRDWR, R1
	SVC
	MOVW	state_rush(R19), R1
	SUBW	$1, R1
	MOVW	R1, state_rush(R19)
	CBNZW	R1, bit
	MOVD	$const_sysScheduler, R8
	MOVD	ZR, R0
	MOVD	$const_schedNormal, R1
	ADD	$state_priority, R19, R2
	SVC
	B	bit
next:
	ADD	$1, R23
	CMP	$(const_trackable/64), R23
	BLT	word
	MOVW	state_rush(R19), R1
	CMPW	$0, R1
	BLE	calm
	MOVW	ZR, state_rush(R19)
	MOVD	$const_sysScheduler, R8
	MOVD	ZR, R0
	MOVD	$const_schedNormal, R1
	ADD	$state_priority, R19, R2
	SVC
calm:
	CBZ	R22, wait
	CMP	$1, R22
	BNE	close
	MOVD	$2, R22
	B	search
close:

	ADD	$state_timeout, R19, R2
	MOVD	$const_closePause, R3
	STP	(ZR, R3), (R2)
	MOVD	$const_sysPpoll, R8
	MOVD	ZR, R0
	MOVD	ZR, R1
	MOVD	ZR, R3
	MOVD	$8, R4
	SVC
	MOVD	$const_sysCloseRange, R8
	MOVD	ZR, R0
	MOVD	$0xffffffff, R1
	MOVD	ZR, R2
	SVC
	ADD	$state_timeout, R19, R2
	MOVD	$const_freePause, R3
	STP	(ZR, R3), (R2)
	MOVD	$const_sysPpoll, R8
	MOVD	ZR, R0
	MOVD	ZR, R1
	MOVD	ZR, R3
	MOVD	$8, R4
	SVC
	MOVD	$const_sysSchedSet, R8
	MOVD	ZR, R0
	ADD	$state_idle, R19, R1
	MOVD	ZR, R2
	SVC
	MOVD	$const_sysExitGroup, R8
	MOVD	ZR, R0
	SVC
	BRK
quit:
	MOVD	$const_sysExitGroup, R8
	MOVD	$1, R0
	SVC
	BRK
