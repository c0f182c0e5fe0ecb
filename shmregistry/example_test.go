package shmregistry_test

import (
	"fmt"
	"os"

	"understudy/shmregistry"
)

// A binding's worker dies: its scratch memory goes, its work waits for the next
// worker, and goes with the binding.
func Example() {
	dir, err := os.MkdirTemp("", "shmregistry-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	r, err := shmregistry.Open(shmregistry.Config{StateDir: dir})
	if err != nil {
		panic(err)
	}
	defer r.Close()
	show := func() {
		for _, e := range r.List() {
			fmt.Println(e.Segment, e.Size, e.State)
		}
		fmt.Println("--")
	}

	specs := []shmregistry.Spec{
		{Name: "work", Size: 1 << 20, OnDeath: shmregistry.Handover},
		{Name: "scratch", Size: 1 << 16, OnDeath: shmregistry.Unlink},
	}
	if _, err := r.Prepare("ns:acme:echo", 1, specs); err != nil { // whose descriptors go with the activation
		panic(err)
	}
	worker, err := shmregistry.OwnerOf(os.Getpid())
	if err != nil {
		panic(err)
	}
	r.Activated("ns:acme:echo", 1, worker)
	show()
	r.Died("ns:acme:echo", 1)
	show()
	r.Remove("ns:acme:echo")
	show()
	// Output:
	// scratch 65536 active
	// work 1048576 active
	// --
	// work 1048576 orphaned
	// --
	// --
}
