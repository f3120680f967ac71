package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheBinaryAnswersAPersonWithoutAHub(t *testing.T) {
	t.Parallel()
	var closed int
	p := Plugin[testConfig, testState]{Info: testInfo(),
		Open: func(_ context.Context, cfg testConfig, _ *slog.Logger) (Connector[testState], error) {
			return connector[testState]{
				check: func(context.Context) error {
					if cfg.URL == "unreachable" {
						return errors.New("no route to " + cfg.Token)
					}
					return nil
				},
				close: func() error { closed++; return nil },
			}, nil
		}}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.json", `{"url":"http://x"}`)
	bad := file("bad.json", `{"ulr":"http://x"}`)
	unreachable := file("unreachable.json", `{"url":"unreachable","token":"canary-token"}`)
	huge := file("huge.json", `{"url":"`+strings.Repeat("x", maxConfigBytes)+`"}`)

	for _, tc := range []struct {
		args        string
		code        int
		out, errOut []string
	}{
		{"", 2, nil, []string{"test 1.2.3: tests", "plugins:", "check --config FILE", "in order per tenant"}},
		{"help", 0, []string{"This is a connector for avhub"}, nil},
		{"--help", 0, []string{"This is a connector for avhub"}, nil},
		{"version", 0, []string{"test 1.2.3\n"}, nil},
		{"debug --dir", 2, nil, []string{"debug takes --dir FOLDER"}},
		{"debug x", 2, nil, []string{"debug takes --dir FOLDER"}},
		{"debug --dir " + good, 1, nil, []string{"good.json"}},
		{"debug --dir /tmp/" + strings.Repeat("x", 100), 1, nil, []string{"103 are possible", "--dir"}},
		{"version x", 2, nil, []string{"no arguments"}},
		{"descibe", 2, nil, []string{`no verb "descibe"`, "help"}},
		{"describe --xml", 2, nil, []string{"--json or --markdown"}},
		{"describe", 0, []string{"events: *", "url (text), required", "default 3", "Where to."}, nil},
		{"describe --markdown", 0, []string{"# test\n", "| `token`"}, nil},
		{"check", 2, nil, []string{"--config FILE"}},
		{"check --config", 2, nil, []string{"--config FILE"}},
		{"check --config=", 2, nil, []string{"--config FILE"}},
		{"check --config " + good, 0, []string{"good.json: the configuration is good"}, nil},
		{"check --config=" + good, 0, []string{"the configuration is good"}, nil},
		{"check --config " + bad, 1, nil, []string{"bad.json: ulr: ", `"url"`}},
		{"check --config " + unreachable, 1, nil, []string{"no route to (redacted)"}},
		{"check --config " + huge, 1, nil, []string{"over 1 MiB"}},
		{"check --config " + filepath.Join(dir, "missing"), 1, nil, []string{"reading the configuration", "no such file"}},
		{"check --config " + dir, 1, nil, []string{"is a directory"}},
	} {
		var out, errOut bytes.Buffer
		code := p.command(t.Context(), append([]string{"/opt/avhub-test"}, strings.Fields(tc.args)...), &out, &errOut)
		if code != tc.code {
			t.Errorf("%q: exit code %d, want %d\n%s%s", tc.args, code, tc.code, &out, &errOut)
		}
		for _, want := range tc.out {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q: standard output lacks %q:\n%s", tc.args, want, &out)
			}
		}
		for _, want := range tc.errOut {
			if !strings.Contains(errOut.String(), want) {
				t.Errorf("%q: standard error lacks %q:\n%s", tc.args, want, &errOut)
			}
		}
		if strings.Contains(errOut.String()+out.String(), "canary") {
			t.Errorf("%q: a secret got out", tc.args)
		}
	}
	if closed != 3 {
		t.Errorf("check closed the connector %d times, want 3", closed)
	}

	var out bytes.Buffer
	if code := p.command(t.Context(), []string{"x", "describe", "--json"}, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	var d struct {
		Name         string
		Notifies     *bool
		ConfigSchema struct{ Type string } `json:"config_schema"`
	}
	if err := json.Unmarshal(out.Bytes(), &d); err != nil || d.Name != "test" || d.ConfigSchema.Type != "object" || d.Notifies == nil {
		t.Errorf("%v: %s", err, &out)
	}
}
