package plugin

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// checkWithin is how long a connector may take to tell whether it reaches its
// outside.
const checkWithin = 15 * time.Second

// Check starts a connector once, asks who it is and what it says about the
// Spec's configuration, and ends it. The configuration is not put in force:
// the connector opens nothing and reaches nothing outside. An error means that
// the connector could not be asked; a bad configuration is diagnostics.
func Check(ctx context.Context, spec Spec, opts Options) ([]Diagnostic, Info, error) {
	inst, err := startForCheck(ctx, spec, &opts)
	if err != nil {
		return nil, Info{}, err
	}
	defer inst.kill()
	info, err := inst.describe(ctx)
	if err != nil {
		return nil, Info{}, err
	}
	diags, err := inst.configure(ctx, spec.Config, true)
	return diags, info, err
}

// Reached is what a connector says of its outside world.
type Reached struct {
	// Answered tells that it was asked and did answer. It is not asked when it
	// rejects its configuration, and a connector may have no answer to give.
	Answered bool
	// Problems are what keeps it from working, as far as it can tell; those of
	// severity error when it does not reach its outside.
	Problems []Diagnostic
}

// CheckOnline is Check that goes on, if the configuration is good: it puts it in
// force, asks the connector whether it reaches its outside world, and drains it.
// A connector that somebody else has started is not put to that: it may have a
// configuration in force already.
func CheckOnline(ctx context.Context, spec Spec, opts Options) ([]Diagnostic, Reached, Info, error) {
	inst, err := startForCheck(ctx, spec, &opts)
	if err != nil {
		return nil, Reached{}, Info{}, err
	}
	defer inst.kill()
	info, err := inst.describe(ctx)
	if err != nil {
		return nil, Reached{}, Info{}, err
	}
	diags, err := inst.configure(ctx, spec.Config, true)
	if err != nil || anyError(diags) || spec.Attach != "" {
		return diags, Reached{}, info, err
	}
	// What Open finds fault with is about the configuration, too.
	more, err := inst.configure(ctx, spec.Config, false)
	if err != nil {
		return diags, Reached{}, info, err
	}
	defer inst.drain()
	if anyError(more) {
		return append(diags, more...), Reached{}, info, nil
	}
	reached, err := inst.check(ctx)
	return diags, reached, info, err
}

func startForCheck(ctx context.Context, spec Spec, opts *Options) (*instance, error) {
	opts.Log = opts.Log.With().Str("plugin", spec.Name).Logger()
	opts.timing = opts.timing.withDefaults()
	if spec.Attach != "" {
		return attach(ctx, spec, *opts)
	}
	return launch(ctx, spec, *opts)
}

// check asks a configured connector about its outside.
func (inst *instance) check(ctx context.Context) (Reached, error) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	resp, err := inst.rpc.Check(ctx, &pluginpb.CheckRequest{})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return Reached{}, nil
	case ctx.Err() != nil:
		return Reached{}, fmt.Errorf("checking the plugin: it did not tell within %s whether it reaches its outside", checkWithin)
	case err != nil:
		return Reached{}, fmt.Errorf("checking the plugin: %w", inst.explain(ctx, err))
	}
	return Reached{Answered: true, Problems: diagnosticsFromWire(resp.GetDiagnostics())}, nil
}
