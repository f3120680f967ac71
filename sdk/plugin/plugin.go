package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/avhub/avhub/sdk/schema"
)

// Plugin is a whole connector: who it is, and how to open it. C is the struct
// of its configuration (its tags are read by package schema), S is what it
// remembers for each key.
//
// It is a plain value: main calls Main on it, a test calls ServeListener.
type Plugin[C, S any] struct {
	Info Info
	// Open makes a connector of a configuration that has passed its schema. It
	// is called once for each configuration that is put in force, and the
	// connector that was in force before is closed only after Open has
	// succeeded, so the two exist side by side for a moment.
	//
	// An error rejects the configuration, and the operator reads its text: it
	// must say what to change, and must not hold a secret. ctx ends soon after
	// Open returns; work that goes on longer needs a context of its own, which
	// Close ends. log may be used for as long as the connector lives.
	Open func(ctx context.Context, cfg C, log *slog.Logger) (Connector[S], error)
}

// Connector follows one stream of events.
//
// It may also implement Checker, and io.Closer: Close is called once, when no
// Deliver is running any more and none will follow.
type Connector[S any] interface {
	// Deliver applies one event. It is called at least once for each event, in
	// order within ev.Key, and never twice at a time for one key; different
	// keys run concurrently.
	//
	// st is what was remembered for ev.Key, the zero value at first. It is
	// saved with every verdict, also with that of an error, so what Deliver has
	// noted there is found again when the event comes back. It is not saved
	// after a panic, after a deadline that Deliver ignored, or when its JSON is
	// larger than MaxStateBytes: that event is rejected. Setting *st to its
	// zero value forgets the key. Only what JSON carries survives, so
	// unexported fields do not.
	//
	// nil means applied. An error means that the key waits and the event is
	// delivered again later, with the hub's backoff; Skip, Reject, RetryAfter,
	// Halt and Again say otherwise, and do so through wrapping with %w too.
	// Error texts are kept and shown to operators: no secrets.
	//
	// Deliver must return soon after ctx ends.
	Deliver(ctx context.Context, ev Event, st *S) error
}

// Checker is a Connector that can tell whether it reaches its outside world
// now: the key is valid, the server answers, the folder is writable.
type Checker interface {
	// Check changes nothing outside. The error's text is for the operator.
	Check(ctx context.Context) error
}

// Order chooses the key within which events are delivered one after the other.
type Order int

const (
	// PerTenant keeps order within a tenant; an event that has no tenant is
	// keyed by its own subject.
	PerTenant Order = iota
	// PerSubject keeps order within one person, tenant, application or SSO
	// provider: the most concurrency, and the least that one failure holds up.
	PerSubject
	// Total has one key for everything, so one failing event holds up all.
	Total
)

// String returns the order's name as describe prints it.
func (o Order) String() string {
	switch o {
	case PerTenant:
		return "per tenant"
	case PerSubject:
		return "per subject"
	case Total:
		return "total"
	default:
		return fmt.Sprintf("Order(%d)", int(o))
	}
}

// Info says who a connector is and what it wants.
type Info struct {
	// Name is the connector's own name: lower-case letters, digits and hyphens.
	Name string
	// Version is shown to operators; any text without spaces.
	Version string
	// Summary is one sentence that says what the connector does.
	Summary string
	// Events are the types that the connector wants when the hub's
	// configuration names none: "*", "tenant.*", "license.assigned".
	Events []string
	// Order is the key within which order is kept. The default is PerTenant.
	Order Order
	// Coalesce is for connectors that work from the state of things instead of
	// from deltas: when several events of one key wait, only the newest is
	// delivered, and its verdict settles the older ones with it.
	Coalesce bool
	// Counts asks for organizations with their Subscriptions, Licenses and
	// Members. They are counted for each batch, which takes time that grows with
	// the tenants' people, so it is for connectors that use them.
	Counts bool
	// Body asks for Event.Body, the bytes that the provider sent. It is for
	// connectors that pass on or keep the proof itself; Event.Raw has the data.
	Body bool
	// Notifies is for connectors to which every event is an effect of its own: a
	// message, a line of a log. An event of an older revision is still told then,
	// and no snapshot of the present makes up for events that were missed. Each
	// effect carries its event's idempotency key. The hub delivers as ever; the
	// test kit, package plugintest, asks less of its laws 6, 8 and 10.
	Notifies bool
	// KeepsHistory is for connectors whose outside tells the way that things
	// took, not only where they stand: a downgrade leaves the larger database
	// behind. The test kit does not ask that a snapshot looks like the full
	// history then (law 10).
	KeepsHistory bool
}

// Validator is a configuration that knows rules which tags cannot say: two keys
// that exclude each other, text that must be a template. It is implemented by C
// or *C.
type Validator interface {
	// Validate is asked after the tags found nothing wrong, also when a
	// configuration is only being checked. It opens nothing and reaches nothing
	// outside. Each problem says where, what is wrong and what would be right,
	// and quotes no secret.
	Validate() []schema.Problem
}

// validate finds the author's mistakes, all at once, before a hub has to.
func (p Plugin[C, S]) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	slug := regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	if !slug.MatchString(p.Info.Name) {
		bad("Info.Name is %q: use 1 to 63 lower-case letters, digits and hyphens", p.Info.Name)
	}
	if p.Info.Version == "" || strings.ContainsAny(p.Info.Version, " \t\r\n") {
		bad("Info.Version is %q: give one without spaces, such as \"1.0.0\" or \"dev\"", p.Info.Version)
	}
	if p.Info.Summary == "" {
		bad("Info.Summary is empty: say in one sentence what the connector does")
	}
	if len(p.Info.Events) == 0 {
		bad("Info.Events is empty: name the event types that the connector wants, or \"*\" for all")
	}
	pattern := regexp.MustCompile(`^(\*|[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?)$`)
	for _, e := range p.Info.Events {
		if !pattern.MatchString(e) {
			bad("Info.Events has %q: a pattern is a type (\"tenant.created\"), a family (\"tenant.*\") or \"*\"", e)
		}
	}
	if p.Info.Order < PerTenant || p.Info.Order > Total {
		bad("Info.Order is %d: use PerTenant, PerSubject or Total", int(p.Info.Order))
	}
	if p.Open == nil {
		bad("Open is nil: it must make the connector")
	}
	return errors.Join(errs...)
}
