package supervisor

import "understudy/supervisor/config"

// Config is what a supervisor is told once. Start from DefaultConfig.
type Config = config.Config

// ConfigError says which field of a configuration is wrong and why.
type ConfigError = config.Error

// DefaultConfig returns a configuration that works for this user as it is.
func DefaultConfig() Config { return config.Default() }

// LoadConfig reads a configuration file over the defaults; see config.Load.
func LoadConfig(file string) (Config, error) { return config.Load(file) }
