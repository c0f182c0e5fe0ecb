// Package version says which source this program was built from, as the Go
// toolchain has noted it (debug.BuildInfo). `make build` sees to it that the
// revision is noted where there is a git clone.
package version

import "runtime/debug"

// Info is what a program knows of its origin.
type Info struct {
	// Version is that of the module, "(devel)" where nobody gave it one.
	Version string
	// Revision is the commit, with "+dirty" where the source was changed; "" where
	// it was not noted.
	Revision string
	// Go is the toolchain's version.
	Go string
}

// Get returns what this program knows.
func Get() Info {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Info{Version: unknown}
	}
	return from(info)
}

const unknown = "(devel)"

func from(b *debug.BuildInfo) Info {
	i := Info{Version: b.Main.Version, Go: b.GoVersion}
	if i.Version == "" {
		i.Version = unknown
	}
	dirty := ""
	for _, s := range b.Settings {
		switch {
		case s.Key == "vcs.revision":
			i.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if i.Revision != "" {
		i.Revision += dirty
	}
	return i
}

// String is for people: the version and, where it is known, the revision.
func (i Info) String() string {
	if i.Revision == "" {
		return i.Version
	}
	return i.Version + " (revision " + i.Revision + ")"
}
