package plugin

import "context"

// Check starts a connector once, asks who it is and what it says about the
// Spec's configuration, and ends it. The configuration is not put in force:
// the connector opens nothing and reaches nothing outside. An error means that
// the connector could not be asked; a bad configuration is diagnostics.
func Check(ctx context.Context, spec Spec, opts Options) ([]Diagnostic, Info, error) {
	opts.Log = opts.Log.With().Str("plugin", spec.Name).Logger()
	opts.timing = opts.timing.withDefaults()
	begin := launch
	if spec.Attach != "" {
		begin = attach
	}
	inst, err := begin(ctx, spec, opts)
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
