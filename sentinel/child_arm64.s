#include "textflag.h"

// The throw-away child's whole program (child_image.go). It uses no address
// but its stack's.
TEXT childCode<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVD	$167, R8 // prctl(PR_SET_DUMPABLE, 0): leave no core file
	MOVD	$4, R0
	MOVD	$0, R1
	SVC
	MOVD	$64, R8 // write(1, a byte): ready
	MOVD	$1, R0
	MOVD	RSP, R1
	MOVD	$1, R2
	SVC
	MOVD	$63, R8 // read(0, a byte): wait for it, or for the end
	MOVD	$0, R0
	MOVD	RSP, R1
	MOVD	$1, R2
	SVC
	MOVD	$94, R8 // exit_group(0)
	MOVD	$0, R0
	SVC
	BRK

GLOBL ·childEntry(SB), RODATA|NOPTR, $8
DATA ·childEntry(SB)/8, $childCode<>(SB)
