package patterns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"understudy/internal/strictyaml"
	"understudy/shmregistry"
)

var (
	validName     = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	validVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

	// reserved are the variables of contract "env", which is not built
	// yet, and of sd_notify; a manifest that sets one means something else by it.
	reserved = []string{"PATTERN_NAME", "NAMESPACE", "SESSION_ID", "GRPC_PORT", "HEALTH_PORT", "PROCESS_ID", "NOTIFY_SOCKET"}
)

// ValidName reports whether a pattern may have this name: a lower-case letter,
// then up to 62 of lower-case letters, digits, "_" and "-".
func ValidName(name string) bool { return validName.MatchString(name) }

// complete checks what no field shows alone, and fills in what follows from
// other fields.
func (m *Manifest) complete(src *strictyaml.Source) error {
	switch folder := filepath.Base(m.Dir); {
	case m.Name == "":
		return src.Errorf("name", "must not be empty")
	case !ValidName(m.Name):
		return src.Errorf("name", "%.80q must be a lower-case letter, then up to 62 of a-z, 0-9, _ and -", m.Name)
	case m.Name != folder:
		return src.Errorf("name", "%q must equal the folder's name, %q", m.Name, folder)
	case m.Contract == "env":
		return src.Errorf("contract", "\"env\" is not supported yet; use \"sdk\"")
	case m.Spares.Max != maxUnset && m.Spares.Max < m.Spares.Min:
		return src.Errorf("spares", "max %d is less than min %d", m.Spares.Max, m.Spares.Min)
	case m.Probe.Interval != 0 && m.Probe.Interval < minProbe:
		return src.Errorf("probe.interval", "%v is not 0 and less than %v", m.Probe.Interval, minProbe)
	}
	if m.Spares.Max == maxUnset {
		m.Spares.Max = max(2, m.Spares.Min)
	}
	size := 0
	for k, v := range m.Config {
		size += len(k) + len(v)
	}
	if size > maxConfig {
		return src.Errorf("config", "is %d bytes, at most %d are allowed", size, maxConfig)
	}
	if err := shmregistry.ValidateAll(m.Segments); err != nil {
		return src.Errorf("segments", "%v", err)
	}
	program, err := findProgram(m.Dir, m.Program)
	if err != nil {
		return src.Errorf("program", "%v", err)
	}
	m.Program = program
	return nil
}

func checkVariable(name, _ string) error {
	switch {
	case !validVariable.MatchString(name):
		return errors.New("is no name of an environment variable")
	case strings.HasPrefix(name, "UNDERSTUDY_"), slices.Contains(reserved, name):
		return errors.New("is set by the supervisor and may not be set here")
	}
	return nil
}

// findProgram returns the absolute path of an executable file.
func findProgram(dir, program string) (string, error) {
	if program == "" {
		return "", errors.New("must not be empty")
	}
	if !strings.Contains(program, "/") {
		path, err := exec.LookPath(program)
		if err != nil {
			return "", fmt.Errorf("%q is not found on PATH", program)
		}
		return filepath.Abs(path)
	}
	path := program
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return "", fmt.Errorf("%s: %w", path, err)
	case info.IsDir():
		return "", fmt.Errorf("%s is a directory", path)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS); err != nil {
		return "", fmt.Errorf("%s is not executable: %w", path, err)
	}
	return path, nil
}
