package hubfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type config struct {
	Key string `json:"key" required:"true" secret:"true"`
	N   int    `json:"n" default:"7"`
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "avhub.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const hub = `
plugins:
  - { name: a, command: ["./bin/mine"], config: { key: "${THE_KEY}" } }
  - { name: b, command: ["./bin/other"], config: { key: b, n: 3 } }
`

func TestTheEntryIsFoundByProgramOrByName(t *testing.T) {
	t.Setenv("THE_KEY", "from-outside")
	for _, c := range []struct {
		text, name string
		want       config
	}{
		{hub, "", config{"from-outside", 7}},
		{hub, "b", config{"b", 3}},
		{`{"key": "own"}`, "", config{"own", 7}},
	} {
		if got, err := Read[config](file(t, c.text), "mine", c.name); err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.name, got, err)
		}
	}
}

func TestWhatIsWrongIsNamedAndNoValueIsShown(t *testing.T) {
	const canary = "canary-5b1e"
	for text, want := range map[string]string{
		hub: "THE_KEY",
		`{"key": "` + canary + `", "n": "` + canary + `"}`: "n",
		`{"n": 1}`:                 "key",
		"\t" + canary:              "no YAML",
		`plugins: []`:              "no plugin's command is mine",
		strings.Repeat("#", 2<<20): "1 MiB",
		`plugins: [{name: x, command: [mine]}, {name: y, command: [mine]}]`: "--plugin",
	} {
		_, err := Read[config](file(t, text), "mine", "")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}
