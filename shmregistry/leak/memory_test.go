package leak

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The finder is stopped and started again; of its workers one lives on and one
// dies meanwhile. A foreign program takes a name over.
func TestRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "leak.json")
	state := func(c *Config) { c.StateFile = file }
	p := prefix(t)
	first := newBed(t, state).proven()
	lives := script(t, "make "+shm+p+"lives 4096", "make "+shm+p+"taken 4096")
	dies := script(t, "make "+shm+p+"dies 4096")
	told := script(t, "make "+shm+p+"told 4096")
	first.Watch(lives.pid, Remove)
	first.Watch(dies.pid, Remove)
	first.Watch(told.pid, Report)
	lives.ready()
	dies.ready()
	told.ready()
	first.Close()
	require.NoError(t, os.Remove(shm+p+"taken"))
	require.NoError(t, os.WriteFile(shm+p+"taken", []byte("another's"), 0o600))
	dies.kill()
	told.kill()

	second := newBed(t, state)
	found := second.next(2)
	require.Equal(t, Removed, found[p+"dies"].Action)
	require.Equal(t, dies.pid, found[p+"dies"].PID)
	require.Equal(t, Reported, found[p+"told"].Action)
	second.Watch(lives.pid, Remove)
	second.Reconcile()
	objects, bytes := second.Usage(lives.pid)
	require.Equal(t, 1, objects)
	require.Equal(t, int64(4096), bytes)
	lives.kill()
	second.Ended(lives.pid)
	last := second.next(1)[p+"lives"]
	require.Equal(t, Removed, last.Action, last.Why)
	second.none()
	require.Equal(t, []string{p + "taken", p + "told"}, names(t, p))
}

// What is held when the finder stops is removed after it started again.
func TestRestartWhileHeld(t *testing.T) {
	file := filepath.Join(t.TempDir(), "leak.json")
	state := func(c *Config) { c.StateFile = file }
	p := prefix(t)
	first := newBed(t, state).proven()
	w := script(t, "make "+shm+p+"a 4096")
	first.Watch(w.pid, Remove)
	w.ready()
	bystander := script(t, "map "+shm+p+"a")
	bystander.ready()
	w.kill()
	first.Ended(w.pid)
	require.Equal(t, Kept, first.next(1)[p+"a"].Action)
	first.Close()
	second := newBed(t, state)
	require.Equal(t, Kept, second.next(1)[p+"a"].Action)
	bystander.kill()
	require.Equal(t, Removed, second.next(1)[p+"a"].Action)
}

// A state file that says nothing credible makes nobody's object ours.
func TestBadStateFile(t *testing.T) {
	p := prefix(t)
	foreign := script(t, "make "+shm+p+"a 4096")
	foreign.ready()
	foreign.kill()
	d, err := openDirectory(SharedMemory, shm)
	require.NoError(t, err)
	defer d.close()
	id, _, _, err := d.look(p + "a")
	require.NoError(t, err)
	boot, err := bootID()
	require.NoError(t, err)
	good := fmt.Sprintf(`{"version":1,"boot":%q,"objects":[{"pid":%d,"start":1,"mode":"remove","name":%q,"dev":%d,"ino":%d,"born":%d,"maker":%d}]}`,
		boot, foreign.pid, p+"a", id.dev, id.ino, id.born, foreign.pid)
	for what, text := range map[string]string{
		"empty":          "",
		"cut":            good[:len(good)/2],
		"newer":          strings.Replace(good, `"version":1`, `"version":2`, 1),
		"another boot":   strings.Replace(good, boot, "another", 1),
		"other inode":    strings.Replace(good, `"ino":`, `"ino":1`, 1),
		"path":           strings.Replace(good, p, "../dev/shm/"+p, 1),
		"no start":       strings.Replace(good, `"start":1`, `"start":0`, 1),
		"unknown mode":   strings.Replace(good, `"remove"`, `"perhaps"`, 1),
		"negative pid":   strings.Replace(good, `"pid":`, `"pid":-`, 1),
		"wrong type":     strings.Replace(good, `"start":1`, `"start":"1"`, 1),
		"the registry's": strings.Replace(good, p, OwnPrefix, 1),
	} {
		t.Run(what, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "leak.json")
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			b := newBed(t, func(c *Config) { c.StateFile = file })
			b.none()
			require.Len(t, names(t, p), 1)
		})
	}
	t.Run("good", func(t *testing.T) { // the same that is credible is believed
		file := filepath.Join(t.TempDir(), "leak.json")
		require.NoError(t, os.WriteFile(file, []byte(good), 0o600))
		b := newBed(t, func(c *Config) { c.StateFile = file })
		require.Equal(t, Removed, b.next(1)[p+"a"].Action)
	})
}

func TestStateFileCannotBeWritten(t *testing.T) {
	b := newBed(t, func(c *Config) { c.StateFile = "/proc/no/such/file" }).proven()
	p := prefix(t)
	w := script(t, "make "+shm+p+"a 4096")
	b.Watch(w.pid, Remove)
	w.ready()
	w.kill()
	b.Ended(w.pid)
	require.Equal(t, Removed, b.next(1)[p+"a"].Action)
	b.Close()
	require.NotZero(t, b.Counters().Errors)
}

// A finder is started for what an earlier one left, and for nothing else.
func TestRemembers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "leaks.json")
	require.False(t, Remembers(file), "no file")
	boot, err := bootID()
	require.NoError(t, err)
	write := func(m memory) {
		b, err := json.Marshal(m)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, b, 0o600))
	}
	write(memory{Version: memoryVersion, Boot: boot})
	require.False(t, Remembers(file), "nothing in it")
	write(memory{Version: memoryVersion, Boot: boot, Objects: []record{{PID: 1}}})
	require.True(t, Remembers(file))
	write(memory{Version: memoryVersion, Boot: "another", Objects: []record{{PID: 1}}})
	require.False(t, Remembers(file), "of another boot")
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	require.True(t, Remembers(file), "who knows")
}
