package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"understudy/patterns"
	"understudy/supervisor/config"
)

// verdict is what validate found out about one file.
type verdict struct {
	File    string `json:"file"`
	Pattern string `json:"pattern,omitempty"`
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
}

func (c *cli) validateCommand() *cobra.Command {
	var configFile, dir string
	cmd := &cobra.Command{
		Use:   "validate [MANIFEST...]",
		Short: "Check a configuration file and manifests, without a daemon",
		Long: `validate checks the configuration file, if one is given, and the manifests
named; without any named, all in the patterns directory.`,
		Example: "  understudy validate --config understudy.yaml\n  understudy validate patterns/echo/manifest.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			verdicts, err := validate(configFile, dir, args)
			if err != nil {
				return err
			}
			return c.printVerdicts(verdicts)
		},
	}
	cmd.Flags().StringVar(&configFile, "config", "", "configuration file")
	cmd.Flags().StringVar(&dir, "patterns-dir", "", "patterns directory; default: the configuration's")
	must(cmd.MarkFlagFilename("config", "yaml", "yml"))
	must(cmd.MarkFlagDirname("patterns-dir"))
	return cmd
}

func validate(configFile, dir string, manifests []string) (verdicts []verdict, err error) {
	cfg := config.Default()
	if configFile != "" {
		cfg, err = config.Load(configFile)
		verdicts = append(verdicts, judge(configFile, "", err))
		if err != nil && dir == "" && len(manifests) == 0 {
			return verdicts, nil // it would have said where the manifests are
		}
	}
	for _, file := range manifests {
		m, err := patterns.Load(file)
		name := ""
		if err == nil {
			name = m.Name
		}
		verdicts = append(verdicts, judge(file, name, err))
	}
	if len(manifests) > 0 {
		return verdicts, nil
	}
	if dir == "" {
		dir = cfg.PatternsDir
	}
	good, bad := patterns.Discover(dir)
	if len(good)+len(bad) == 0 {
		return nil, fmt.Errorf("no manifests in %s", dir)
	}
	for _, m := range good {
		verdicts = append(verdicts, judge(filepath.Join(dir, m.Name, patterns.ManifestName), m.Name, nil))
	}
	for _, err := range bad {
		verdicts = append(verdicts, judge("", "", err))
	}
	return verdicts, nil
}

func judge(file, pattern string, err error) verdict {
	v := verdict{File: file, Pattern: pattern, OK: err == nil}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

// printVerdicts prints what is good on stdout and what is not on stderr, each
// on a line.
func (c *cli) printVerdicts(verdicts []verdict) error {
	bad := 0
	for _, v := range verdicts {
		if !v.OK {
			bad++
		}
		if c.json {
			if err := json.NewEncoder(c.stdout).Encode(v); err != nil {
				return err
			}
			continue
		}
		if v.OK {
			fmt.Fprintln(c.stdout, v.File, "ok")
		} else {
			fmt.Fprintln(c.stderr, v.Error)
		}
	}
	switch bad {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("1 of %d files is not valid", len(verdicts))
	}
	return fmt.Errorf("%d of %d files are not valid", bad, len(verdicts))
}
