package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/avhub/avhub/plugins/provisioner/resource"
)

// swept is a resource whose time has come, and what became of it.
type swept struct {
	Tenant   string         `json:"tenant"`
	Resource string         `json:"resource"`
	Name     string         `json:"name"`
	Phase    resource.Phase `json:"phase"`
	Due      time.Time      `json:"due,omitzero"`
	Outcome  string         `json:"outcome"` // "deleted", "would be deleted", "waits", "failed"
	Problem  string         `json:"problem,omitempty"`
}

// sweep deletes what is due. Its clock is on the resource itself, so it needs
// nothing that is remembered. A driver that is down keeps its own alone.
func (c *connector) sweep(ctx context.Context) ([]swept, error) {
	return c.purge(ctx, nil, true, nil)
}

// sweepThose ends those resources that ended, may be deleted, and are meant.
func (c *connector) sweepThose(ctx context.Context, meant func(resource.Found) bool, end func(context.Context, string, resource.Found) error,
	outcome string, tell func(done, of int)) ([]swept, error) {
	out := []swept{}
	var errs []error
	for _, n := range slices.Sorted(maps.Keys(c.drivers)) {
		r := c.cfg.Resources[n]
		if !r.policy(c.cfg.AllowDestroy).Delete {
			continue
		}
		all, err := c.list(ctx, n, "")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		due := slices.DeleteFunc(all, func(f resource.Found) bool {
			return !f.Mark.Phase.Ends() || !meant(f)
		})
		for i, f := range due {
			one := swept{Tenant: f.Mark.Tenant, Resource: n, Name: f.Name, Phase: f.Mark.Phase, Due: f.Mark.Due}
			err := end(ctx, n, f)
			var wait *waitError
			switch {
			case errors.As(err, &wait):
				one.Outcome, one.Problem = "waits", err.Error()
			case errors.Is(err, resource.ErrChanged):
				continue // the tenant came back
			case err != nil:
				one.Outcome, one.Problem = "failed", err.Error()
				errs = append(errs, fmt.Errorf("deleting %s: %w", f.Name, err))
			default:
				one.Outcome = outcome
			}
			out = append(out, one)
			if tell != nil {
				tell(i+1, len(due))
			}
		}
	}
	return out, errors.Join(errs...)
}

// destroy deletes one resource for ever.
func (c *connector) destroy(ctx context.Context, n string, f resource.Found) error {
	if wait := c.destroys.take(c.now()); wait > 0 {
		return &waitError{wait, fmt.Sprintf("%d resources were deleted within an hour, as many as destroys_per_hour allows", c.cfg.Destroys)}
	}
	short, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if err := c.drivers[n].Destroy(short, f.Name, f.Mark); err != nil {
		return err
	}
	c.log.Warn("a resource was deleted for ever", "tenant", f.Mark.Tenant, "resource", n, "name", f.Name, "phase", string(f.Mark.Phase))
	return nil
}

// every sweeps again and again, until ctx ends.
func (c *connector) every(ctx context.Context, d time.Duration) {
	for {
		timer := time.NewTimer(d)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if _, err := c.sweep(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("deleting what is due failed; it is tried again", "error", err.Error(), "after", d)
		}
	}
}
