package supervisor

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/internal/loop"
	"understudy/internal/observe"
	"understudy/isolation"
)

// A loop that stands still has not ended: only an answer shows that it runs.
// Nobody who asks stands still with it.
func TestALoopThatStandsStillIsNotHealthy(t *testing.T) {
	s := &Supervisor{loop: loop.New()}
	pages := observe.HealthHandler(s.healthy, s.spared)
	code := func(page string) int {
		answered := make(chan int, 1)
		go func() {
			w := httptest.NewRecorder()
			pages.ServeHTTP(w, httptest.NewRequest(http.MethodGet, page, nil))
			answered <- w.Code
		}()
		select {
		case c := <-answered:
			return c
		case <-time.After(time.Minute):
			t.Fatalf("%s does not answer", page)
			return 0
		}
	}
	over := false
	go s.loop.Run(func() bool { return over })
	require.Equal(t, http.StatusOK, code("/healthz"))

	goOn := make(chan struct{})
	require.NoError(t, s.loop.Post(func() { <-goOn }))
	require.Equal(t, http.StatusServiceUnavailable, code("/healthz"))
	require.Equal(t, http.StatusServiceUnavailable, code("/readyz"))
	for range 4096 { // nobody has room to ask any more
		go func() { _ = s.loop.Post(func() {}) }()
	}
	require.Equal(t, http.StatusServiceUnavailable, code("/healthz"))
	_, err := s.Summary(time.Millisecond)
	require.ErrorContains(t, err, "does not answer within 1ms")

	close(goOn)
	require.Equal(t, http.StatusOK, code("/healthz"))
	require.NoError(t, s.loop.Post(func() { over = true }))
	<-s.loop.Ended()
	require.ErrorIs(t, s.healthy(), isolation.ErrClosed)
}
