package shmregistry_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/shmregistry"
	"understudy/shmregistry/segment"
)

func TestASegmentsLife(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	all := []shmregistry.Spec{scratch, shared, window, work}
	prepared, first := mustPrepare(t, r, "shared:echo", 1, all...)
	require.Equal(t, "scratch:1:prepared shared+:1:prepared window+:1:prepared work:1:prepared", states(r.List()))
	again, _ := mustPrepare(t, r, "shared:echo", 1, all...)
	require.Equal(t, prepared, again, "to ask again changes nothing")
	segments, bytes := r.Usage("shared:echo")
	require.Equal(t, 4, segments)
	require.EqualValues(t, 26000, bytes)
	require.Len(t, p.names(t), 2)

	w1 := startWorker(t)
	r.Activated("shared:echo", 1, w1.owner)
	require.Equal(t, "scratch:1:active shared+:1:active window+:1:active work:1:active", states(r.List()))
	copy(first[3].Data(), "the work of the first")

	_, second := mustPrepare(t, r, "shared:echo", 2, all...) // ahead of the death
	require.Equal(t, "the work of the first", string(second[3].Data()[:21]))
	first[0].Data()[0] = 1
	require.Zero(t, second[0].Data()[0], "the scratch of another epoch")
	require.Len(t, r.List(), 6)

	r.Activated("shared:echo", 2, startWorker(t).owner)
	r.Died("shared:echo", 1)
	require.Equal(t, "scratch:2:active shared+:2:active window+:2:active work:2:active", states(r.List()))
	require.Len(t, p.names(t), 2)

	require.EqualValues(t, 2, r.LastEpoch("shared:echo"))
	require.Zero(t, r.LastEpoch("shared:other"))
	require.NoError(t, second[3].Raise(7))
	require.EqualValues(t, 7, r.LastEpoch("shared:echo"), "a worker may be ahead of the books")

	r.Died("shared:echo", 2)
	require.Equal(t, "shared+:2:orphaned work:2:orphaned", states(r.List()))
	require.Len(t, p.names(t), 1)
	segments, bytes = r.Usage("shared:echo")
	require.Equal(t, 2, segments)
	require.EqualValues(t, 16000, bytes)

	r.Remove("shared:echo")
	require.Empty(t, r.List())
	require.Empty(t, p.names(t))
	segments, bytes = r.Usage("shared:echo")
	require.Zero(t, segments)
	require.Zero(t, bytes)
	require.Zero(t, r.Totals().Bytes)
	r.Remove("shared:echo")
	r.Died("nobody", 3)
	require.Zero(t, r.Reconcile())
}

func TestAMemfdIsSealedAndANameIsForThirdPrograms(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	prepared, _ := mustPrepare(t, r, "ns:a/b:echo", 3, work, shared)
	require.ErrorIs(t, unix.Ftruncate(prepared[0].FD, 10), unix.EPERM)
	require.ErrorIs(t, unix.Ftruncate(prepared[0].FD, 1<<20), unix.EPERM)

	path := r.List()[0].Path
	require.Regexp(t, `^understudy\.[0-9a-f]{8}\.ns-a-b-echo-[0-9a-f]{16}\.3\.shared$`, filepath.Base(path))
	s, err := segment.Open(path)
	require.NoError(t, err)
	defer s.Close()
	require.EqualValues(t, 8000, s.Size())
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	require.GreaterOrEqual(t, st.Blocks*512, int64(8000), "its memory is taken")
	require.EqualValues(t, 0o600, st.Mode&0o777)
}

func TestABindingsNameMayBeAnything(t *testing.T) {
	p := newPlace(t)
	long := strings.Repeat("ü/.\x00", 100)
	r := p.open(t)
	_, mapped := mustPrepare(t, r, long, 1, shared)
	copy(mapped[0].Data(), "kept")
	require.LessOrEqual(t, len(p.names(t)[0]), 96)
	require.NoError(t, r.Close())

	// Even where nothing but the file's name and header tell of it.
	require.NoError(t, os.Remove(filepath.Join(p.state, shmregistry.FileName)))
	r = p.open(t)
	require.Equal(t, "shared+:1:stray", states(r.List()))
	require.Equal(t, long, r.List()[0].Binding)
	_, mapped = mustPrepare(t, r, long, 2, shared)
	require.Equal(t, "kept", string(mapped[0].Data()[:4]))
	require.Equal(t, long, r.List()[0].Binding)
	require.Len(t, p.names(t), 1)
}

func TestBadSpecsAreRefusedAndLeaveNothing(t *testing.T) {
	p := newPlace(t)
	cfg := p.config()
	cfg.Limits = shmregistry.Limits{Segment: 1 << 20, Binding: 3 << 20, Total: 4 << 20}
	r, err := shmregistry.Open(cfg)
	require.NoError(t, err)
	defer r.Close()

	spec := func(change func(s *shmregistry.Spec)) []shmregistry.Spec {
		s := shared
		change(&s)
		return []shmregistry.Spec{window, s}
	}
	many := make([]shmregistry.Spec, shmregistry.MaxSpecs+1)
	for _, c := range []struct {
		name, says string
		is         error
		binding    string
		specs      []shmregistry.Spec
	}{
		{"no name", "it has no name", shmregistry.ErrSpec, "b", spec(func(s *shmregistry.Spec) { s.Name = "" })},
		{"slash", `"a/b": '/' in its name`, shmregistry.ErrSpec, "b", spec(func(s *shmregistry.Spec) { s.Name = "a/b" })},
		{"dots", `'.' in its name`, shmregistry.ErrSpec, "b", spec(func(s *shmregistry.Spec) { s.Name = ".." })},
		{"300 characters", "a name of 300 bytes, expected at most 64", shmregistry.ErrSpec, "b",
			spec(func(s *shmregistry.Spec) { s.Name = strings.Repeat("x", 300) })},
		{"size 0", "a size of 0 bytes", shmregistry.ErrSpec, "b", spec(func(s *shmregistry.Spec) { s.Size = 0 })},
		{"negative size", "a size of -1 bytes", shmregistry.ErrSpec, "b", spec(func(s *shmregistry.Spec) { s.Size = -1 })},
		{"absurd size", "expected at most", shmregistry.ErrSpec, "b", spec(func(s *shmregistry.Spec) { s.Size = 1<<63 - 1 })},
		{"policy", `on_death is "keep"`, shmregistry.ErrSpec, "b", spec(func(s *shmregistry.Spec) { s.OnDeath = "keep" })},
		{"twice", `two have the name "window"`, shmregistry.ErrSpec, "b", []shmregistry.Spec{window, window}},
		{"too many", "33 segments", shmregistry.ErrSpec, "b", many},
		{"no binding", "is no binding", shmregistry.ErrSpec, "", []shmregistry.Spec{window}},
		{"a binding that is no text", "is no binding", shmregistry.ErrSpec, "\xff", []shmregistry.Spec{window}},
		{"a binding that fits no label", "too long for a binding", shmregistry.ErrSpec, strings.Repeat("x", 4000), []shmregistry.Spec{window}},
		{"over the limit of one", "one may have 1048576", shmregistry.ErrLimit, "b", spec(func(s *shmregistry.Spec) { s.Size = 1<<20 + 1 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := r.Prepare(c.binding, 1, c.specs)
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.says)
			require.Empty(t, r.List())
			require.Empty(t, p.names(t))
			require.Zero(t, r.Totals().Bytes)
			require.Zero(t, r.Totals().Made)
		})
	}

	size := func(name string) shmregistry.Spec {
		return shmregistry.Spec{Name: name, Size: 1 << 20, OnDeath: shmregistry.Unlink}
	}
	_, err = r.Prepare("b", 1, []shmregistry.Spec{size("a"), size("b"), size("c"), size("d")})
	require.ErrorIs(t, err, shmregistry.ErrLimit)
	require.ErrorContains(t, err, `segments of b: "d" with 1048576 bytes beside 3145728, a binding may have 3145728`)
	require.Empty(t, r.List())
	mustPrepare(t, r, "a", 1, size("a"), size("b"))
	_, err = r.Prepare("b", 1, []shmregistry.Spec{size("a"), size("b"), size("c")})
	require.ErrorIs(t, err, shmregistry.ErrLimit)
	require.ErrorContains(t, err, "all may have 4194304")
	require.Len(t, r.List(), 2)
}

func TestAHandoverSegmentIsNotReplacedByAnotherSizeOrPolicy(t *testing.T) {
	r := newPlace(t).open(t)
	mustPrepare(t, r, "b", 1, work)
	larger := work
	larger.Size *= 2
	_, err := r.Prepare("b", 2, []shmregistry.Spec{larger})
	require.ErrorContains(t, err, "16000 bytes asked for, but it has 8000")
	fickle := work
	fickle.OnDeath = shmregistry.Unlink
	_, err = r.Prepare("b", 2, []shmregistry.Spec{fickle})
	require.ErrorContains(t, err, `but it is "handover"`)
	require.Len(t, r.List(), 1)
}

func TestNegativeLimitsAreRefused(t *testing.T) {
	cfg := newPlace(t).config()
	cfg.Limits.Total = -1
	_, err := shmregistry.Open(cfg)
	require.ErrorContains(t, err, "negative")
}
