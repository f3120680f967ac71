package laws

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// script is a list of steps. What it needs besides them, it makes of seed, so
// that a shorter script is played in the same way.
type script struct {
	steps []step
	seed  uint64
}

func (s script) rng() *rand.Rand { return rand.New(rand.NewPCG(s.seed, 0x1aff1e5)) }

// kinds of scripts.
type flavour struct {
	only  func(typ string) bool // nil: whatever the connector wants
	steps int                   // 0: as usual
}

// beginnings come first of their family.
func beginning(typ string) string {
	family, what, _ := strings.Cut(typ, ".")
	switch {
	case strings.HasPrefix(what, "app."):
		return ""
	case family == "member":
		return "member.joined"
	case family == "app_access":
		return "app_access.granted"
	case family == "license":
		return "license.assigned"
	case family == "sso":
		return "sso.provider_added"
	case slices.Contains([]string{"tenant", "subject", "application", "invite"}, family):
		return family + ".created"
	}
	return ""
}

// wanted are the types of the catalog that a connector wants, and those that it
// names although no provider is known to send them.
func wanted(patterns []string) []string {
	var out []string
	for _, typ := range catalog() {
		if matches(patterns, typ) {
			out = append(out, typ)
		}
	}
	for _, p := range patterns {
		switch {
		case p == "*":
			out = append(out, "audit.noted") // what nobody knows yet
		case strings.HasSuffix(p, ".*"):
			if !slices.ContainsFunc(out, func(typ string) bool { return matches([]string{p}, typ) }) {
				out = append(out, strings.TrimSuffix(p, "*")+"happened")
			}
		case !slices.Contains(out, p):
			out = append(out, p)
		}
	}
	return out
}

// write makes a script for a connector that wants these types.
func write(rng *rand.Rand, types []string, f flavour) script {
	if f.only != nil {
		types = slices.DeleteFunc(slices.Clone(types), func(typ string) bool { return !f.only(typ) })
	}
	s := script{seed: rng.Uint64()}
	if len(types) == 0 {
		return s
	}
	n := f.steps
	if n == 0 {
		n = 5 + rng.IntN(6)
	}
	begun := map[step]bool{}
	for len(s.steps) < n {
		typ := types[rng.IntN(len(types))]
		if (strings.HasSuffix(typ, "deleted") || strings.HasSuffix(typ, "removed")) && rng.IntN(3) > 0 {
			continue
		}
		next := step{typ, 1 + rng.IntN(3), 1 + rng.IntN(3), rng.IntN(4), rng.IntN(8)}
		if rng.IntN(3) > 0 {
			next.tenant, next.thing = 1+rng.IntN(2), 1+rng.IntN(2) // things that happen to the same ones
		}
		family, _, _ := strings.Cut(typ, ".")
		first := beginning(typ)
		of := step{typ: family, tenant: next.tenant, thing: next.thing}
		switch family {
		case "tenant":
			of.thing = 0
		case "subject", "application":
			of.tenant = 0
		}
		if first != "" && first != typ && !begun[of] && slices.Contains(types, first) && rng.IntN(5) > 0 {
			next.typ = first
		}
		begun[of] = true
		s.steps = append(s.steps, next)
	}
	return s
}

// history plays a script at a provider of its own.
func (e *engine) history(s script) ([]told, *provider) {
	p := e.newProvider(e.salt)
	var out []told
	for _, st := range s.steps {
		if t, ok := p.event(st); ok {
			out = append(out, t)
		}
	}
	return out, p
}

// shrink looks for a shorter script that still breaks the law, until none is
// found or the time is up.
func shrink(s script, fails func(script) error, within time.Duration) (script, error) {
	deadline := time.Now().Add(within)
	var last error
	for size := max(1, len(s.steps)/2); size >= 1; {
		removed := false
		for at := 0; at < len(s.steps); {
			if time.Now().After(deadline) {
				return s, last
			}
			try := script{slices.Delete(slices.Clone(s.steps), at, min(at+size, len(s.steps))), s.seed}
			if err := fails(try); isBreach(err) {
				s, last, removed = try, err, true
			} else {
				at += size
			}
		}
		if !removed || size > len(s.steps) {
			size /= 2
		}
	}
	return s, last
}
