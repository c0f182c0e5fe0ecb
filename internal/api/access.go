package api

import (
	"context"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"understudy/internal/principal"
)

// Access says who may call: root, one user, and the members of one group. All
// others get PermissionDenied from every method, even from unknown ones. Health
// checks alone are for everybody who can connect: they say that somebody
// serves, which a connection says as well.
type Access struct {
	// Owner is the supervisor's own user.
	Owner uint32
	// Group is the group whose members may call; nil for none.
	Group *uint32
}

// openMethod is for everybody.
const openMethod = healthpb.Health_Check_FullMethodName

// mayAlways reports whether a user may call, whatever groups it is in.
func (a Access) mayAlways(uid uint32) bool { return uid == 0 || uid == a.Owner }

// may reports whether p may call. Groups count as the peer's process has them,
// where the kernel says so, else as the user database has them.
func (a Access) may(p principal.Principal) bool {
	switch {
	case a.mayAlways(p.UID):
		return true
	case a.Group == nil:
		return false
	case p.Complete:
		return p.GID == *a.Group || slices.Contains(p.Groups, *a.Group)
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(p.UID), 10))
	if err != nil {
		return false
	}
	groups, err := u.GroupIds()
	return err == nil && slices.Contains(groups, strconv.FormatUint(uint64(*a.Group), 10))
}

// String says who may, for those who may not.
func (a Access) String() string {
	who := "root"
	if a.Owner != 0 {
		who += fmt.Sprintf(" and user %d", a.Owner)
	}
	if a.Group != nil {
		who += fmt.Sprintf(" and members of group %d", *a.Group)
	}
	return who
}

// seesConfig reports whether p may see the config that a user gave a launch.
func (a Access) seesConfig(p principal.Principal, launchedBy int64) bool {
	return a.mayAlways(p.UID) || int64(p.UID) == launchedBy
}

// callerUID is the user id of who calls, -1 where nobody knows.
func callerUID(ctx context.Context) int64 {
	if p, ok := principal.FromContext(ctx); ok {
		return int64(p.UID)
	}
	return -1
}

// identity is what a connection is known by. It is gRPC's AuthInfo of it.
type identity struct {
	credentials.CommonAuthInfo
	principal principal.Principal
	denied    error // why it may not call, or nil
	conn      *conn
}

// AuthType implements credentials.AuthInfo.
func (*identity) AuthType() string { return "local" }

// localCredentials know a connection by who made it. There is no encryption:
// what they carry does not leave the machine.
type localCredentials struct {
	access Access
	denied func(why error)
}

// ServerHandshake implements credentials.TransportCredentials. It runs on a
// goroutine of the connection's own.
func (l *localCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := raw.(*conn)
	if !ok {
		return nil, nil, fmt.Errorf("a %T is none of our connections", raw)
	}
	if !c.to.admit(c) {
		return nil, nil, fmt.Errorf("%v has too many connections", c.principal)
	}
	id := &identity{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, conn: c, principal: c.principal}
	switch {
	case c.unknown != nil:
		id.denied = status.Errorf(codes.PermissionDenied, "this supervisor is for %v, and cannot tell %v", l.access, c.unknown)
	case !l.access.may(c.principal):
		id.denied = status.Errorf(codes.PermissionDenied, "%v may not use this supervisor: it is for %v", c.principal, l.access)
	}
	if id.denied != nil {
		l.denied(id.denied)
	}
	return raw, id, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (*localCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, fmt.Errorf("these credentials are for servers")
}

// Info implements credentials.TransportCredentials.
func (*localCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "local"}
}

// Clone implements credentials.TransportCredentials.
func (l *localCredentials) Clone() credentials.TransportCredentials { return l }

// OverrideServerName implements credentials.TransportCredentials.
func (*localCredentials) OverrideServerName(string) error { return nil }

// authorize is the gate of every call. It comes before anything is made for a
// call, so that those who may not call cannot make us hold anything. The
// context of a call says who makes it.
func authorize(ctx context.Context, info *tap.Info) (context.Context, error) {
	p, _ := peer.FromContext(ctx)
	id, ok := p.AuthInfo.(*identity)
	switch {
	case !ok:
		return nil, status.Error(codes.PermissionDenied, "nobody knows who calls")
	case id.denied != nil && info.FullMethodName != openMethod:
		return nil, id.denied
	}
	return principal.NewContext(ctx, id.principal), nil
}
