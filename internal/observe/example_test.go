package observe_test

import (
	"context"
	"fmt"

	"understudy/internal/event"
	"understudy/internal/observe"
)

func ExampleHub() {
	hub := observe.NewHub()
	listener, err := hub.Subscribe()
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	hub.Publish(event.Event{Kind: event.Failover, Message: "echo-8 is active at epoch 2"})
	hub.Close()
	for {
		e, dropped, err := listener.Next(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Kind, e.Message, dropped)
	}
	// Output:
	// failover echo-8 is active at epoch 2 0
	// no more events: the supervisor is stopping
}
