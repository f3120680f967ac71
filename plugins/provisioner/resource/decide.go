package resource

import (
	"fmt"
	"time"
)

// Kind is what is done with a resource.
type Kind string

// The kinds of operations.
const (
	Nothing Kind = "nothing"
	Create  Kind = "create"
	Finish  Kind = "finish" // of what was half made
	Adopt   Kind = "adopt"
	Open    Kind = "open"
	Close   Kind = "close"
	Remark  Kind = "mark" // only what is written on it changes
	Missing Kind = "missing"
	Refuse  Kind = "not_owned"
)

// Want is how a resource is to stand.
type Want struct {
	Owner, Tenant, Resource string
	Phase                   Phase
}

// Policy is what the configuration says of a resource.
type Policy struct {
	Delete   bool // what ends is deleted after Grace; otherwise kept
	Grace    time.Duration
	Adopt    bool
	Recreate bool
}

// Known is what is remembered of a resource.
type Known struct {
	Made  bool
	Phase Phase
	Due   time.Time
}

// Op is what is to be done, and why.
type Op struct {
	Kind Kind   `json:"do"`
	Why  string `json:"why"`
	Mark Mark   `json:"-"` // what the resource carries afterwards
}

// Changes tells whether the operation changes anything outside.
func (o Op) Changes() bool { return o.Kind != Nothing && o.Kind != Missing && o.Kind != Refuse }

// Decide says what is to be done with a resource. It looks at nothing but its
// arguments.
func Decide(w Want, known Known, have Observed, p Policy, now time.Time) Op {
	mark := w.mark(have, p, now)
	do := func(k Kind, format string, args ...any) Op { return Op{k, fmt.Sprintf(format, args...), mark} }
	switch {
	case !have.Exists && w.Phase.Ends():
		return do(Nothing, "it is %s, and is not there", w.Phase)
	case !have.Exists && known.lost() && !p.Recreate:
		return do(Missing, "it was made, and is not there any more; bring it back, or set recreate: true for an empty one")
	case !have.Exists:
		return do(Create, "the tenant's plan has it")
	case have.Marked && !have.Mark.Of(w.Owner, w.Tenant, w.Resource), !have.Marked && (!p.Adopt || w.Phase.Ends()):
		if w.Phase.Ends() {
			return do(Nothing, "what has its name is not ours")
		}
		return do(Refuse, "something of its name exists and does not carry our mark")
	case !have.Marked:
		return do(Adopt, "it exists without our mark, and adopt: true")
	case !have.Whole:
		return do(Finish, "a part of it is missing")
	case w.Phase == Active && !have.Open:
		return do(Open, "it was %s", have.Mark.Phase)
	case w.Phase != Active && have.Open:
		return do(Close, "it is %s", w.Phase)
	case !mark.Same(have.Mark):
		return do(Remark, "it is %s", w.Phase)
	}
	return do(Nothing, "it is as it should be")
}

// lost tells whether the absence of a resource must be seen by somebody. One
// whose end was set is expected to be gone.
func (k Known) lost() bool { return k.Made && k.Due.IsZero() }

// mark is what the resource is to carry. The clock of a phase starts once.
func (w Want) mark(have Observed, p Policy, now time.Time) Mark {
	m := Mark{Owner: w.Owner, Tenant: w.Tenant, Resource: w.Resource, Phase: w.Phase, Since: now.UTC().Truncate(time.Second)}
	if have.Marked && have.Mark.Of(w.Owner, w.Tenant, w.Resource) && have.Mark.Phase == w.Phase {
		m.Since = have.Mark.Since
	}
	if w.Phase.Ends() && p.Delete {
		m.Due = m.Since.Add(p.Grace)
	}
	return m
}
