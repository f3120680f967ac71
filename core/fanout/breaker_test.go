package fanout

import (
	"fmt"
	"testing"
	"time"
)

func TestTheBreakerOpensWhenMostTenantsFailAndNothingWorks(t *testing.T) {
	t.Parallel()
	// Each letter is a call for one tenant: small letters work, capitals fail.
	for calls, opens := range map[string]bool{
		"":                       false,
		"AAAAAAAAAAAAAAAAAAAAAA": false, // one bad tenant
		"ABCD":                   false, // too few to tell
		"ABCDE":                  true,
		"abcdeABCDE":             true,
		"abcdefghijkABCDE":       false, // five of eleven
		"abcdefghijkABCDEF":      true,
		"ABCDxEFGH":              false, // something worked in between
		"ABCDxABCDE":             true,
		"ABCDEa":                 true, // open before it worked
	} {
		b := breaker{pause: probePause}
		opened := false
		for _, r := range calls {
			b.call++
			small := r >= 'a'
			name := string(r)
			if small {
				name = string(r - 'a' + 'A')
			}
			b.note(name, !small, noon)
			opened = b.trip(noon, "no") || opened
		}
		if opened != opens {
			t.Errorf("%q: open %v, want %v", calls, opened, opens)
		}
	}
}

func TestWhatFailedLongAgoDoesNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	b := breaker{pause: probePause}
	for i := range 5 {
		b.call++
		b.note(fmt.Sprint(i), true, noon.Add(time.Duration(i)*20*time.Minute))
		if b.trip(noon.Add(time.Duration(i)*20*time.Minute), "no") {
			t.Fatalf("open after %d failures within 20 minutes each", i+1)
		}
	}
}

func TestTheBreakerRemembersABoundedNumberOfTenants(t *testing.T) {
	t.Parallel()
	b := breaker{pause: probePause}
	for i := range 10_000 {
		b.call++
		b.note(fmt.Sprint(i), false, noon)
	}
	if len(b.seen) != breakerTenants {
		t.Errorf("%d tenants", len(b.seen))
	}
}

func TestProbesComeAfterASecondAndThenLessOften(t *testing.T) {
	t.Parallel()
	b := breaker{pause: probePause}
	b.open(noon, noon, "no")
	now := noon
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if got := b.next.Sub(now); got != want*time.Second {
			t.Errorf("probe %d after %s, want %d s", i+1, got, want)
		}
		now = b.next
		b.probed(now, "no")
	}
	b.close(now)
	if still := b.still(); still.from != noon || still.to != now {
		t.Errorf("clocks stood still %+v", still)
	}
}
