package mirror_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
)

var update = flag.Bool("update", false, "write testdata/samples.txt anew; read the difference before you keep it")

// The catalog's sample of every type, form and channel, applied once to an empty
// mirror and once to one that knows everybody, changes exactly what
// testdata/samples.txt says.
func TestEverySampleOfTheCatalogChangesExactlyWhatIsWritten(t *testing.T) {
	const golden = "testdata/samples.txt"
	folder := filepath.Join("..", "event", "testdata")
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) < len(event.Catalog()) {
		t.Fatalf("%d samples of %d types (%v)", len(files), len(event.Catalog()), err)
	}
	known := []string{
		"subject.created.long.webhook", "member.joined.long.webhook", "app_access.granted.short.webhook", "tenant.created.form2.webhook",
		"application.created.form1.system", "application.created.form2.webhook", "sso.provider_added.form1.system", "sso.provider_added.form2.webhook",
		"license.assigned.short.webhook", "invite.created.short.webhook", "tenant.app.granted.subscription.system",
	}
	onEach(t, func(t *testing.T, b bench) {
		var out strings.Builder
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".json")
			for _, world := range [][]string{nil, known} {
				b.empty(t)
				for _, before := range world {
					b.apply(t, sample(t, filepath.Join(folder, before+".json")))
				}
				ev := sample(t, file)
				b.apply(t, ev)
				fmt.Fprintf(&out, "%s, %s", name, map[bool]string{true: "on an empty mirror", false: "on a full one"}[world == nil])
				if ev.Failed != "" {
					t.Errorf("%s failed: %s", name, ev.Failed)
				}
				if ev.Superseded {
					out.WriteString(", superseded")
				}
				out.WriteString(":\n")
				for _, line := range changes(ev) {
					out.WriteString("  " + line + "\n")
				}
				// The person's row or grave stands beside what the person was given.
				most := 1
				if family, _, _ := strings.Cut(name, "."); family == "member" || family == "app_access" {
					most = 2
				}
				if made := len(b.dump(context.Background(), t)); world == nil && made > most {
					t.Errorf("%s made %d rows", name, made)
				}
			}
		}
		if *update {
			if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		got, wanted := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
		for i := range max(len(got), len(wanted)) {
			var g, w string
			if i < len(got) {
				g = got[i]
			}
			if i < len(wanted) {
				w = wanted[i]
			}
			if g != w {
				t.Fatalf("line %d of %s:\n got  %s\n want %s", i+1, golden, g, w)
			}
		}
	})
}

// sample decodes one of the catalog's samples, whose names end in the channel.
func sample(t *testing.T, file string) *event.Event {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decode := map[string]func([]byte) (*event.Event, error){
		".webhook": event.DecodeWebhook, ".system": event.DecodeSystem, ".pubsub": event.DecodePubSub,
	}[filepath.Ext(strings.TrimSuffix(file, ".json"))]
	ev, err := decode(body)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}
