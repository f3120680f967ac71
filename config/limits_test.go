package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/sdk/schema"
)

func TestLimitsThatCannotBeEnforcedAreRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		limits Limits
		system string
		want   string // empty: nothing is wrong
	}{
		{Limits{}, "plan9", ""},
		{Limits{Memory: 256 * schema.MiB, CPU: 0.5, OpenFiles: 64}, "linux", ""},
		{Limits{Memory: 1}, "linux", "plugins[0].limits.memory: is less than any plugin needs"},
		{Limits{CPU: -1}, "linux", "plugins[0].limits.cpu: is no share"},
		{Limits{CPU: 0.01}, "linux", "plugins[0].limits.cpu: is no share"},
		{Limits{OpenFiles: 3}, "linux", "plugins[0].limits.open_files: is less"},
		{Limits{OpenFiles: 64}, "darwin", "plugins[0].limits: can be enforced on Linux only"},
	} {
		found := &collector{}
		tc.limits.validate(found, schema.Path{"plugins", 0, "limits"}, tc.system)
		text := ""
		if err := found.error(); err != nil {
			text = err.Error()
		}
		if (text == "") != (tc.want == "") || !strings.Contains(text, tc.want) {
			t.Errorf("%+v on %s: %q", tc.limits, tc.system, text)
		}
	}
}

func TestSecretsOfAPluginAreWhatShowHides(t *testing.T) {
	t.Parallel()
	cfg, err := Parse("avhub.yaml", []byte(`
plugins:
  - name: a
    command: ["true", "${AVHUB_TEST_BEARER}"]
    env: { STRIPE_KEY: canary-stripe, COLOUR: blue }
    config:
      url: https://user:canary-password@example.com/
      header: "Bearer ${AVHUB_TEST_BEARER}"
      tokens: [canary-one, { deep: canary-two }]
      plain: nothing
  - { name: b, command: ["true"], env: { B_TOKEN: canary-of-another } }
`), Options{Environ: []string{"AVHUB_TEST_BEARER=canary-bearer"}})
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.PluginSecrets("a")
	want := []string{"Bearer canary-bearer", "canary-bearer", "canary-one", "canary-password", "canary-stripe", "canary-two"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := cfg.PluginSecrets("nobody"); got != nil {
		t.Errorf("%q", got)
	}
}
