package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"gopkg.in/yaml.v3"

	"understudy/internal/pace"
	"understudy/internal/strictyaml"
)

// Load reads a configuration file over the defaults:
//
//	launcher:
//	  grpc_port: -1                      # no TCP; 0 takes a free port
//	  api: {group: "", mode: "0600"}     # of the unix socket
//	  patterns_dir: patterns
//	  default_isolation: namespace       # none, namespace or session
//	  runtime_dir: /run/understudy
//	  state_dir: /var/lib/understudy
//	  process_manager:
//	    resync_interval: 30s
//	    backoff_period: {min: 100ms, max: 30s}   # or the minimum alone
//	    max_concurrent_starts: 4
//	    stop_timeout: 30s
//	  limits: {bindings: 10000, bindings_per_namespace: 2000, workers: 20000, watchers: 1024, waiting_launches: 10000}
//	  pace: {report_delay: true}         # docs/PACE.md has every switch
//	  cgroups: true
//	  deep_queues: true
//	  segments: {per_segment: 1GiB, per_binding: 4GiB, total: 8GiB}
//	  sentinel: {realtime: true, source: auto}
//	  metrics: {port: 9982}
//	  health: {port: 9983}
//
// sentinel, metrics and health may also stand beside launcher. Relative paths
// count from the working directory. The error is one line that names the file
// and, where one is to blame, the line and the field.
func Load(file string) (Config, error) {
	c := Default()
	root := c.sharedFields()
	launcher := c.launcherFields()
	for field, set := range c.sharedFields() {
		launcher[field] = set
	}
	root["launcher"] = strictyaml.Mapping(launcher)
	src, err := strictyaml.ReadFile(file, root)
	if err != nil {
		return Config{}, err
	}
	for field := range c.sharedFields() {
		if src.Has(field) && src.Has("launcher."+field) {
			return Config{}, src.Errorf(field, "is given beside launcher and in it")
		}
	}
	if err := c.MakeAbsolute(); err != nil {
		return Config{}, err
	}
	var wrong *Error
	if err := c.Validate(); errors.As(err, &wrong) {
		field := "launcher." + wrong.Field
		if src.Has(wrong.Field) { // one of those that stand beside launcher
			field = wrong.Field
		}
		return Config{}, src.Errorf(field, "%s", wrong.Reason)
	}
	return c, nil
}

func (c *Config) launcherFields() strictyaml.Fields {
	pm := &c.ProcessManager
	return strictyaml.Fields{
		"grpc_port":         intField(&c.GRPCPort),
		"patterns_dir":      strictyaml.String(&c.PatternsDir),
		"default_isolation": strictyaml.String(&c.DefaultIsolation),
		"runtime_dir":       strictyaml.String(&c.RuntimeDir),
		"state_dir":         strictyaml.String(&c.StateDir),
		"process_manager": strictyaml.Mapping(strictyaml.Fields{
			"resync_interval":       durationField(&pm.ResyncInterval),
			"backoff_period":        backoffField(&pm.BackoffPeriod),
			"max_concurrent_starts": strictyaml.Int(&pm.MaxConcurrentStarts, 1, maxStarts),
			"stop_timeout":          durationField(&pm.StopTimeout),
		}),
		"api": strictyaml.Mapping(strictyaml.Fields{
			"group": strictyaml.String(&c.API.Group),
			"mode":  strictyaml.Mode(&c.API.Mode),
		}),
		"limits": strictyaml.Mapping(strictyaml.Fields{
			"bindings":               intField(&c.Limits.Bindings),
			"bindings_per_namespace": intField(&c.Limits.BindingsPerNamespace),
			"workers":                intField(&c.Limits.Workers),
			"watchers":               intField(&c.Limits.Watchers),
			"waiting_launches":       intField(&c.Limits.WaitingLaunches),
		}),
		"pace":        paceField(&c.Pace),
		"cgroups":     strictyaml.Bool(&c.Cgroups),
		"deep_queues": strictyaml.Bool(&c.DeepQueues),
		"segments": strictyaml.Mapping(strictyaml.Fields{
			"per_segment": strictyaml.Bytes(&c.Segments.Segment),
			"per_binding": strictyaml.Bytes(&c.Segments.Binding),
			"total":       strictyaml.Bytes(&c.Segments.Total),
		}),
	}
}

// sharedFields may stand in launcher or beside it.
func (c *Config) sharedFields() strictyaml.Fields {
	return strictyaml.Fields{
		"sentinel": strictyaml.Mapping(strictyaml.Fields{
			"realtime": strictyaml.Bool(&c.Sentinel.Realtime),
			"source":   strictyaml.String(&c.Sentinel.Source),
		}),
		"metrics": strictyaml.Mapping(strictyaml.Fields{"port": intField(&c.MetricsPort)}),
		"health":  strictyaml.Mapping(strictyaml.Fields{"port": intField(&c.HealthPort)}),
	}
}

// What a field may be is Validate's business, for flags and files alike; these
// only look at its type.

func intField(to *int) strictyaml.Setter { return strictyaml.Int(to, math.MinInt, math.MaxInt) }

// paceField reads the switches: what is not named is on.
func paceField(to *pace.Switches) strictyaml.Setter {
	return func(n *yaml.Node) error {
		on := map[string]*bool{}
		fields := strictyaml.Fields{}
		for _, name := range pace.All() {
			v := true
			on[name], fields[name] = &v, strictyaml.Bool(&v)
		}
		if err := strictyaml.Mapping(fields)(n); err != nil {
			return err
		}
		var off []string
		for name, v := range on {
			if !*v {
				off = append(off, name)
			}
		}
		var err error
		*to, err = pace.Off(off...)
		return err
	}
}

func durationField(to *time.Duration) strictyaml.Setter {
	return strictyaml.Duration(to, math.MinInt64, math.MaxInt64)
}

func backoffField(to *BackoffPeriod) strictyaml.Setter {
	return func(n *yaml.Node) error {
		const notGiven = math.MinInt64
		b := BackoffPeriod{Min: notGiven, Max: notGiven}
		read := strictyaml.Mapping(strictyaml.Fields{"min": durationField(&b.Min), "max": durationField(&b.Max)})
		if strictyaml.IsScalar(n) {
			read = durationField(&b.Min)
		}
		if err := read(n); err != nil {
			return err
		}
		if b.Min != notGiven {
			*to = BackoffFrom(b.Min)
		}
		if b.Max != notGiven {
			to.Max = b.Max
		}
		return nil
	}
}

// BackoffFrom completes a backoff of which only the minimum is given: the
// maximum is 64 times that, and no more than 5 minutes.
func BackoffFrom(low time.Duration) BackoffPeriod {
	return BackoffPeriod{Min: low, Max: max(low, min(low*backoffSpread, backoffLid))}
}

// MakeAbsolute makes the paths independent of the working directory.
func (c *Config) MakeAbsolute() error {
	for _, path := range []*string{&c.PatternsDir, &c.RuntimeDir, &c.StateDir} {
		if *path == "" {
			continue // for Validate to complain about
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("working directory: %w", err)
		}
		*path = abs
	}
	return nil
}
