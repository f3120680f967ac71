package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sample is one file of testdata: a body as a channel delivers it.
type sample struct {
	name    string // <type>.<form>.<channel>
	typ     string
	form    Form
	channel Channel
	body    []byte
}

// samples reads one body for each type, form and channel of the catalog. A
// missing file fails the test.
func samples(tb testing.TB) []sample {
	tb.Helper()
	var all []sample
	for _, info := range Catalog() {
		for _, form := range info.Forms {
			for _, channel := range form.Channels {
				name := fmt.Sprintf("%s.%s.%s", info.Type, form.Name, channel)
				body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
				if err != nil {
					tb.Fatal(err)
				}
				all = append(all, sample{name, info.Type, form, channel, body})
			}
		}
	}
	return all
}

func decodeOn(channel Channel, body []byte) (*Event, error) {
	switch channel {
	case ChannelWebhook:
		return DecodeWebhook(body)
	case ChannelSystem:
		return DecodeSystem(body)
	case ChannelPubSub:
		return DecodePubSub(body)
	}
	panic("no such channel: " + channel)
}

// typed calls the method that belongs to the event's family.
func typed(ev *Event) (any, error) {
	family, ok := familyOf(ev.Type)
	if !ok {
		return nil, fmt.Errorf("unknown type %q", ev.Type)
	}
	return map[Family]func() (any, error){
		FamilySubject:     func() (any, error) { return ev.SubjectData() },
		FamilyMember:      func() (any, error) { return ev.MemberData() },
		FamilyAppAccess:   func() (any, error) { return ev.AppAccessData() },
		FamilyInvite:      func() (any, error) { return ev.InviteData() },
		FamilyLicense:     func() (any, error) { return ev.LicenseData() },
		FamilyTenant:      func() (any, error) { return ev.TenantData() },
		FamilyTenantApp:   func() (any, error) { return ev.TenantAppData() },
		FamilyApplication: func() (any, error) { return ev.ApplicationData() },
		FamilySSO:         func() (any, error) { return ev.SSOProviderData() },
	}[family]()
}

func TestEveryTypeDecodesInEveryFormOnEveryChannel(t *testing.T) {
	t.Parallel()
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			ev, err := decodeOn(s.channel, s.body)
			if err != nil {
				t.Fatal(err)
			}
			if ev.Type != s.typ || ev.Channel != s.channel {
				t.Errorf("got type %q on channel %q", ev.Type, ev.Channel)
			}
			if fromSystem := s.form.Name != "short" && s.form.Name != "long" && s.form.Name != "form2"; ev.SystemForm != fromSystem {
				t.Errorf("SystemForm = %v", ev.SystemForm)
			}
			if ev.Time.Year() != 2026 || ev.Time.Location().String() != "UTC" {
				t.Errorf("Time = %v", ev.Time)
			}
			if kind, _, _ := strings.Cut(ev.Subject(), ":"); kind != s.form.Kind {
				t.Errorf("Subject() = %q, want one of kind %q", ev.Subject(), s.form.Kind)
			}
			data, err := typed(ev)
			if err != nil {
				t.Fatal(err)
			}
			assertNothingLost(t, ev.Data, data)
		})
	}
}

// assertNothingLost checks that the typed data, encoded again, holds each member
// of the sent data with the same value, and nothing but what may come from the
// envelope.
func assertNothingLost(t *testing.T, sent json.RawMessage, data any) {
	t.Helper()
	encoded, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	for raw, into := range map[*json.RawMessage]*map[string]any{&sent: &want, (*json.RawMessage)(&encoded): &got} {
		if err := json.Unmarshal(*raw, into); err != nil {
			t.Fatal(err)
		}
	}
	normalizeTimes(want)
	normalizeTimes(got)
	for name, value := range want {
		if !reflect.DeepEqual(got[name], value) {
			t.Errorf("%s: sent %v, decoded %v", name, value, got[name])
		}
		delete(got, name)
	}
	delete(got, "tenant_id")
	delete(got, "application_id")
	if len(got) > 0 {
		t.Errorf("decoded what was not sent: %v", got)
	}
}

// normalizeTimes drops the zero milliseconds that Go does not write.
func normalizeTimes(m map[string]any) {
	for name, v := range m {
		if s, ok := v.(string); ok && strings.HasSuffix(name, "_at") {
			m[name] = strings.Replace(s, ".000Z", "Z", 1)
		}
	}
}

func TestBothFormsMeetInOneType(t *testing.T) {
	t.Parallel()
	read := func(name string) *Event {
		body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		ev, err := decodeOn(Channel(name[strings.LastIndex(name, ".")+1:]), body)
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}

	t.Run("roles of a member", func(t *testing.T) {
		for name, want := range map[string][]string{
			"member.joined.short.webhook": {"owner", "billing"},
			"member.joined.long.webhook":  {"owner"},
		} {
			d, err := read(name).MemberData()
			if err != nil {
				t.Fatal(err)
			}
			if roles, ok := d.Roles().Get(); !ok || !reflect.DeepEqual(roles, want) {
				t.Errorf("%s: roles %v, want %v", name, roles, want)
			}
		}
		d, err := read("member.left.short.webhook").MemberData()
		if err != nil || d.Roles().Set {
			t.Errorf("an event without roles has roles: %+v, %v", d.Roles(), err)
		}
	})
	t.Run("settings of a tenant", func(t *testing.T) {
		d, err := read("tenant.created.form1.system").TenantData()
		if err != nil {
			t.Fatal(err)
		}
		known, err := d.KnownSettings()
		if err != nil || known.RequireMFA != Some(true) || known.AllowSignups.Set {
			t.Errorf("form 1: %+v, %v", known, err)
		}
		if accent := d.Settings.Value["theme"]; !bytes.Contains(accent, []byte("#0a7")) {
			t.Errorf("free-form settings: %s", accent)
		}
		d, err = read("tenant.updated.form2.webhook").TenantData()
		if err != nil {
			t.Fatal(err)
		}
		known, err = d.KnownSettings()
		if err != nil || known.RequireMFA != Some(true) || known.SessionLifetimeMinutes != Some(int64(720)) ||
			string(known.PasswordPolicy.Value) != `"strict"` || !reflect.DeepEqual(known.AllowedEmailDomains.Value, []string{"fjordline.example"}) {
			t.Errorf("form 2: %+v, %v", known, err)
		}
		if string(d.PreviousValues["settings.require_mfa"]) != "false" || !reflect.DeepEqual(d.ChangedFields, []string{"plan", "settings.require_mfa"}) {
			t.Errorf("changes: %v, %v", d.ChangedFields, d.PreviousValues)
		}
	})
	t.Run("null and absent fields of an application", func(t *testing.T) {
		d, err := read("application.updated.form1.system").ApplicationData()
		if err != nil {
			t.Fatal(err)
		}
		if !d.ClientID.Null || d.Config.Set || d.IsActive != Some(false) {
			t.Errorf("client_id %+v, config %+v, is_active %+v", d.ClientID, d.Config, d.IsActive)
		}
		d, err = read("application.created.form2.webhook").ApplicationData()
		if err != nil || d.Config.Value.AccessTokenTTLSeconds != Some(int64(600)) || d.Licensing.Set {
			t.Errorf("form 2: %+v, %v", d, err)
		}
	})
	t.Run("subscription of a tenant", func(t *testing.T) {
		d, err := read("tenant.app.granted.subscription.system").TenantAppData()
		if err != nil || !d.IsSubscription() || d.QuantityPurchased != Some(int64(25)) {
			t.Errorf("%+v, %v", d, err)
		}
		d, err = read("tenant.app.granted.user.pubsub").TenantAppData()
		if err != nil || d.IsSubscription() || d.UserID != Some("usr_ines") {
			t.Errorf("%+v, %v", d, err)
		}
	})
}
