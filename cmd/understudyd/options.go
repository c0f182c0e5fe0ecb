package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"understudy/internal/pace"
	"understudy/supervisor/config"
)

// options is what the flags say. Most keys of the configuration file have one.
type options struct {
	file     string
	logLevel string
	cfg      config.Config
}

func (o *options) register(f *pflag.FlagSet) {
	o.cfg = config.Default()
	c := &o.cfg
	f.StringVar(&o.file, "config", "", "configuration file (YAML, root key launcher)")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.IntVar(&c.GRPCPort, "grpc-port", c.GRPCPort, "port of the API on 127.0.0.1; 0 takes a free one")
	f.StringVar(&c.PatternsDir, "patterns-dir", c.PatternsDir, "directory with a folder for each pattern")
	f.StringVar(&c.DefaultIsolation, "default-isolation", c.DefaultIsolation, "level where neither launch nor manifest names one: none, namespace or session")
	f.StringVar(&c.RuntimeDir, "runtime-dir", c.RuntimeDir, "directory of the sockets")
	f.StringVar(&c.StateDir, "state-dir", c.StateDir, "directory of what must outlive a reboot")
	f.DurationVar(&c.ProcessManager.ResyncInterval, "resync-interval", c.ProcessManager.ResyncInterval, "time between reconcile passes")
	f.Var((*backoffValue)(&c.ProcessManager.BackoffPeriod), "backoff-period", "wait after a failed start: the least, or least..most")
	f.IntVar(&c.ProcessManager.MaxConcurrentStarts, "max-concurrent-starts", c.ProcessManager.MaxConcurrentStarts, "workers that may be starting at once")
	f.Int64Var(&c.Segments.Segment, "segments-per-segment", c.Segments.Segment, "bytes that one shared-memory segment may have; 0 is 1 GiB")
	f.Int64Var(&c.Segments.Binding, "segments-per-binding", c.Segments.Binding, "bytes of segments that one binding may have; 0 is 4 GiB")
	f.Int64Var(&c.Segments.Total, "segments-total", c.Segments.Total, "bytes of all segments; 0 is half of the machine's memory")
	f.BoolVar(&c.Sentinel.Realtime, "sentinel-realtime", c.Sentinel.Realtime, "ask for real-time priority for the noticing of deaths")
	f.StringVar(&c.Sentinel.Source, "sentinel-source", c.Sentinel.Source, "force a death source by name; auto takes the best there is")
	f.Var((*paceValue)(&c.Pace), "pace-off", "what not to do to keep the first milliseconds after a death clear, a list with commas: "+strings.Join(pace.All(), ", "))
	f.IntVar(&c.MetricsPort, "metrics-port", c.MetricsPort, "port of /metrics on 127.0.0.1; 0 takes a free one, -1 turns it off")
	f.IntVar(&c.HealthPort, "health-port", c.HealthPort, "port of /healthz and /readyz on 127.0.0.1; 0 takes a free one, -1 turns them off")
}

// self is this very binary, also after its file was replaced or removed: both
// ends of the engine's socket must be of one version.
const self = "/proc/self/exe"

// config is the file's configuration with the flags given laid over it.
func (o *options) config(f *pflag.FlagSet) (config.Config, error) {
	if o.file != "" {
		given := map[string]string{}
		f.Visit(func(flag *pflag.Flag) { given[flag.Name] = flag.Value.String() })
		var err error
		if o.cfg, err = config.Load(o.file); err != nil {
			return config.Config{}, err
		}
		for name, value := range given { // the flags' variables lie in o.cfg
			if err := f.Set(name, value); err != nil {
				return config.Config{}, err
			}
		}
	}
	if err := o.cfg.MakeAbsolute(); err != nil {
		return config.Config{}, err
	}
	o.cfg.SentinelExe = self
	return o.cfg, o.cfg.Validate()
}

// paceValue is a flag that takes the switches that are to be off: it replaces
// what the file says.
type paceValue pace.Switches

func (v *paceValue) String() string { return pace.Switches(*v).String() }
func (v *paceValue) Type() string   { return "list" }

func (v *paceValue) Set(s string) error {
	var names []string
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name != "" { // "" turns everything on
			names = append(names, name)
		}
	}
	off, err := pace.Off(names...)
	if err == nil {
		*v = paceValue(off)
	}
	return err
}

// backoffValue is a flag that takes a backoff as "100ms" or "100ms..30s".
type backoffValue config.BackoffPeriod

func (v *backoffValue) String() string { return v.Min.String() + ".." + v.Max.String() }
func (v *backoffValue) Type() string   { return "duration" }

func (v *backoffValue) Set(s string) error {
	least, most, both := strings.Cut(s, "..")
	low, err := time.ParseDuration(least)
	if err != nil {
		return err
	}
	*v = backoffValue(config.BackoffFrom(low))
	if both {
		v.Max, err = time.ParseDuration(most)
	}
	return err
}
