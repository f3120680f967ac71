package fanout_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
)

// view reads "a:p b:p,q c: | p p/a p/a p/ q/b": hubs with the plugins that they
// want, then partitions with their owners.
func view(me, text string) (fanout.View, []string) {
	hubs, parts, _ := strings.Cut(text, "|")
	v := fanout.View{Me: me, Plugins: map[string]fanout.PluginRow{}}
	var mine []string
	for hub := range strings.FieldsSeq(hubs) {
		id, wants, _ := strings.Cut(hub, ":")
		plugins := strings.FieldsFunc(wants, func(r rune) bool { return r == ',' })
		v.Hubs = append(v.Hubs, fanout.LiveHub{ID: id, Plugins: plugins})
		if id == me {
			mine = plugins
		}
	}
	for part := range strings.FieldsSeq(parts) {
		plugin, owner, _ := strings.Cut(part, "/")
		row := v.Plugins[plugin]
		v.Held = append(v.Held, fanout.Held{PartitionID: fanout.PartitionID{Plugin: plugin, Partition: row.Partitions}, Owner: owner})
		row.Partitions++
		v.Plugins[plugin] = row
	}
	if !slices.ContainsFunc(v.Hubs, func(h fanout.LiveHub) bool { return h.ID == me }) {
		mine = []string{"p"}
	}
	return v, mine
}

func TestAHubTakesItsShareAndGivesWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		me, view   string
		free       time.Duration
		take, give string
	}{
		{"a", "a:p | p/ p/ p/", 0, "p/0 p/1 p/2", ""},
		{"a", "a:p | ", 0, "", ""},
		{"a", "a:p b:p | p/ p/ p/ p/", 0, "p/0 p/1", ""},
		{"a", "a:p b:p | p/a p/ p/ p/", 0, "p/1", ""},
		{"a", "a:p b:p | p/a p/a p/ p/b", 0, "", ""},             // it is b's
		{"a", "a:p b:p | p/a p/a p/ p/b", 3e9, "p/2", ""},        // b does not take it
		{"a", "a:p b: | p/a p/a p/ p/", 0, "p/2 p/3", ""},        // b delivers to nothing
		{"a", "a:p b:q | p/a q/ p/", 0, "p/1", ""},               // it does not want q
		{"a", "a:p b:q | q/", 9e9, "", ""},                       // however long
		{"a", "a:p b:p | p/a p/b p/a p/b", 0, "", ""},            // even
		{"a", "a:p b:p | p/a p/a p/a p/b", 0, "", "p/0"},         // 3 and 1
		{"a", "a:p b:p | p/a p/a p/b", 0, "", ""},                // 2 and 1: moving would not help
		{"a", "a:p b:p | p/a p/a", 0, "", "p/0"},                 // b has just come
		{"a", "a:p b:q | p/a p/a", 0, "", ""},                    // and does not want it
		{"a", "a:p,q b:q | p/a p/a q/a", 0, "", "q/0"},           // but this
		{"a", "a:p b:p c:p | p/a p/a p/b p/b", 0, "", "p/0"},     // the first of those that have most gives
		{"b", "a:p b:p c:p | p/a p/a p/b p/b", 0, "", ""},        // the other one does not
		{"b", "a:p b:p c:p | p/a p/b p/b p/b", 0, "", "p/1"},     // the one that has most does
		{"a", "a:p b:p c:p | p/a p/b p/b p/b", 0, "", ""},        // and it alone
		{"a", "b:p | p/b p/", 0, "p/1", ""},                      // not seen itself yet
		{"a", "a:p b:p | p/gone p/gone p/a", 0, "", ""},          // leases of the dead run out first
		{"a", "a:p,q b:p,q | p/a q/ r/", 0, "q/0", ""},           // r is nobody's
		{"a", "a: b:p | p/a", 0, "", ""},                         // one is not worth moving
		{"b", "a:p b:p c: | p/a p/a p/a p/b p/b p/b", 0, "", ""}, // nobody wants it
	} {
		v, wanted := view(c.me, c.view)
		take, give := v.Decide(wanted, func(fanout.PartitionID) time.Duration { return c.free })
		if got := names(take) + "|" + names(give); got != c.take+"|"+c.give {
			t.Errorf("%s in %q: takes|gives %s, not %s|%s", c.me, c.view, got, c.take, c.give)
		}
	}
}

func names(ids []fanout.PartitionID) string {
	var all []string
	for _, id := range ids {
		all = append(all, id.String())
	}
	return strings.Join(all, " ")
}

// However hubs come and go, they come to rest, with everything held and nobody
// with two more than another.
func TestHubsComeToRestWithEvenShares(t *testing.T) {
	t.Parallel()
	for hubs := 1; hubs <= 5; hubs++ {
		for parts := 0; parts <= 12; parts++ {
			for start := range 3 { // all at the first hub, all free, all over
				v := fanout.View{Plugins: map[string]fanout.PluginRow{"p": {Partitions: parts}}}
				for h := range hubs {
					v.Hubs = append(v.Hubs, fanout.LiveHub{ID: fmt.Sprint("h", h), Plugins: []string{"p"}})
				}
				for p := range parts {
					owner := []string{"h0", "", fmt.Sprint("h", p%2*(hubs-1))}[start]
					v.Held = append(v.Held, fanout.Held{PartitionID: fanout.PartitionID{Plugin: "p", Partition: p}, Owner: owner})
				}
				steps := 0
				for moved := true; moved; steps++ {
					if steps > 200 {
						t.Fatalf("%d hubs, %d partitions: no end", hubs, parts)
					}
					moved = false
					for h := range hubs {
						v.Me = fmt.Sprint("h", h)
						take, give := v.Decide([]string{"p"}, func(fanout.PartitionID) time.Duration { return 0 })
						moved = moved || len(take)+len(give) > 0
						for i := range v.Held {
							switch {
							case slices.Contains(take, v.Held[i].PartitionID):
								v.Held[i].Owner = v.Me
							case slices.Contains(give, v.Held[i].PartitionID):
								v.Held[i].Owner = ""
							}
						}
					}
				}
				load := map[string]int{}
				for _, p := range v.Held {
					load[p.Owner]++
				}
				most, least := 0, parts
				for _, h := range v.Hubs {
					most, least = max(most, load[h.ID]), min(least, load[h.ID])
				}
				if load[""] > 0 || parts > 0 && most-least > 1 {
					t.Errorf("%d hubs, %d partitions, from %d: %v", hubs, parts, start, load)
				}
			}
		}
	}
}
