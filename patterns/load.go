package patterns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"understudy/internal/strictyaml"
	"understudy/shmregistry"
	"understudy/shmregistry/leak"
)

// Load reads and checks one manifest. The error is one line that names the
// file and, where one is to blame, the line and the field.
func Load(file string) (*Manifest, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	m := defaults()
	m.File, m.Dir = abs, filepath.Dir(abs)
	src, err := strictyaml.ReadFile(file, m.fields())
	if err != nil {
		return nil, err
	}
	if err := m.complete(src); err != nil {
		return nil, err
	}
	return m, nil
}

// Discover loads the manifests of all folders in dir, by name. A folder
// without a manifest is no pattern; a manifest that is broken is reported in
// bad and does not disturb the others.
func Discover(dir string) (good []*Manifest, bad []error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, []error{fmt.Errorf("patterns directory: %w", err)}
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name(), ManifestName)
		// Links to folders are followed, so the entry's own type says nothing.
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			continue
		case err == nil && !info.Mode().IsRegular():
			bad = append(bad, fmt.Errorf("%s: is not a regular file", file))
			continue
		}
		m, err := Load(file)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		good = append(good, m)
	}
	return good, bad
}

func (m *Manifest) fields() strictyaml.Fields {
	return strictyaml.Fields{
		"name":          strictyaml.String(&m.Name),
		"program":       strictyaml.String(&m.Program),
		"args":          strictyaml.Strings(&m.Args),
		"contract":      strictyaml.OneOf(&m.Contract, "sdk", "env"),
		"isolation":     strictyaml.OneOf(&m.Isolation, "none", "namespace", "session"),
		"session_scope": strictyaml.OneOf(&m.SessionScope, ScopeSession, ScopeNamespaceSession),
		"listen":        strictyaml.OneOf(&m.Listen, "unix", "tcp"),
		"endpoint": strictyaml.Mapping(strictyaml.Fields{
			"backlog": strictyaml.Int(&m.Endpoint.Backlog, 1, MaxBacklog),
			"mode":    strictyaml.Mode(&m.Endpoint.Mode),
			"owner":   strictyaml.String(&m.Endpoint.Owner),
			"group":   strictyaml.String(&m.Endpoint.Group),
		}),
		"on_failure":    strictyaml.OneOf(&m.OnFailure, OnFailureQueue, OnFailureRefuse),
		"queue_timeout": strictyaml.Duration(&m.QueueTimeout, 0, maxQueueTimeout),
		"oom_score_adj": strictyaml.Int(&m.OOMScoreAdj, -maxOOMScoreAdj, maxOOMScoreAdj),
		"environment":   strictyaml.StringMap(&m.Environment, checkVariable),
		"heir":          strictyaml.Bool(&m.Heir),
		"adopt":         strictyaml.OneOf(&m.Adopt, leak.Never, leak.Report, leak.Remove),
		"segments": strictyaml.List(&m.Segments, shmregistry.MaxSpecs, func(s *shmregistry.Spec) strictyaml.Fields {
			return strictyaml.Fields{
				"name":     strictyaml.String(&s.Name),
				"size":     strictyaml.Bytes(&s.Size),
				"on_death": strictyaml.OneOf(&s.OnDeath, shmregistry.Handover, shmregistry.Unlink),
				"named":    strictyaml.Bool(&s.Named),
			}
		}),
		"config":        strictyaml.StringMap(&m.Config, nil),
		"start_timeout": strictyaml.Duration(&m.StartTimeout, minStartTimeout, maxStartTimeout),
		"grace_period":  strictyaml.Duration(&m.GracePeriod, 0, maxGracePeriod),
		"spares": strictyaml.Mapping(strictyaml.Fields{
			"min": strictyaml.Int(&m.Spares.Min, 0, maxSpares),
			"max": strictyaml.Int(&m.Spares.Max, 0, maxSpares),
		}),
		"probe": strictyaml.Mapping(strictyaml.Fields{
			"interval": strictyaml.Duration(&m.Probe.Interval, 0, maxProbe),
			"timeout":  strictyaml.Duration(&m.Probe.Timeout, minProbe, maxProbe),
			"failures": strictyaml.Int(&m.Probe.Failures, 1, maxFailures),
		}),
		"crash_budget": strictyaml.Mapping(strictyaml.Fields{
			"max":    strictyaml.Int(&m.CrashBudget.Max, 0, maxCrashes),
			"window": strictyaml.Duration(&m.CrashBudget.Window, minCrashWindow, maxCrashWindow),
		}),
	}
}
