package route

import (
	"context"
	"fmt"
	"net"
)

// Dialer returns a function that connects to the address of a route. The
// connection is cut when the worker dies, and reading from it gives a *CutError
// then. It has CloseWrite. An address that no route has is dialled too, and its
// connection left alone. For gRPC there is DialOption, which knows better which
// worker a connection belongs to.
func (t *Table) Dialer() func(ctx context.Context, address string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		raw, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		if i, ok := t.owner(address); ok {
			return t.born(&conn{Conn: raw, table: t, identity: i}), nil
		}
		return raw, nil
	}
}

// owner returns whose address it is.
func (t *Table) owner(address string) (identity, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.byAddress[address]; e != nil {
		return e.identity, true
	}
	return identity{}, false
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	network, name := SplitAddress(address)
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, name)
	if err != nil {
		return nil, fmt.Errorf("route: %w", err) // which names the address
	}
	return conn, nil
}
