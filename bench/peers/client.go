package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// The clients: Go's own, which repeats by itself a request whose kept
// connection was found dead.
const (
	// fresh makes a connection for each request.
	fresh = "fresh"
	// kept keeps one connection.
	kept = "kept"
)

var clients = []string{fresh, kept}

type client struct {
	http *http.Client
}

// newClient asks whoever answers at a unix socket.
func newClient(socket, kind string) *client {
	return &client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives:   kind == fresh,
		MaxIdleConnsPerHost: 1,
	}}}
}

// Ask returns the pid of who answered.
func (c *client) Ask(ctx context.Context) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://worker/", nil)
	if err != nil {
		return 0, err
	}
	a, err := c.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.Body, 1<<10))
	if err != nil {
		return 0, err
	}
	if a.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %s", a.Status)
	}
	pid, err := strconv.Atoi(string(body))
	if err != nil {
		return 0, fmt.Errorf("answer is no pid: %q", body)
	}
	return pid, nil
}

// Close closes the connection that is kept.
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}
