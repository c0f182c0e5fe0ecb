package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotSupported is returned by Open where there is no hierarchy of version 2,
// or the kernel is older than Linux 5.14.
var ErrNotSupported = errors.New("no usable cgroup v2 hierarchy")

// own returns the folder of the group that this process is in.
func own() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("mounts: %w", err)
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("own cgroup: %w", err)
	}
	return locate(mounts, groups)
}

// locate finds the folder from the texts of /proc/self/mountinfo
// (proc_pid_mountinfo(5)) and /proc/self/cgroup (cgroups(7)).
func locate(mounts, groups []byte) (string, error) {
	var path string
	found := false
	for line := range strings.Lines(string(groups)) {
		if p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			path, found = p, true
		}
	}
	if !found {
		return "", fmt.Errorf("%w: /proc/self/cgroup has no line \"0::\"", ErrNotSupported)
	}
	if strings.HasSuffix(path, " (deleted)") || strings.HasPrefix(path, "/..") {
		return "", fmt.Errorf("%w: our own group %q is out of reach", ErrNotSupported, path)
	}
	for line := range bytes.Lines(mounts) {
		before, after, ok := strings.Cut(string(line), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) == 0 || kind[0] != "cgroup2" {
			continue
		}
		root, point := unescape(fields[3]), unescape(fields[4])
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/")); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(point, rest), nil
		}
	}
	return "", fmt.Errorf("%w: none is mounted that has our own group %q", ErrNotSupported, path)
}

// unescape undoes what mountinfo writes for space, tab, newline and backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
