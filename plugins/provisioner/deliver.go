package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/avhub/avhub/plugins/provisioner/resource"
	"github.com/avhub/avhub/sdk/plugin"
)

// refusal is an error that trying again does not help.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

// waitError says when to come again.
type waitError struct {
	after time.Duration
	why   string
}

func (e *waitError) Error() string { return e.why }

// laterAfter is how long to wait when a program asked for it.
const laterAfter = 15 * time.Second

// maxTenant bounds a tenant's id, which every mark holds, in bytes.
const maxTenant = 512

// wanted is how a tenant stands.
type wanted struct {
	tenant, slug, plan string
	phases             map[string]resource.Phase // of its resources
}

// Deliver brings the event's tenant in line. What the event says does not
// matter: what counts is how the tenant stands now.
func (c *connector) Deliver(ctx context.Context, ev plugin.Event, st *state) error {
	switch {
	case ev.TenantID == "":
		return plugin.Skip("it is about no tenant")
	case len(ev.TenantID) > maxTenant:
		return plugin.Reject(fmt.Errorf("the tenant's id has %d bytes; %d can be marked", len(ev.TenantID), maxTenant))
	}
	org, err := plugin.Data[plugin.Organization](ev)
	switch {
	case errors.Is(err, plugin.ErrNoEntity):
		if ev.Type != "tenant.deleted" && len(st.Resources) == 0 {
			return plugin.Skip("the tenant is not known yet; it is looked at when it is")
		}
		org = plugin.Organization{TenantID: ev.TenantID, Status: "deleted"}
	case err != nil:
		return err
	case org.TenantID != ev.TenantID:
		return plugin.Skip("it came with another tenant than it is about")
	}
	known := slices.Collect(maps.Keys(st.Resources))
	if org.Status == "deleted" && len(known) == 0 {
		// What was made in an earlier life may still be there.
		known = slices.Collect(maps.Keys(c.drivers))
	}
	want, err := c.cfg.want(org, known)
	if err != nil {
		return plugin.Reject(err)
	}
	noted, err := c.note(ctx, want, st)
	if noted {
		return plugin.Again()
	}
	failed := c.converge(ctx, want, st)
	if err != nil {
		failed = append(failed, err)
	}
	return verdict(failed)
}

// want says what a tenant is to have. known are the resources that it may have.
func (c *config) want(org plugin.Organization, known []string) (wanted, error) {
	w := wanted{tenant: org.TenantID, slug: org.Slug, plan: org.Plan, phases: map[string]resource.Phase{}}
	rest := resource.Surplus
	if org.Status == "deleted" {
		rest = resource.Deleted
	}
	for _, n := range known {
		if _, ok := c.Resources[n]; ok { // one that the configuration has no more stays as it is
			w.phases[n] = rest
		}
	}
	if org.Status == "deleted" {
		return w, nil
	}
	promised, ok := c.promised(org.Plan)
	if !ok {
		return w, fmt.Errorf("unmapped_plan: the configuration's plans have neither %q nor \"*\"; the tenant keeps what it has", org.Plan)
	}
	for _, n := range promised {
		w.phases[n] = resource.Active
		if org.Status == "suspended" {
			w.phases[n] = resource.Suspended
		}
	}
	return w, nil
}

// note writes down the names of what is about to be made, before it is: intent
// before effect. It reports whether there was anything to write down.
func (c *connector) note(ctx context.Context, w wanted, st *state) (bool, error) {
	noted := false
	var errs []error
	for _, n := range slices.Sorted(maps.Keys(w.phases)) {
		if h := st.Resources[n]; h != nil && h.Name != "" {
			continue
		}
		if st.Resources == nil {
			st.Resources = map[string]*held{}
		}
		short, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		called, err := c.nameFor(short, n, w.slug, w.tenant)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n, err))
			st.Resources[n] = &held{Problem: err.Error()}
			continue
		}
		st.Resources[n] = &held{Name: called}
		noted = noted || !w.phases[n].Ends()
	}
	return noted, errors.Join(errs...)
}

// converge works on each resource by itself, so that one that fails holds up no
// other.
func (c *connector) converge(ctx context.Context, w wanted, st *state) []error {
	st.Plan = w.plan
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for n, phase := range w.phases {
		h := st.Resources[n]
		if h == nil || h.Name == "" {
			continue
		}
		all.Go(func() {
			short, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
			defer cancel()
			err := c.bring(short, w, n, phase, h)
			h.Problem = ""
			if err != nil {
				h.Problem = err.Error()
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, fmt.Errorf("%s: %w", n, err))
			}
		})
	}
	all.Wait()
	for n, h := range st.Resources {
		if w.phases[n].Ends() && h.Phase == "" && !h.Made && h.Problem == "" {
			delete(st.Resources, n) // it never was
		}
	}
	slices.SortFunc(failed, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return failed
}

// bring brings one resource in line.
func (c *connector) bring(ctx context.Context, w wanted, n string, phase resource.Phase, h *held) error {
	d, r := c.drivers[n], c.cfg.Resources[n]
	have, err := d.Observe(ctx, h.Name)
	if err != nil {
		return err
	}
	op := c.decide(w, n, phase, h, have)
	switch op.Kind {
	case resource.Missing, resource.Refuse:
		return &refusal{string(op.Kind) + ": " + op.Why}
	case resource.Nothing:
		if !have.Exists || !have.Marked || !have.Mark.Of(c.cfg.Owner, w.tenant, n) {
			*h = held{Name: h.Name} // its time came, or it never was ours
			return nil
		}
	case resource.Create:
		if wait := c.creates.take(c.now()); wait > 0 {
			return &waitError{wait, fmt.Sprintf("%d resources were made within a minute, as many as creates_per_minute allows", c.cfg.Creates)}
		}
		if err := c.takePlace(ctx, n); err != nil {
			return err
		}
	}
	if op.Changes() {
		may := resource.May{Create: op.Kind == resource.Create || op.Kind == resource.Finish, Adopt: r.Adopt}
		if err := d.Put(ctx, h.Name, op.Mark, may); err != nil {
			if errors.Is(err, resource.ErrNotOwned) {
				return &refusal{err.Error()}
			}
			return err
		}
		if have, err = d.Observe(ctx, h.Name); err != nil {
			return err
		}
		c.log.Info("a resource was changed", "tenant", w.tenant, "resource", n, "name", h.Name, "op", string(op.Kind), "phase", string(phase))
	}
	*h = held{Name: h.Name, Phase: op.Mark.Phase, Made: true, Due: op.Mark.Due, References: have.References}
	return nil
}

func (c *connector) decide(w wanted, n string, phase resource.Phase, h *held, have resource.Observed) resource.Op {
	want := resource.Want{Owner: c.cfg.Owner, Tenant: w.tenant, Resource: n, Phase: phase}
	known := resource.Known{Made: h.Made, Phase: h.Phase, Due: h.Due}
	return resource.Decide(want, known, have, c.cfg.Resources[n].policy(c.cfg.AllowDestroy), c.now())
}

// verdict says what the hub is to make of what failed. What can be tried again
// is; what was refused is seen in the state meanwhile, and given up alone.
func verdict(failed []error) error {
	if len(failed) == 0 {
		return nil
	}
	all := errors.Join(failed...)
	refused, waits := 0, time.Duration(0)
	for _, err := range failed {
		var no *refusal
		var wait *waitError
		switch {
		case errors.As(err, &no):
			refused++
		case errors.As(err, &wait):
			waits = max(waits, wait.after)
		case errors.Is(err, resource.ErrLater):
			waits = max(waits, laterAfter)
		default:
			return all
		}
	}
	if waits > 0 {
		return plugin.RetryAfter(waits, all)
	}
	return plugin.Reject(all)
}
