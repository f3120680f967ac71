package mirror_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror"
	"pgregory.net/rapid"
)

// Without a database, thousands of histories: any order, with duplicates, ends
// in the same states, to the byte, and in the rows that the law names.
func TestLaw3_StatesDependOnTheSetOfEventsAlone(t *testing.T) {
	t.Parallel()
	rounds := 20 // of 100 histories each
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		rapid.Check(t, func(t *rapid.T) {
			events, opts := histories(1, 30).Draw(t, "events"), someOptions().Draw(t, "options")
			inOrder, err := mirror.InMemory(events, opts)
			if err != nil {
				t.Fatal(err)
			}
			mixed, err := mirror.InMemory(shuffled(t, events), opts)
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(inOrder, mixed) {
				t.Fatalf("another order ends elsewhere:\n%s\nhistory:\n%s", differences(inOrder, mixed), tell(events))
			}
			rows := map[mirror.Ref]string{}
			for ref, line := range inOrder {
				rows[ref], _, _ = strings.Cut(line, "\n")
			}
			if expected := mirror.Expected(events, opts); !maps.Equal(rows, expected) {
				t.Fatalf("rows are not what the law says:\n%s\nhistory:\n%s", differences(expected, rows), tell(events))
			}
		})
		if t.Failed() {
			return
		}
	}
}

func differences(want, got map[mirror.Ref]string) string {
	all := maps.Clone(want)
	maps.Copy(all, got)
	refs := slices.SortedFunc(maps.Keys(all), func(a, b mirror.Ref) int { return strings.Compare(a.Kind+a.ID, b.Kind+b.ID) })
	var b strings.Builder
	for _, ref := range refs {
		if want[ref] != got[ref] {
			b.WriteString(ref.Kind + " " + ref.ID + "\n  want " + want[ref] + "\n  got  " + got[ref] + "\n")
		}
	}
	return b.String()
}
