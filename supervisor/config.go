package supervisor

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"understudy/supervisor/config"
)

// Config is what a supervisor is told once. Start from DefaultConfig.
type Config = config.Config

// ConfigError says which field of a configuration is wrong and why.
type ConfigError = config.Error

// DefaultConfig returns a configuration that works for this user as it is.
func DefaultConfig() Config { return config.Default() }

// LoadConfig reads a configuration file over the defaults; see config.Load.
func LoadConfig(file string) (Config, error) { return config.Load(file) }

// readable returns a *ConfigError where the patterns directory cannot be
// listed. A supervisor without it would look ready and serve nobody.
func readable(patternsDir string) error {
	d, err := os.Open(patternsDir)
	if err == nil {
		defer d.Close()
		_, err = d.Readdirnames(1)
	}
	if err == nil || errors.Is(err, io.EOF) { // EOF: it is empty
		return nil
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &ConfigError{Field: "patterns_dir", Reason: "cannot read " + patternsDir + ": " + err.Error()}
}
