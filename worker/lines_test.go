package worker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"

	"understudy/worker"
)

// asWorker in the environment makes the test binary the worker "lines".
const asWorker = "WORKER_TEST_LINES"

// runLines is a worker that answers each line with "<process id> <epoch>
// <config> <line>". Its config says where it fails: warm, probe and serve can
// be "fail" or "hang", serve also "return".
func runLines() error {
	var config map[string]string
	return worker.Run(context.Background(), worker.Pattern{
		Warm: func(_ context.Context, c map[string]string) error {
			config = c
			return obey(c["warm"])
		},
		Probe: func(context.Context) error { return obey(config["probe"]) },
		Serve: serveLines,
	})
}

func obey(order string) error {
	switch order {
	case "fail":
		return errors.New("as it was told")
	case "hang":
		select {}
	}
	return nil
}

func serveLines(ctx context.Context, a *worker.Assignment) error {
	if a.Config["serve"] == "return" {
		return nil
	}
	var under sync.WaitGroup
	defer under.Wait()
	for {
		c, err := a.Listener().Accept()
		if err != nil {
			if a.Config["serve"] == "hang" {
				select {}
			}
			return err
		}
		if err := obey(a.Config["serve"]); err != nil {
			return err
		}
		under.Go(func() {
			defer c.Close()
			in := bufio.NewReader(c)
			for ctx.Err() == nil {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if _, err := fmt.Fprintf(c, "%s %d %s %s", a.ProcessID, a.Epoch, a.Config["greeting"], line); err != nil {
					return
				}
			}
		})
	}
}
