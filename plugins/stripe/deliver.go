package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

// connector keeps Stripe in line with the tenants.
type connector struct {
	cfg     config
	api     *api
	eyes    eyes
	catalog *catalog
	guard   *cancelGuard
	metrics *metrics
	log     *slog.Logger
	now     func() time.Time
	busy    tenantLocks
	seen    driftSeen

	mu      sync.Mutex
	account string

	stop context.CancelFunc // of what runs beside
	side sync.WaitGroup
	hide func() error // metrics; nil: they are not shown
}

// Deliver brings the event's tenant in line. What the event says does not
// matter: what counts is how the tenant stands now.
func (c *connector) Deliver(ctx context.Context, ev plugin.Event, st *state) error {
	if ev.TenantID == "" {
		return plugin.Skip("it is about no tenant")
	}
	want, created, err := c.want(ev, st)
	if err != nil {
		return err
	}
	unlock, err := c.busy.lock(ctx, ev.TenantID)
	if err != nil {
		return err
	}
	defer unlock()
	r := &run{c: c, want: want, st: st, revision: ev.Revision, created: created, replay: ev.Replay}
	err = r.converge(ctx)
	if findings, ok := c.seen.take(ev.TenantID); ok && st.Settled != "" {
		st.Drift = findings
	}
	return c.verdict(ctx, ev, st, err)
}

// want is the desired state of an event's tenant, and when the tenant came to be.
func (c *connector) want(ev plugin.Event, st *state) (desired, time.Time, error) {
	org, err := plugin.Data[plugin.Organization](ev)
	switch {
	case errors.Is(err, plugin.ErrNoEntity):
		// With tenant.deleted it is certain that it is gone; without, it was there,
		// if it is remembered, and its end may have come in an event that was left
		// out because this one is newer.
		if ev.Type != "tenant.deleted" && st.Customer == "" && st.Pending == nil && st.Settled == "" {
			return desired{}, time.Time{}, plugin.Skip("the tenant is not known yet; it is looked at when it is")
		}
		return desired{Tenant: ev.TenantID, Gone: true}, time.Time{}, nil
	case err != nil:
		return desired{}, time.Time{}, err
	}
	if org.TenantID != ev.TenantID {
		return desired{}, time.Time{}, plugin.Skip("it came with another tenant than it is about")
	}
	want, err := c.cfg.desire(org)
	if err != nil {
		st.Finding = &finding{"unmapped_plan", err.Error()}
		c.metrics.finding(*st.Finding)
		c.metrics.tenant("failed")
		return desired{}, time.Time{}, plugin.Reject(err)
	}
	return want, org.CreatedAt, nil
}

// verdict says what the hub is to make of an error, and logs what an operator
// should see.
func (c *connector) verdict(ctx context.Context, ev plugin.Event, st *state, err error) error {
	var wait *waitError
	var failed *apiError
	var cancels *tooManyCancels
	switch {
	case err == nil:
		st.Refused = 0
		return nil
	case errors.Is(err, errUnchanged):
		c.metrics.tenant("unchanged")
		return plugin.Skip("Stripe holds what it should")
	case errors.Is(err, errStale):
		c.metrics.tenant("unchanged")
		return plugin.Skip("newer events have set what Stripe holds")
	case errors.Is(err, errIntent):
		return plugin.Again()
	case errors.As(err, &wait):
		c.metrics.tenant("waiting")
		return plugin.RetryAfter(wait.after, err)
	case errors.As(err, &cancels):
		c.log.Error("stopped: too many subscriptions would end", "tenant", ev.TenantID, "max_cancels", cancels.most)
		return plugin.Halt(err)
	case errors.Is(err, errAccount):
		c.log.Error("stopped: the key is of another account", "error", err.Error())
		return plugin.Halt(err)
	case errors.Is(err, errCatalog):
		st.Finding = &finding{"catalog_error", err.Error()}
		c.metrics.finding(*st.Finding)
		c.metrics.tenant("failed")
		return plugin.Reject(err)
	case ctx.Err() != nil || !errors.As(err, &failed):
		c.metrics.tenant("failed")
		return err
	}
	return c.judge(ev, st, failed, err)
}

// judge says what an answer of Stripe's means that nothing else was made of.
func (c *connector) judge(ev plugin.Event, st *state, failed *apiError, err error) error {
	c.metrics.tenant("failed")
	switch {
	case failed.Status == http.StatusTooManyRequests:
		wait := max(failed.RetryAfter, backoff(st.Refused))
		st.Refused = min(st.Refused+1, 20)
		if failed.Code != "lock_timeout" { // that is about one object alone
			c.api.limit.pause(wait)
		}
		return plugin.RetryAfter(wait, err)
	case failed.Status == http.StatusConflict:
		wait := backoff(st.Refused)
		st.Refused = min(st.Refused+1, 20)
		return plugin.RetryAfter(wait, err)
	case failed.Status == http.StatusUnauthorized:
		c.log.Error("stopped: Stripe refuses the key", "status", failed.Status)
		return plugin.Halt(fmt.Errorf("%w; set api_key to a valid key", err))
	case failed.Status == http.StatusForbidden:
		c.log.Error("stopped: the key lacks a right", "status", failed.Status)
		return plugin.Halt(fmt.Errorf("%w; give the key the right that is missing, docs/stripe.md lists them", err))
	case failed.Status == 0 || failed.Status >= http.StatusInternalServerError || failed.Status == http.StatusRequestTimeout ||
		failed.Type == "idempotency_error":
		return err
	}
	st.Finding = &finding{"refused", failed.Error()}
	c.metrics.finding(*st.Finding)
	c.log.Warn("Stripe refused a request", "tenant", ev.TenantID, "error", failed.Error())
	return plugin.Reject(err)
}

var errAccount = errors.New("another Stripe account")

// whose returns the id of the account that the key belongs to, and refuses one
// that the configuration, or a tenant's past, does not expect.
func (c *connector) whose(ctx context.Context, remembered string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account == "" {
		id, err := c.eyes.account(ctx)
		if err != nil {
			return "", err
		}
		c.account = id
	}
	for _, expected := range []struct{ id, by string }{{c.cfg.Account, "account in the configuration is"}, {remembered, "the tenant's customer is in"}} {
		if expected.id != "" && expected.id != c.account {
			return "", fmt.Errorf("%w: the key belongs to %s, and %s %s; use that account's key, or reset this plugin to begin anew in another one",
				errAccount, c.account, expected.by, expected.id)
		}
	}
	return c.account, nil
}

// dashboard is where people see the account.
func (c *config) dashboard() string {
	if c.live() {
		return "https://dashboard.stripe.com"
	}
	if !strings.Contains(c.APIURL, "stripe.com") {
		return strings.TrimSuffix(c.APIURL, "/") // a simulated one
	}
	return "https://dashboard.stripe.com/test"
}

func (c *config) policy(now time.Time) policy {
	return policy{Free: c.Free, Suspended: c.Suspended, Deleted: c.Deleted, Drift: c.Drift, Today: now.UTC().Format(time.DateOnly)}
}

// tenantLocks keep deliveries and the drift job from working on one tenant at
// the same time.
type tenantLocks struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

func (l *tenantLocks) lock(ctx context.Context, tenant string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		other, taken := l.busy[tenant]
		if !taken {
			if l.busy == nil {
				l.busy = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			l.busy[tenant] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				delete(l.busy, tenant)
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
