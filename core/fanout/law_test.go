package fanout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Plugins that fail, reject, ask again and lose connections, and hubs that are
// replaced at any moment: in the end every event is settled once, in order
// within its key, and the state shows each exactly once.
func TestLaw5_StateShowsEachEventExactlyOnceWhateverHappens(t *testing.T) {
	const events, keys, owners = 400, 9, 12
	onBoth(t, func(t *testing.T, b *bundle) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		rejected := func(id string) bool { return chance(seed, id, "reject") < 5 }

		var mu sync.Mutex
		failures := map[string]int{}
		b.plugin.deliver = func(ev *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte) {
			id := ev.GetId()
			if rejected(id) {
				return verdict(pluginpb.Verdict_KIND_REJECT, "never"), nil
			}
			mu.Lock()
			failures[id]++
			n := failures[id]
			mu.Unlock()
			if chance(seed, id, "fail") < 10 && n < 3 {
				return verdict(pluginpb.Verdict_KIND_RETRY, "not now"), nil
			}
			var st struct{ Applied, Noted []string }
			if state != nil {
				if err := json.Unmarshal(state, &st); err != nil {
					t.Error(err)
				}
			}
			if chance(seed, id, "again") < 10 && !slices.Contains(st.Noted, id) {
				st.Noted = append(st.Noted, id)
				out, _ := json.Marshal(st)
				return verdict(pluginpb.Verdict_KIND_AGAIN, ""), out
			}
			st.Applied = append(st.Applied, id)
			out, _ := json.Marshal(st)
			return applied(), out
		}
		// One call in eight is cut after the plugin did its work.
		inner := b.plugin.Deliver
		cutting := &cutter{fake: b.plugin, deliver: inner, rng: rand.New(rand.NewPCG(seed, 1))}

		go func() {
			for i := range events {
				b.append(fmt.Sprintf("t%d", int(chance(seed, fmt.Sprint(i), "key"))%keys), fmt.Sprintf("e%d", i), "{}")
			}
		}()
		rng := rand.New(rand.NewPCG(seed, 2))
		for range owners { // each takes over from the one before, wherever it is
			b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Plugin = cutting })
			time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond) // a random instant, not a wait for something
		}
		b.until("all events journaled", func() bool {
			last, err := b.journal.Last(context.Background())
			return err == nil && last == events
		})
		b.until("all events settled", b.settled)

		want := map[string][]string{}
		for i := range events {
			id := fmt.Sprintf("e%d", i)
			if !rejected(id) {
				key := fmt.Sprintf("tenant:t%d", int(chance(seed, fmt.Sprint(i), "key"))%keys)
				want[key] = append(want[key], id)
			}
		}
		for key, ids := range want {
			var st struct{ Applied []string }
			if err := json.Unmarshal([]byte(stateOf(t, b, key)), &st); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(st.Applied, ids) {
				t.Errorf("%s applied\n%v, want\n%v", key, st.Applied, ids)
			}
		}
		dead := map[string]bool{}
		letters, err := fanout.List(context.Background(), b.store, fanout.Filter{Limit: events})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range letters.DeadLetters {
			dead[d.EventID] = true
		}
		for i := range events {
			if id := fmt.Sprintf("e%d", i); dead[id] != rejected(id) {
				t.Errorf("%s: dead letter %v, rejected %v", id, dead[id], rejected(id))
			}
		}
	})
}

// chance is a percentage that depends on seed, id and what for.
func chance(seed uint64, id, what string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s/%s", seed, id, what)
	return h.Sum64() % 100
}

type cutter struct {
	*fake
	deliver func(context.Context, *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error)
	mu      sync.Mutex
	rng     *rand.Rand
}

func (c *cutter) Deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	resp, err := c.deliver(ctx, req)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && c.rng.IntN(8) == 0 {
		return nil, errCut
	}
	return resp, err
}

// A hub that dies leaves its cursor behind a blocked event. The next one must
// neither hand that event out early nor forget its attempts.
func TestLaw7_ALaneSurvivesARestartWithItsAttempts(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		slow := make(chan struct{})
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			switch ev.GetId() {
			case "slow":
				<-slow // keeps the cursor behind it
			case "bad":
				return verdict(pluginpb.Verdict_KIND_RETRY, "no"), nil
			}
			return applied(), nil
		}
		b.append("a", "slow", "{}")
		first := b.start()
		b.until("the slow event is in the plugin's hands", func() bool { return len(b.plugin.delivered()) == 1 })
		b.append("b", "bad", "{}")
		b.until("attempts at the blocked event", func() bool { l := b.trouble().Lanes; return len(l) == 1 && l[0].Attempts >= 3 })
		before := b.trouble().Lanes[0]

		b.start() // takes over; from then on the first one can commit nothing any more
		b.until("the second one takes over", func() bool {
			p, err := fanout.Plugins(context.Background(), b.store)
			return err == nil && p[0].Partitions[0].Epoch == 2
		})
		taken := b.trouble().Lanes[0].Attempts
		b.until("further attempts", func() bool { l := b.trouble().Lanes; return len(l) == 1 && l[0].Attempts > taken+2 })
		if after := b.trouble().Lanes[0]; !after.Since.Equal(before.Since) || after.Head != before.Head {
			t.Errorf("the lane was %+v, is %+v", before, after)
		}
		close(slow)
		if err := first.end(); err == nil {
			t.Error("the first owner did not notice")
		}
	})
}

// Large states do not fit into one call together. What is left over goes out
// with the next one, also when a hub takes over and finds part of it settled.
func TestLaw4_WhatDoesNotFitIntoACallFollows(t *testing.T) {
	for name, coalesce := range map[string]bool{"each event": false, "coalescing": true} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				const tenants, each = 120, 4
				b.plugin.coalesce = coalesce
				type remembered struct {
					Last    string
					Ballast string
				}
				b.plugin.deliver = func(ev *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte) {
					out, err := json.Marshal(remembered{ev.GetId(), strings.Repeat("x", 60<<10)})
					if err != nil {
						t.Error(err)
					}
					return applied(), out
				}
				round := func(n int) {
					for tenant := range tenants {
						b.append(fmt.Sprintf("t%d", tenant), fmt.Sprintf("e%d-%d", tenant, n), "{}")
					}
				}
				for n := range each {
					round(n)
					b.start() // takes over, in the middle of what the one before does
				}
				b.until("all settled", b.settled)
				for tenant := range tenants {
					var st remembered
					if err := json.Unmarshal([]byte(stateOf(t, b, fmt.Sprintf("tenant:t%d", tenant))), &st); err != nil {
						t.Fatal(err)
					}
					if want := fmt.Sprintf("e%d-%d", tenant, each-1); st.Last != want {
						t.Errorf("tenant %d ended with %s, want %s", tenant, st.Last, want)
					}
				}
			})
		})
	}
}
