// Package resource says what a tenant's resource is: the mark that tells whose
// it is, what was seen of it, what is to be done with it, and what a driver must
// be able to do.
package resource

import (
	"encoding/json"
	"strings"
	"time"
)

// Phase is how a resource stands.
type Phase string

// The phases. Only an active resource can be used.
const (
	Active    Phase = "active"
	Suspended Phase = "suspended" // its tenant is
	Surplus   Phase = "surplus"   // the tenant's plan has it no more
	Deleted   Phase = "deleted"   // its tenant is
)

// Ends tells whether a resource of this phase is not promised to anybody.
func (p Phase) Ends() bool { return p == Surplus || p == Deleted }

// Mark is what a resource carries: without it, it is not ours. It also holds the
// clock of its end, so that the clock survives everything but the resource.
type Mark struct {
	Owner    string    `json:"owner"`
	Tenant   string    `json:"tenant"`
	Resource string    `json:"resource"`
	Phase    Phase     `json:"phase"`
	Since    time.Time `json:"since"`        // of the phase
	Due      time.Time `json:"due,omitzero"` // when it is deleted; zero: never
}

const markPrefix = "avhub "

// maxMark bounds a mark, in bytes.
const maxMark = 8 << 10

// Text is the mark as it is written on a resource.
func (m Mark) Text() string {
	raw, err := json.Marshal(m)
	if err != nil {
		return "" // a time beyond the year 9999; nothing is taken for ours then
	}
	return markPrefix + string(raw)
}

// Parse reads a mark; false: it is none.
func Parse(text string) (Mark, bool) {
	rest, ok := strings.CutPrefix(text, markPrefix)
	var m Mark
	if !ok || len(text) > maxMark || json.Unmarshal([]byte(rest), &m) != nil || m.Tenant == "" || m.Resource == "" {
		return Mark{}, false
	}
	return m, true
}

// Of tells whether the mark is of this tenant's resource.
func (m Mark) Of(owner, tenant, res string) bool {
	return m.Owner == owner && m.Tenant == tenant && m.Resource == res
}

// Same tells whether two marks say the same.
func (m Mark) Same(o Mark) bool {
	return m.Of(o.Owner, o.Tenant, o.Resource) && m.Phase == o.Phase && m.Since.Equal(o.Since) && m.Due.Equal(o.Due)
}
