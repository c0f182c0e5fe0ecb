// Package observe lets people and programs see what the supervisor does: the
// events as they happen (Hub), the metrics (Metrics), and the HTTP servers for
// metrics and health. Nothing here decides anything, and nothing here may hold
// up who tells it.
package observe
