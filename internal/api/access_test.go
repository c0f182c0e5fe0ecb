package api

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/internal/principal"
)

func TestWhoMayCall(t *testing.T) {
	group := uint32(4711)
	known := func(uid, gid uint32, groups ...uint32) principal.Principal {
		return principal.Principal{UID: uid, GID: gid, Groups: groups, Complete: true}
	}
	for name, c := range map[string]struct {
		group *uint32
		who   principal.Principal
		may   bool
	}{
		"root":                                  {nil, known(0, 0), true},
		"the supervisor's user":                 {nil, known(1000, 1000), true},
		"another":                               {nil, known(65534, 65534), false},
		"another, of the group":                 {&group, known(65534, 4711), true},
		"another, of the group beside its own":  {&group, known(65534, 1, 2, 4711), true},
		"another, of other groups":              {&group, known(65534, 1, 2), false},
		"nobody knows the groups, no such user": {&group, principal.Principal{UID: 3999999999}, false},
	} {
		require.Equal(t, c.may, Access{Owner: 1000, Group: c.group}.may(c.who), name)
	}
}

func TestWhoSeesAConfig(t *testing.T) {
	a := Access{Owner: 1000}
	require.True(t, a.seesConfig(principal.Principal{UID: 0}, 7))
	require.True(t, a.seesConfig(principal.Principal{UID: 1000}, 7))
	require.True(t, a.seesConfig(principal.Principal{UID: 7}, 7))
	require.False(t, a.seesConfig(principal.Principal{UID: 8}, 7), "a member of the group, and another tenant's")
}

func TestWatchersAreBounded(t *testing.T) {
	s := &supervisorService{watchers: 1}
	done, err := s.watch()
	require.NoError(t, err)
	_, err = s.watch()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	done()
	_, err = s.watch()
	require.NoError(t, err)
}
