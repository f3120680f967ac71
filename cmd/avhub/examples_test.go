package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever begins with an example begins with a configuration that is good.
func TestTheConfigurationsOfTheExamplesPassCheck(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, connector := range map[string]string{"notify": "avhub-notify", "slack": "avhub-slack", "forward": "avhub-forward"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			text, err := os.ReadFile(filepath.Join("..", "..", "examples", name, "avhub.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			// What is in the environment elsewhere.
			set := strings.NewReplacer("${NOTIFY_URL}", "https://app.example.com/hook", "${NOTIFY_TOKEN}", "n", "${SLACK_TOKEN}", "xoxb-1")
			writeFile(t, filepath.Join(dir, "avhub.yaml"), set.Replace(string(text)))
			writeFile(t, filepath.Join(dir, "forward.pem"), string(private))
			if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(program(t, connector), filepath.Join(dir, "bin", connector)); err != nil {
				t.Fatal(err)
			}
			got := run(t, dir, "check")
			if got.code != 0 || !strings.Contains(got.out, name+" 1.0.0") {
				t.Errorf("check ends with %d:\n%s%s", got.code, got.out, got.err)
			}
		})
	}
}

// What only a connector knows to be wrong is told by check, with its place in
// the hub's own file.
func TestCheckNamesTheTemplateThatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "avhub.yaml"), `
sources:
  - { name: authvital, host: "https://auth.example.com", path: /a }
plugins:
  - name: team
    command: [`+program(t, "avhub-slack")+`]
    config:
      token: xoxb-canary
      routes:
        - { events: ["tenant.*"], channel: "#sales" }
        - { events: ["member.*"], channel: "#people", template: "{{.Persn}} came" }
`)
	got := run(t, dir, "check")
	all := got.out + got.err
	for _, want := range []string{"team", "routes[1].template", "can't evaluate field Persn", "there are .Tenant, .Person"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in\n%s", want, all)
		}
	}
	if got.code != 1 || strings.Contains(all, "canary") {
		t.Errorf("check ends with %d:\n%s", got.code, all)
	}
}
