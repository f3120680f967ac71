// Command strict is a connector whose configuration has rules of every kind.
package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/avhub/avhub/sdk/plugin"
)

type config struct {
	Token  string          `json:"token" doc:"Key of the API." required:"true" secret:"true" pattern:"^tok_[a-z]+$"`
	Region string          `json:"region" doc:"Where." enum:"eu|us" default:"eu"`
	Limit  int             `json:"limit" doc:"How many." default:"5" min:"1" max:"9"`
	Routes []route         `json:"routes" doc:"What goes where."`
	Plans  map[string]plan `json:"plans" doc:"What plans cost."`
}

type route struct {
	Channel string   `json:"channel" doc:"To whom." required:"true"`
	Events  []string `json:"events" doc:"Which." enum:"created|deleted"`
}

type plan struct {
	Price int `json:"price" doc:"In cents." required:"true" min:"0"`
}

type connector struct{ region string }

func (connector) Deliver(context.Context, plugin.Event, *struct{}) error { return nil }

// Check tells that America is out of reach.
func (c connector) Check(context.Context) error {
	if c.region == "us" {
		return errors.New("the API answers 401: the key tok_canary of " + c.region + " was revoked; make another one")
	}
	return nil
}

func main() {
	plugin.Plugin[config, struct{}]{
		Info: plugin.Info{Name: "strict", Version: "1", Summary: "has many rules", Events: []string{"*"}},
		Open: func(_ context.Context, cfg config, _ *slog.Logger) (plugin.Connector[struct{}], error) {
			return connector{cfg.Region}, nil
		},
	}.Main()
}
