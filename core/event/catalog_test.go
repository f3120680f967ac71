package event

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/events.md anew")

func TestTheCatalogHoldsEveryTypeOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, info := range Catalog() {
		if seen[info.Type] {
			t.Errorf("%s is there twice", info.Type)
		}
		seen[info.Type] = true
		if !Known(info.Type) {
			t.Errorf("%s is in the catalog, but not known", info.Type)
		}
		if found, ok := Lookup(info.Type); !ok || !reflect.DeepEqual(found, info) {
			t.Errorf("Lookup(%q) = %+v, %v", info.Type, found, ok)
		}
		if family, _ := familyOf(info.Type); family != info.Family {
			t.Errorf("%s is of family %q in one place and %q in the other", info.Type, info.Family, family)
		}
		if !strings.HasPrefix(info.Type, string(info.Family)+".") {
			t.Errorf("%s is not named after its family %s", info.Type, info.Family)
		}
		if err := ValidatePattern(info.Type); err != nil {
			t.Error(err)
		}
		if info.Summary == "" || len(info.Forms) == 0 {
			t.Errorf("%s is not described", info.Type)
		}
	}
	if len(seen) != 31 {
		t.Errorf("%d types, want the 31 that the provider documents", len(seen))
	}
	for _, unknown := range []string{"", "tenant", "tenant.renamed", "Tenant.created", "tenant.created "} {
		if _, ok := Lookup(unknown); ok || Known(unknown) {
			t.Errorf("%q is known", unknown)
		}
	}
}

func TestEverySampleIsOfTheCatalog(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	for _, s := range samples(t) {
		want[s.name+".json"] = true
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !want[filepath.Base(f)] {
			t.Errorf("%s belongs to no type, form and channel", f)
		}
	}
}

func TestTheDocumentedCatalogIsCurrent(t *testing.T) {
	t.Parallel()
	const path = "../../docs/events.md"
	want := catalogDocument()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/events.md is not what the catalog says; run: go test ./core/event -run TestTheDocumentedCatalogIsCurrent -update")
	}
}

const documentHead = `<!-- Generated from core/event by its tests (go test ./core/event -update). Do not edit. -->

# Events

AuthVital tells what changed in events, each with a type such as ` + "`tenant.created`" + `. avhub knows the types on this
page: its mirror follows them, and connectors get their data typed. **Any other type is welcome too**: it is verified,
journaled and delivered to the connectors that subscribe to it; only the mirror has nothing to do.

## Subscribing

A connector's ` + "`events`" + ` is a list of patterns:

| pattern | selects |
|---|---|
| ` + "`*`" + ` | every event |
| ` + "`tenant.*`" + ` | everything below ` + "`tenant`: `tenant.created`, and `tenant.app.granted` too" + ` |
| ` + "`tenant.created`" + ` | this type |

A star stands alone or behind the last dot; names are case-sensitive.

## Channels and forms

| channel | what it is |
|---|---|
| ` + "`webhook`" + ` | an application's webhook; also Pub/Sub with ` + "`event_source: sync_event`" + ` |
| ` + "`system`" + ` | the provider's system webhook; also Pub/Sub with ` + "`event_source: system_webhook`" + ` |
| ` + "`pubsub`" + ` | Google Pub/Sub |

Some types come in two forms. ` + "`short`" + ` is what AuthVital sends today and ` + "`long`" + ` what it documents; ` + "`form1`" + ` is made by the
system dispatcher and ` + "`form2`" + ` documented for application webhooks; ` + "`user`" + ` is about one person and ` + "`subscription`" + ` about
what the tenant bought. All forms of a type are read into the same fields.

## Keys

Order is kept within a key. Per subject, the key names the entity that the event is about; per tenant, it is
` + "`tenant:<tenant_id>`" + `, or the subject for an event without a tenant.

| kind | key |
|---|---|
| identity | ` + "`identity:<sub>`" + `; the same person in two tenants has one key |
| organization | ` + "`organization:<tenant_id>`" + ` |
| application | ` + "`application:<application_id>`" + ` |
| sso_provider | ` + "`sso_provider:<tenant_id>/<provider_id>`" + `, both path-escaped; no tenant: a global provider |
| invitation | ` + "`invitation:<invite_id>`" + `, accepted or not |
| type | ` + "`type:<type>`" + `: unknown types, and data without a usable id |

## Data

Member names are case-sensitive; members that are not listed here are ignored by the mirror and passed on to connectors.
Absent, null and empty are three different things: what was not sent is left alone. Times are RFC 3339 with a zone.
Integers are whole numbers of 64 bits. Ids are strings of at most 512 bytes without control characters. An event whose
data breaks these rules costs only itself: it is journaled, marked with the reason and delivered on, and the mirror
leaves it out.
`

// catalogDocument is what docs/events.md must be.
func catalogDocument() []byte {
	var b bytes.Buffer
	b.WriteString(documentHead)
	families := []struct {
		family Family
		title  string
		data   any
	}{
		{FamilySubject, "Subjects", SubjectData{}},
		{FamilyMember, "Memberships in a tenant", MemberData{}},
		{FamilyAppAccess, "Access to one application", AppAccessData{}},
		{FamilyInvite, "Invitations", InviteData{}},
		{FamilyLicense, "Licenses", LicenseData{}},
		{FamilyTenant, "Tenants", TenantData{}},
		{FamilyTenantApp, "A tenant's access to applications", TenantAppData{}},
		{FamilyApplication, "Applications", ApplicationData{}},
		{FamilySSO, "Login providers", SSOProviderData{}},
	}
	for _, f := range families {
		fmt.Fprintf(&b, "\n## %s\n\n| type | what happened | forms | subject |\n|---|---|---|---|\n", f.title)
		for _, info := range Catalog() {
			if info.Family == f.family {
				forms, kinds := describeForms(info.Forms)
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", info.Type, info.Summary, forms, kinds)
			}
		}
		b.WriteString("\n| field | type |\n|---|---|\n")
		describeFields(&b, "", reflect.TypeOf(f.data))
		if f.family == FamilyTenant {
			b.WriteString("\nOf `settings`, avhub knows these; all others are kept as they are:\n\n| field | type |\n|---|---|\n")
			describeFields(&b, "settings.", reflect.TypeFor[TenantSettings]())
		}
	}
	return b.Bytes()
}

func describeForms(forms []Form) (names, kinds string) {
	var n, k []string
	for _, form := range forms {
		var channels []string
		for _, c := range form.Channels {
			channels = append(channels, string(c))
		}
		n = append(n, fmt.Sprintf("%s (%s)", form.Name, strings.Join(channels, ", ")))
		if !slices.Contains(k, form.Kind) {
			k = append(k, form.Kind)
		}
	}
	return strings.Join(n, "; "), strings.Join(k, " or ")
}

func describeFields(b *bytes.Buffer, prefix string, of reflect.Type) {
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		typ := field.Type
		if strings.HasPrefix(typ.Name(), "Opt[") {
			value, _ := typ.FieldByName("Value")
			typ = value.Type
		}
		switch typ {
		case reflect.TypeFor[ApplicationConfig](), reflect.TypeFor[SSOConfig]():
			describeFields(b, name+".", typ)
			continue
		}
		fmt.Fprintf(b, "| `%s%s` | %s |\n", prefix, name, map[reflect.Type]string{
			reflect.TypeFor[string]():                     "string",
			reflect.TypeFor[bool]():                       "boolean",
			reflect.TypeFor[int64]():                      "integer",
			reflect.TypeFor[time.Time]():                  "time",
			reflect.TypeFor[[]string]():                   "list of strings",
			reflect.TypeFor[map[string]json.RawMessage](): "object, free-form",
			reflect.TypeFor[json.RawMessage]():            "string or object",
		}[typ])
	}
}
