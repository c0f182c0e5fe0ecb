//go:build !faults

package supervisor_test

// buildTags are those of the programs under test.
const buildTags = ""
