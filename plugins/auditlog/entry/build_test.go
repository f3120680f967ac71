package entry

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

// seals hides with keys that are made of the owner's name.
type seals struct{}

func mac(key string, parts ...string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(m.Sum(nil))
}

func (seals) Seal(owner, field string, value json.RawMessage) (Sealed, error) {
	return Sealed{owner, mac(owner, field, string(value))}, nil
}

func (seals) SealAddress(field, address string) (Sealed, error) {
	owner := "address:" + mac("addresses", address)[:32]
	return Sealed{owner, mac(owner, field, address)}, nil
}

func (seals) Opaque(field string, value json.RawMessage) (Opaque, error) {
	return Opaque{mac("trail", field, string(value))}, nil
}

// sent are the bodies of every type and form that the provider sends, as the
// hub's own tests have them.
func sent(t *testing.T) map[string]plugin.Event {
	t.Helper()
	files, err := filepath.Glob("../../../core/event/testdata/*.json")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d samples of events: %v", len(files), err)
	}
	events := map[string]plugin.Event{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var e struct {
			ID, Type, Event string
			EventType       string `json:"event_type"`
			Timestamp       time.Time
			TenantID        string `json:"tenant_id"`
			ApplicationID   string `json:"application_id"`
			Data            json.RawMessage
		}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		ev := plugin.Event{
			ID: e.ID, Type: e.Type + e.Event + e.EventType, TenantID: e.TenantID, ApplicationID: e.ApplicationID, Raw: e.Data,
			Source: "authvital", OccurredAt: e.Timestamp,
			Evidence: plugin.Evidence{KeyID: "key-1", Signature: []byte("signature"), SignedSHA256: bytes.Repeat([]byte{7}, 32)},
		}
		if ev.ID == "" {
			ev.ID = "sys_" + mac("id", string(body))
		}
		ev.Subject = subjectOf(ev)
		ev.Key = ev.Subject
		if ev.TenantID != "" {
			ev.Key = "tenant:" + ev.TenantID
		}
		events[strings.TrimSuffix(filepath.Base(file), ".json")] = ev
	}
	return events
}

func subjectOf(ev plugin.Event) string {
	var d map[string]any
	_ = json.Unmarshal(ev.Raw, &d)
	str := func(name string) string { s, _ := d[name].(string); return s }
	family, rest, _ := strings.Cut(ev.Type, ".")
	switch {
	case family == "tenant" && strings.HasPrefix(rest, "app.") && str("user_id") != "":
		return "identity:" + str("user_id")
	case family == "tenant":
		return "organization:" + str("tenant_id")
	case family == "application":
		return "application:" + str("application_id")
	case family == "sso":
		return "sso_provider:" + str("tenant_id") + "/" + str("provider_id")
	case family == "invite":
		return "invitation:" + str("invite_id")
	default:
		return "identity:" + str("sub")
	}
}

func TestEveryEventOfTheProviderYieldsActorTargetAndChanges(t *testing.T) {
	events := sent(t)
	types := map[string]bool{}
	var golden bytes.Buffer
	for _, name := range sorted(events) {
		ev := events[name]
		types[ev.Type] = true
		e, err := Build(ev, 7, seals{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e.Actor == nil || e.Actor.Kind == "" || e.Target.ID == "" || e.Target.Kind == "" || len(e.Changes) == 0 {
			t.Errorf("%s: %+v", name, e)
		}
		for _, c := range e.Changes {
			if c.Path == "data" {
				t.Errorf("%s: the data was not understood", name)
			}
		}
		encoded, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range personalIn(ev) {
			if bytes.Contains(encoded, []byte(secret)) {
				t.Errorf("%s: %q stands in the clear in %s", name, secret, encoded)
			}
		}
		decoded, err := Decode(encoded)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again, _ := decoded.Encode(); !bytes.Equal(again, encoded) {
			t.Errorf("%s: %s became %s", name, encoded, again)
		}
		golden.WriteString(name + "\t" + string(encoded) + "\n")
	}
	if len(types) != 31 {
		t.Errorf("%d types; the provider has 31", len(types))
	}
	compare(t, "entries.golden", golden.Bytes())
}

// personalIn are the names and addresses of people in an event.
func personalIn(ev plugin.Event) (out []string) {
	var d map[string]any
	_ = json.Unmarshal(ev.Raw, &d)
	for _, field := range []string{"email", "user_email", "owner_email", "given_name", "family_name", "phone_number", "birthdate"} {
		if s, ok := d[field].(string); ok && s != "" {
			out = append(out, s)
		}
	}
	return out
}

func sorted(events map[string]plugin.Event) (names []string) {
	for name := range events {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func compare(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code makes; if that is meant, a version of the format has ended: go test -update", file)
	}
}

func build(t *testing.T, ev plugin.Event) *Entry {
	t.Helper()
	e, err := Build(ev, 1, seals{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *Entry) change(t *testing.T, path string) Change {
	t.Helper()
	for _, c := range e.Changes {
		if c.Path == path {
			return c
		}
	}
	t.Fatalf("no change of %s in %+v", path, e.Changes)
	return Change{}
}

func TestOldValuesComeFromTheEventElseFromTheMirrorElseAreUnknown(t *testing.T) {
	ev := plugin.Event{
		ID: "evt_1", Type: "tenant.updated", Subject: "organization:tnt_1", Key: "tenant:tnt_1", TenantID: "tnt_1",
		Raw: json.RawMessage(`{"tenant_id":"tnt_1","name":"New","plan":"pro","changed_fields":["name","plan","settings.require_mfa","members"],
			"settings":{"require_mfa":true},"previous_values":{"plan":"free"}}`),
		Changes: []plugin.Change{
			{Entity: "organization", ID: "tnt_1", Field: "name", Before: text("Old"), After: text("New")},
			{Entity: "organization", ID: "tnt_1", Field: "plan", Before: text("starter"), After: text("pro")},
		},
	}
	e := build(t, ev)
	for path, want := range map[string]Change{
		"name":                 {"name", text("Old"), text("New"), Derived},
		"plan":                 {"plan", text("free"), text("pro"), FromEvent},
		"settings.require_mfa": {"settings.require_mfa", json.RawMessage("null"), yes, Unknown},
		"members":              {"members", json.RawMessage("null"), json.RawMessage("null"), Unknown},
	} {
		got := e.change(t, path)
		if string(got.Old) != string(want.Old) || string(got.New) != string(want.New) || got.Basis != want.Basis {
			t.Errorf("%s: %s → %s, %s; want %s → %s, %s", path, got.Old, got.New, got.Basis, want.Old, want.New, want.Basis)
		}
	}
}

func TestASupersededEventStillTellsWhatItSays(t *testing.T) {
	e := build(t, plugin.Event{
		ID: "evt_1", Type: "member.role_changed", Subject: "identity:usr_1", Key: "tenant:tnt_1", TenantID: "tnt_1", Superseded: true,
		Raw: json.RawMessage(`{"membership_id":"mem_1","sub":"usr_1","tenant_roles":["admin"],"previous_roles":["member"]}`),
	})
	got := e.change(t, "membership:mem_1/roles")
	if string(got.Old) != `["member"]` || string(got.New) != `["admin"]` || got.Basis != FromEvent || !e.Superseded {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsNotKnownToBeHarmlessIsKeptAsADigest(t *testing.T) {
	const canary = "canary-7f3a"
	for _, ev := range []plugin.Event{
		{ID: "e1", Type: "tenant.updated", Subject: "organization:t", Raw: json.RawMessage(`{"tenant_id":"t","changed_fields":["settings.api_token"],"settings":{"api_token":"` + canary + `"}}`)},
		{ID: "e2", Type: "sso.provider_added", Subject: "sso_provider:t/p", Raw: json.RawMessage(`{"provider_id":"p","tenant_id":"t","config":{"client_secret":"` + canary + `"}}`)},
		{ID: "e3", Type: "unheard.of", Subject: "type:unheard.of", Raw: json.RawMessage(`{"password":"` + canary + `"}`)},
		{ID: "e4", Type: "tenant.created", Subject: "type:tenant.created", Raw: json.RawMessage(`["` + canary + `"]`)},
		{ID: "e5", Type: "tenant.created", Subject: "organization:t", Raw: json.RawMessage(`{"tenant_id":7,"name":"` + canary + `"}`)},
		{ID: "e6", Type: "subject.updated", Subject: "identity:u", Changes: []plugin.Change{{Entity: "identity", ID: "u", Field: "invented", After: text(canary)}}, Raw: json.RawMessage(`{"sub":"u"}`)},
	} {
		e := build(t, ev)
		encoded, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(encoded, []byte(canary)) {
			t.Errorf("%s: %s", ev.ID, encoded)
		}
		if !bytes.Contains(encoded, []byte(`{"opaque":"`)) {
			t.Errorf("%s does not tell that there was a value: %s", ev.ID, encoded)
		}
	}
}

func TestAnEntryTellsNothingOfItsDelivery(t *testing.T) {
	for name, ev := range sent(t) {
		first := build(t, ev)
		ev.Attempt, ev.Replay = 9, true
		ev.Position = 77
		ev.Entities = []plugin.Entity{{Kind: "organization", ID: "x", JSON: json.RawMessage(`{"name":"later"}`)}}
		second := build(t, ev)
		a, _ := first.Encode()
		b, _ := second.Encode()
		if !bytes.Equal(a, b) {
			t.Errorf("%s: delivered again it is another entry:\n%s\n%s", name, a, b)
		}
	}
}

func TestLargeValuesGoIntoTheVault(t *testing.T) {
	big := strings.Repeat("x", 40<<10)
	e := build(t, plugin.Event{
		ID: "e", Type: "tenant.updated", Subject: "organization:t",
		Raw: json.RawMessage(`{"tenant_id":"t","name":"` + big + `","slug":"small","changed_fields":["name","slug"]}`),
	})
	encoded, vault, err := e.Fit()
	if err != nil || len(encoded) > Limit {
		t.Fatalf("%d bytes: %v", len(encoded), err)
	}
	if string(e.change(t, "slug").New) != `"small"` {
		t.Error("a small value was moved, too")
	}
	var large Large
	if err := json.Unmarshal(e.change(t, "name").New, &large); err != nil {
		t.Fatal(err)
	}
	kept := vault[large.SHA256]
	sum := sha256.Sum256(kept)
	if hex.EncodeToString(sum[:]) != large.SHA256 || len(kept) != large.Size || !bytes.Contains(kept, []byte(big)) {
		t.Errorf("the vault has %d bytes under %s", len(kept), large.SHA256)
	}
}

func TestManySmallChangesAreMovedToTheVaultAsAWhole(t *testing.T) {
	ev := plugin.Event{ID: "e", Type: "tenant.updated", Subject: "organization:t", Raw: json.RawMessage(`{"tenant_id":"t"}`)}
	for i := range 1000 {
		ev.Changes = append(ev.Changes, plugin.Change{Entity: "organization", ID: fmt.Sprint("o", i), Field: "name", Before: text("before"), After: text("after")})
	}
	e := build(t, ev)
	encoded, vault, err := e.Fit()
	if err != nil || len(encoded) > Limit {
		t.Fatalf("%d bytes, %v", len(encoded), err)
	}
	var large Large
	if err := json.Unmarshal(e.change(t, "changes").New, &large); err != nil {
		t.Fatal(err)
	}
	var kept []Change
	if err := json.Unmarshal(vault[large.SHA256], &kept); err != nil || len(kept) != 1000 || len(vault[large.SHA256]) != large.Size {
		t.Errorf("%d changes are kept, %v", len(kept), err)
	}
	ev.ID = strings.Repeat("x", Limit)
	if _, _, err := build(t, ev).Fit(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a name of %d bytes: %v", Limit, err)
	}
}

func FuzzBuild(f *testing.F) {
	f.Add("tenant.updated", `{"tenant_id":"t","changed_fields":["a.b"],"previous_values":{"a":{"b":1e400}}}`)
	f.Add("subject.created", `{"sub":"u","email":"\u0000"}`)
	f.Fuzz(func(t *testing.T, typ, raw string) {
		if !json.Valid([]byte(raw)) {
			t.Skip()
		}
		ev := plugin.Event{ID: "e", Type: typ, Key: "k", Raw: json.RawMessage(raw)}
		ev.Subject = subjectOf(ev)
		e, err := Build(ev, 1, seals{})
		if err != nil {
			t.Fatalf("an event that the hub took in has no entry: %v", err)
		}
		encoded, _, err := e.Fit()
		if err != nil {
			if !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			t.Skip() // names of thousands of characters; a limit, not a surprise
		}
		if _, err := Decode(encoded); err != nil {
			t.Fatalf("%v: %s", err, encoded)
		}
	})
}
