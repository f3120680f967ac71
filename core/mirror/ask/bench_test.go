package ask_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

// The goals on 5,000 organizations and 100,000 people, one organization having
// 50,000 of them: a row with everything that belongs to it within 50 ms, the
// first page of any list within 100 ms, also where nothing fulfils its filters.
func BenchmarkAsking(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": pgtest.URL} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			st := storetest.Open(b, url(b))
			crowd{orgs: 5000, people: 100000, bigOrg: 50000}.fill(b, st)
			a := ask.New(st)
			for _, show := range []struct{ resource, key string }{
				{"org", orgID(0)}, {"org", orgID(1234)}, {"identity", personID(0)}, {"app", "app-00000"}, {"member", "mem-000007"},
			} {
				r, err := ask.Find(show.resource)
				if err != nil {
					b.Fatal(err)
				}
				b.Run("show/"+show.resource+"/"+show.key, func(b *testing.B) {
					for b.Loop() {
						if _, err := a.Get(ctx, r, show.key, ask.All); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			for _, list := range lists() {
				r, err := ask.Find(list.resource)
				if err != nil {
					b.Fatal(err)
				}
				b.Run("list/"+list.name(), func(b *testing.B) {
					for b.Loop() {
						if _, err := a.List(ctx, r, list.filters, "", 50); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}

type list struct {
	resource string
	filters  map[string]string
}

func (l list) name() string {
	name := l.resource
	for _, key := range slices.Sorted(maps.Keys(l.filters)) {
		name += fmt.Sprintf("/%s=%s", key, strings.ReplaceAll(l.filters[key], "/", "_"))
	}
	return name
}

// lists are those without a filter, with each filter alone by a value that many,
// few or no rows have, and within the large organization.
func lists() []list {
	values := map[string][]string{
		"tenant": {orgID(0), orgID(1234)}, "person": {personID(5)}, "app": {"app-00000", "none"},
		"plan": {"pro", "none"}, "role": {"editor", "none"}, "email": {"person77@example.com"}, "type": {"user", "none"},
	}
	var all []list
	for _, r := range ask.Resources() {
		all = append(all, list{resource: r.Short})
		for _, f := range r.Filters {
			some := values[f.Name]
			switch {
			case f.Kind == ask.Flag || f.Kind == ask.Missing:
				some = []string{"true", "false"}
			case f.Kind == ask.OneOf:
				some = f.Values
			case some == nil:
				some = []string{"none"}
			}
			for _, v := range some {
				all = append(all, list{r.Short, map[string]string{f.Name: v}})
				if _, err := r.Filter("tenant"); err == nil && f.Name != "tenant" {
					all = append(all, list{r.Short, map[string]string{f.Name: v, "tenant": orgID(0)}})
				}
			}
		}
	}
	return all
}
