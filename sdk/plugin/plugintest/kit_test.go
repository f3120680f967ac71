package plugintest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

// judged is Run without a verdict on the test: the laws that are broken.
func judged[C, S any](t *testing.T, p plugin.Plugin[C, S], world World[C], opts laws.Options) laws.Report {
	t.Helper()
	if asConnector(t.Name()) {
		p.Main()
	}
	report, err := laws.Run(t.Context(), subject(t, p, world), opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func broken(r laws.Report) string {
	var out []string
	for _, law := range r.Results {
		if law.Outcome == laws.Broken {
			out = append(out, fmt.Sprint(law.Number))
		}
	}
	return strings.Join(out, " ")
}

func TestEachMistakeIsCaughtByItsLawAndNoOther(t *testing.T) {
	t.Parallel()
	for law, w := range []twist{
		good, tellsItsToken, repeatsTheLast, oneACall, keysInMemory, newKeyOnRetry, trustsOldData, trustsPositions,
		waitsOnBadData, retriesBadRequest, needsTheChange, ignoresCancel, leavesATicker, growsItsState, neverLooks,
	} {
		t.Run(fmt.Sprintf("law %d", law), func(t *testing.T) {
			t.Parallel()
			want := fmt.Sprint(law)
			if w == good {
				want = ""
			}
			r := judged(t, deskPlugin(w), deskWorld, laws.Options{Seed: 4, Histories: 2, Shrink: time.Second})
			for _, law := range r.Results {
				t.Logf("%d %s %s %dms %s\n%s", law.Number, law.Name, law.Outcome, law.Took, law.Why, strings.Join(law.History, "\n"))
			}
			if got := broken(r); got != want {
				t.Errorf("a connector that %s: broken are the laws %q, want %q", w, got, want)
			}
		})
	}
}
