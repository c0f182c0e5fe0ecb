//go:build amd64 || arm64

package sentinel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	childBase = 0x400000 // where the image lies in the child's memory
	childText = 0x100    // where the code lies in the image
	childSize = childText + 0x80
	childPage = 0x10000 // the largest page of any architecture here
)

// childEntry is the address of the child's code in this program, which is
// copied from there (child_*.s).
var childEntry *byte

// childImage makes an executable of less than 400 bytes in memory: a library
// cannot count on any program to start, not even on its own. It tells that it
// is ready by a byte on stdout, then waits for a byte or the end on stdin, and
// exits with code 0.
func childImage() (*os.File, error) {
	fd, err := unix.MemfdCreate("understudy-probe", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "understudy-probe")
	if _, err := f.Write(elfImage()); err != nil {
		f.Close()
		return nil, fmt.Errorf("memfd: %w", err)
	}
	return f, nil
}

func elfImage() []byte {
	machine := elf.EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = elf.EM_AARCH64
	}
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: childBase + childText, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	segments := []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
			Vaddr: childBase, Filesz: childSize, Memsz: childSize, Align: childPage},
		{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16},
	}
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, header) // a buffer takes everything
	_ = binary.Write(&b, binary.LittleEndian, segments)
	image := make([]byte, childSize)
	copy(image, b.Bytes())
	copy(image[childText:], unsafe.Slice(childEntry, childSize-childText))
	return image
}
