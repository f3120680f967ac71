package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

type welcomeConfig struct {
	From string `json:"from" doc:"Sender of the mails." required:"true"`
}

type welcomeState struct {
	Sent bool `json:"sent"`
}

type welcome struct{ from string }

func (w welcome) Deliver(_ context.Context, ev plugin.Event, st *welcomeState) error {
	if st.Sent {
		return plugin.Skip("welcomed already")
	}
	tenant, err := plugin.Data[plugin.TenantData](ev)
	if err != nil {
		return err
	}
	fmt.Printf("mail from %s: welcome, %s\n", w.from, tenant.Name)
	st.Sent = true
	return nil
}

// A whole connector. In a real one this is the main function.
func Example() {
	connector := plugin.Plugin[welcomeConfig, welcomeState]{
		Info: plugin.Info{
			Name:    "welcome",
			Version: "1.0.0",
			Summary: "welcomes new tenants by mail",
			Events:  []string{"tenant.created"},
		},
		Open: func(_ context.Context, cfg welcomeConfig, _ *slog.Logger) (plugin.Connector[welcomeState], error) {
			return welcome{cfg.From}, nil
		},
	}

	// The connector is an ordinary value, so that a test can do what a hub does.
	c, _ := connector.Open(context.Background(), welcomeConfig{From: "hi@example.com"}, slog.Default())
	var st welcomeState
	ev := plugin.Event{Type: "tenant.created", Raw: []byte(`{"tenant_id":"t1","name":"Acme","slug":"acme"}`)}
	fmt.Println(c.Deliver(context.Background(), ev, &st))
	fmt.Println(c.Deliver(context.Background(), ev, &st))
	// Output:
	// mail from hi@example.com: welcome, Acme
	// <nil>
	// welcomed already
}

// What an HTTP answer means is mostly a matter of verdicts.
func ExampleRetryAfter() {
	verdict := func(status int, wait time.Duration) error {
		err := fmt.Errorf("the server answered %d", status)
		switch {
		case status < 300:
			return nil
		case status == http.StatusTooManyRequests:
			return plugin.RetryAfter(wait, err)
		case status == http.StatusUnauthorized:
			return plugin.Halt(err)
		case status < 500:
			return plugin.Reject(err)
		default:
			return err
		}
	}
	fmt.Println(verdict(204, 0))
	fmt.Println(verdict(429, time.Minute))
	// Output:
	// <nil>
	// the server answered 429
}

// An entity that is gone is a fact to act upon, not a failure.
func ExampleData() {
	ev := plugin.Event{Type: "tenant.deleted", Subject: "organization:t1", TenantID: "t1",
		Entities: []plugin.Entity{{Kind: "organization", ID: "t1"}}}
	_, err := plugin.Data[plugin.Organization](ev)
	if errors.Is(err, plugin.ErrNoEntity) {
		fmt.Println("remove what tenant", ev.TenantID, "had")
	}
	// Output: remove what tenant t1 had
}

// A connector can be served in this process, on any listener.
func ExamplePlugin_ServeListener() {
	connector := plugin.Plugin[welcomeConfig, welcomeState]{
		Info: plugin.Info{Name: "welcome", Version: "1.0.0", Summary: "welcomes tenants", Events: []string{"tenant.created"}},
		Open: func(_ context.Context, cfg welcomeConfig, _ *slog.Logger) (plugin.Connector[welcomeState], error) {
			return welcome{cfg.From}, nil
		},
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a real caller would talk to it first
	fmt.Println(connector.ServeListener(ctx, lis, nil))
	// Output: <nil>
}
