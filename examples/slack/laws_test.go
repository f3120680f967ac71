package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin/plugintest"
)

// lawful is a workspace that is told of every event in a line that begins with
// the event's key and id. What it shows is by key: messages of different tenants
// have no order among each other.
func lawful(t testing.TB, exactlyOnce bool) (config, func() map[string][]string) {
	s := &workspace{t: t}
	server := plugintest.NewServer(t, s)
	cfg := config{
		Token: token, APIURL: server.URL + "/api", ExactlyOnce: exactlyOnce, MaxAge: 100 * 365 * 24 * time.Hour,
		Routes: []route{{Events: []string{"*"}, Channel: "C024BE91L",
			Template: `{{or .Event.TenantID .Event.Subject}} {{.Event.ID}} {{.Event.Type}}: {{.Tenant}} {{.Person}} {{.App}} {{join .Data.tenant_roles ", "}}`}},
	}
	return cfg, func() map[string][]string {
		s.mu.Lock()
		defer s.mu.Unlock()
		told := map[string][]string{}
		for _, m := range s.messages {
			key, text, _ := strings.Cut(m.Text, " ")
			told[key] = append(told[key], text)
		}
		return told
	}
}

// once shows what a reader of the channel sees, word for word.
func once(t testing.TB) (config, func() any) {
	cfg, look := lawful(t, true)
	return cfg, func() any { return look() }
}

// atLeastOnce shows each message when it came first: without exactly_once the
// connector promises that everything is told, in order, and not that nothing is
// told twice.
func atLeastOnce(t testing.TB) (config, func() any) {
	cfg, look := lawful(t, false)
	return cfg, func() any {
		told := look()
		for key, lines := range told {
			var first, ids []string
			for _, line := range lines {
				id, _, _ := strings.Cut(line, " ")
				if !slices.Contains(ids, id) {
					ids, first = append(ids, id), append(first, line)
				}
			}
			told[key] = first
		}
		return told
	}
}

func TestLaws(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, connector, once)
}

func TestLawsWithoutExactlyOnce(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, connector, atLeastOnce)
}

func BenchmarkDeliver(b *testing.B) { plugintest.Bench(b, connector, once) }
