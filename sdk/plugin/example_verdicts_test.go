package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/avhub/avhub/sdk/plugin"
)

// Nothing has to be done for this event, and operators may know why.
func ExampleSkip() {
	deliver := func(ev plugin.Event) error {
		if _, changed := ev.Changed("plan"); !changed {
			return plugin.Skip("the plan is what it was")
		}
		return nil
	}
	fmt.Println(deliver(plugin.Event{Type: "tenant.updated"}))
	// Output: the plan is what it was
}

// Trying this event again cannot help, so its key goes on without it.
func ExampleReject() {
	prices := map[string]int{"free": 0, "pro": 900}
	deliver := func(org plugin.Organization) error {
		if _, ok := prices[org.Plan]; !ok {
			return plugin.Reject(fmt.Errorf("there is no price for plan %q", org.Plan))
		}
		return nil
	}
	fmt.Println(deliver(plugin.Organization{Plan: "gold"}))
	// Output: there is no price for plan "gold"
}

// Without a valid key nothing works, so the hub stops delivering, loses nothing,
// and goes on when the configuration has changed.
func ExampleHalt() {
	deliver := func(status int) error {
		if status == 401 {
			return plugin.Halt(errors.New("the billing server refuses the API key; set config.key to a valid one"))
		}
		return nil
	}
	fmt.Println(deliver(401))
	// Output: the billing server refuses the API key; set config.key to a valid one
}

type chargeState struct {
	Charging bool `json:"charging"` // a charge may have been made
	Charged  bool `json:"charged"`
}

// till is a server that takes no idempotency keys, but can be asked.
type till struct{ charges []string }

func (t *till) Deliver(_ context.Context, ev plugin.Event, st *chargeState) error {
	if st.Charged {
		return plugin.Skip("charged already")
	}
	if !st.Charging {
		st.Charging = true
		return plugin.Again() // the intent is saved before anything happens
	}
	if !slices.Contains(t.charges, ev.TenantID) { // look first
		t.charges = append(t.charges, ev.TenantID)
	}
	st.Charged = true
	return nil
}

// The write-ahead step before an effect that must not be made twice, where the
// other side takes no idempotency key.
func ExampleAgain() {
	server := &till{}
	deliver := func(st chargeState) (chargeState, error) {
		err := server.Deliver(context.Background(), plugin.Event{ID: "e1", TenantID: "t1"}, &st)
		return st, err
	}
	noted, err := deliver(chargeState{})
	fmt.Println(noted, err)
	done, err := deliver(noted)
	fmt.Println(done, err)
	// The hub was killed before it had saved that, and delivers once more with
	// the state that it has.
	done, err = deliver(noted)
	fmt.Println(done, err, server.charges)
	// Output:
	// {true false} again, with the state saved
	// {true true} <nil>
	// {true true} <nil> [t1]
}

// The same key on every delivery of an event, another for each effect of it.
func ExampleEvent_Once() {
	first := plugin.Event{Source: "authvital", ID: "e1", Attempt: 1}
	again := plugin.Event{Source: "authvital", ID: "e1", Attempt: 2, Replay: true}
	fmt.Println(first.Once("invoice") == again.Once("invoice"), first.Once("invoice") == first.Once("mail"))
	// Output: true false
}

// pool holds connections to somewhere.
type pool struct{ open bool }

func (p *pool) Deliver(context.Context, plugin.Event, *struct{}) error { return nil }

// Check tells `avhub check`, and an operator who asks, whether the world can be
// reached. It changes nothing there.
func (p *pool) Check(context.Context) error {
	if !p.open {
		return errors.New("no connection; is the server's address right?")
	}
	return nil
}

// Close is called once no Deliver runs any more.
func (p *pool) Close() error {
	p.open = false
	return nil
}

func ExampleChecker() {
	var c plugin.Connector[struct{}] = &pool{}
	if checker, ok := c.(plugin.Checker); ok {
		fmt.Println(checker.Check(context.Background()))
	}
	// Output: no connection; is the server's address right?
}

// A connector that holds something open gives it back in Close, which is found
// by its name alone. With a new configuration, Open makes a new connector, and
// the old one is closed after its last call.
func ExampleConnector_close() {
	open := func(context.Context, struct{}, *slog.Logger) (plugin.Connector[struct{}], error) {
		return &pool{open: true}, nil
	}
	c, err := open(context.Background(), struct{}{}, slog.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	if closer, ok := c.(io.Closer); ok {
		fmt.Println(closer.Close())
	}
	// Output: <nil>
}

type seats struct {
	Used int `json:"used"`
}

// What *S holds is remembered for each key, and saved together with the verdict.
// The zero value means that nothing is known, and forgets.
func ExampleConnector_state() {
	deliver := func(ev plugin.Event, st *seats) error {
		switch ev.Type {
		case "member.joined":
			st.Used++
		case "member.left":
			st.Used = max(0, st.Used-1)
		case "tenant.deleted":
			*st = seats{}
		}
		return nil
	}
	var st seats
	for _, t := range []string{"member.joined", "member.joined", "member.left"} {
		if err := deliver(plugin.Event{Type: t, Key: "tenant:t1"}, &st); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(st.Used)
	// Output: 1
}
