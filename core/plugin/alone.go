package plugin

import (
	"context"
	"sync"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Alone is one process of a connector that no supervisor watches over: whoever
// started it talks to it, configures it and ends it. It is for looking at a
// connector, not for running it.
type Alone struct {
	inst *instance
	once sync.Once
}

// StartAlone starts a connector as a hub does. It is not described and not
// configured; Spec.Config is not used.
func StartAlone(ctx context.Context, spec Spec, opts Options) (*Alone, error) {
	opts.Log = opts.Log.With().Str("plugin", spec.Name).Logger()
	opts.timing = opts.timing.withDefaults()
	inst, err := launch(ctx, spec, opts)
	if err != nil {
		return nil, err
	}
	return &Alone{inst: inst}, nil
}

// Client talks to the connector.
func (a *Alone) Client() pluginpb.ConnectorClient { return a.inst.rpc }

// Kill ends the process and its group by SIGKILL, and returns when they have
// ended. Kill and Stop may be called again, and by several goroutines.
func (a *Alone) Kill() { a.once.Do(a.inst.killNow) }

// Stop ends the process as a hub does that has drained it: it is asked to exit,
// and killed if it does not.
func (a *Alone) Stop() { a.once.Do(a.inst.kill) }
