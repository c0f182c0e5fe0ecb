package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/bench/vm/plan"
)

func TestVerdicts(t *testing.T) {
	log := filepath.Join(t.TempDir(), "a.log")
	require.NoError(t, os.WriteFile(log, []byte(`=== RUN   TestA
=== RUN   TestA/one
    a_test.go:3: no such device
=== RUN   TestA/two
    a_test.go:7: 12 of 13
--- FAIL: TestA (0.02s)
    --- SKIP: TestA/one (0.01s)
    --- FAIL: TestA/two (0.01s)
=== RUN   TestB
    b_test.go:9: by the way
--- PASS: TestB (0.00s)
FAIL
`), 0o600))
	counts, lines, err := verdicts(log)
	require.NoError(t, err)
	require.Equal(t, ", 1 passed, 2 failed, 1 skipped", counts)
	require.Equal(t, []string{
		"--- FAIL: TestA (0.02s)",
		"--- SKIP: TestA/one (0.01s): no such device",
		"--- FAIL: TestA/two (0.01s): 12 of 13",
	}, lines)
}

func TestUnpack(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	write := func(name, text string) {
		f, err := os.Create(disk)
		require.NoError(t, err)
		defer f.Close()
		w := tar.NewWriter(f)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}))
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	out := filepath.Join(t.TempDir(), "out")

	write(plan.Results, `[{"Name":"a.test","Status":"ok","Duration":5,"Strays":1}]`)
	got, err := unpack(disk, out)
	require.NoError(t, err)
	require.Equal(t, []plan.Result{{Name: "a.test", Status: plan.OK, Duration: 5, Strays: 1}}, got)

	write("other", "x")
	_, err = unpack(disk, out)
	require.ErrorIs(t, err, os.ErrNotExist, "the earlier run's results are not this one's")

	write("../outside", "x")
	_, err = unpack(disk, out)
	require.Error(t, err)
	require.NoFileExists(t, filepath.Join(filepath.Dir(out), "outside"))
}
