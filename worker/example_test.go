package worker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"understudy/worker"
)

// An HTTP server as a pattern. Started by hand, it says what it is.
func ExampleRun() {
	err := worker.Run(context.Background(), worker.Pattern{
		Warm: func(ctx context.Context, config map[string]string) error {
			return nil // load, connect, rehearse
		},
		Serve: func(ctx context.Context, a *worker.Assignment) error {
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, "%s, epoch %d\n", a.ProcessID, a.Epoch)
			})}
			finished := make(chan error, 1)
			context.AfterFunc(ctx, func() { finished <- s.Shutdown(context.Background()) })
			if err := s.Serve(a.Listener()); ctx.Err() == nil {
				return err
			}
			return <-finished // the requests that it had begun
		},
	})
	fmt.Println(errors.Is(err, worker.ErrNotSupervised))
	// Output: true
}
