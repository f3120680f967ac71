package event

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAbsentNullAndEmptyAreThreeThings(t *testing.T) {
	t.Parallel()
	d, err := Decode[SubjectData]([]byte(`{"sub":"u","email":"","name":null,"groups":null,"changed_fields":null,"Nickname":"x","unknown":{"sub":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := d.Email.Get(); !d.Email.Set || !ok || v != "" {
		t.Errorf("empty: %+v", d.Email)
	}
	if _, ok := d.Name.Get(); !d.Name.Set || !d.Name.Null || ok || d.Name.Or("x") != "x" {
		t.Errorf("null: %+v", d.Name)
	}
	if _, ok := d.Nickname.Get(); d.Nickname.Set || ok || d.Nickname.Or("x") != "x" {
		t.Errorf("absent, but for another name's case: %+v", d.Nickname)
	}
	if v, ok := d.Groups.Get(); !ok || v == nil || len(v) != 0 {
		t.Errorf("a null list is an empty one: %+v", d.Groups)
	}
	if len(d.ChangedFields) != 0 {
		t.Errorf("changed_fields: %v", d.ChangedFields)
	}
	out, err := json.Marshal(d)
	if want := `{"sub":"u","email":"","name":null,"groups":[],"changed_fields":[]}`; err != nil || string(out) != want {
		t.Errorf("encoded: %s, %v; want %s", out, err, want)
	}
}

func TestIntegersAreExactHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	quantity := func(number string) (Opt[int64], error) {
		d, err := Decode[TenantAppData]([]byte(`{"quantity_purchased":` + number + `}`))
		return d.QuantityPurchased, err
	}
	for in, want := range map[string]int64{
		"0": 0, "-0": 0, "30": 30, "30.0": 30, "3e1": 30, "0.3e2": 30, "300E-1": 30, "0.0030e+4": 30, "-5.00": -5, "0e999999999999999999999": 0, "0.000e-5": 0,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808.0": math.MinInt64, "9007199254740993": 9007199254740993, "9.007199254740993e15": 9007199254740993,
	} {
		if got, err := quantity(in); err != nil || got != Some(want) {
			t.Errorf("%s: %+v, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"1.5", "1e-1", "0.1", "9223372036854775808", "-9223372036854775809", "1e19", "1e999999999999999999999", "1e-999999999999999999999", strings.Repeat("9", 100_000)} {
		_, err := quantity(in)
		var bad *DataError
		if !errors.As(err, &bad) || bad.Field != "quantity_purchased" {
			t.Errorf("%.20s: %v, want a DataError", in, err)
		}
	}
}

func TestDataThatCannotBeUsedIsNamedWithoutItsValue(t *testing.T) {
	t.Parallel()
	subject := func(members string) error {
		_, err := Decode[SubjectData]([]byte(`{"sub":"u",` + members + `}`))
		return err
	}
	tenant := func(members string) error { _, err := Decode[TenantData]([]byte(`{` + members + `}`)); return err }
	app := func(members string) error {
		_, err := Decode[ApplicationData]([]byte(`{"application_id":"a",` + members + `}`))
		return err
	}
	sso := func(members string) error {
		_, err := Decode[SSOProviderData]([]byte(`{"provider_id":"p",` + members + `}`))
		return err
	}
	whole := func(data string) error { _, err := Decode[SubjectData]([]byte(data)); return err }
	long := canary + strings.Repeat("x", 512)

	for name, c := range map[string]struct {
		err   error
		field string
	}{
		"number for a string":        {subject(`"name":7`), "name"},
		"object for a string":        {subject(`"name":{"` + canary + `":1}`), "name"},
		"string for a boolean":       {subject(`"email_verified":"` + canary + `"`), "email_verified"},
		"number for a boolean":       {subject(`"email_verified":1`), "email_verified"},
		"string for a list":          {subject(`"groups":"` + canary + `"`), "groups"},
		"number in a list":           {subject(`"groups":["a",1]`), "groups"},
		"null in a list":             {subject(`"groups":[null]`), "groups"},
		"object for a plain list":    {subject(`"changed_fields":{}`), "changed_fields"},
		"NUL in a string":            {subject(`"name":"` + canary + `\u0000"`), "name"},
		"NUL in an id":               {subject(`"tenant_id":"` + canary + `\u0000"`), "tenant_id"},
		"NUL in a list":              {subject(`"groups":["` + canary + `\u0000"]`), "groups"},
		"half a surrogate pair":      {subject(`"name":"` + canary + `\udc00"`), "name"},
		"an id that is too long":     {subject(`"tenant_id":"` + long + `"`), "tenant_id"},
		"an email that is too long":  {subject(`"email":"` + long + `"`), "email"},
		"a control character in id":  {subject(`"tenant_id":"` + canary + `\n"`), "tenant_id"},
		"a known member twice":       {subject(`"name":"a","name":"a"`), "name"},
		"twice, once escaped":        {subject(`"name":"a","n\u0061me":null`), "name"},
		"an unknown member twice":    {subject(`"` + canary + `":1,"` + canary + `":1`), ""},
		"no object":                  {whole(`["` + canary + `"]`), ""},
		"null":                       {whole(`null`), ""},
		"nothing":                    {whole(``), ""},
		"broken":                     {whole(`{"sub":"u"`), ""},
		"two objects":                {whole(`{"sub":"u"}{}`), ""},
		"not UTF-8":                  {whole("{\"sub\":\"\xff\"}"), ""},
		"too deep":                   {whole(`{"sub":"u","x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}"), ""},
		"no sub":                     {whole(`{"Sub":"u"}`), "sub"},
		"empty sub":                  {whole(`{"sub":""}`), "sub"},
		"null sub":                   {whole(`{"sub":null}`), "sub"},
		"number for a time":          {tenant(`"created_at":1772359200`), "created_at"},
		"a time without a zone":      {tenant(`"created_at":"2026-03-01T10:00:00"`), "created_at"},
		"a date for a time":          {tenant(`"suspended_at":"` + canary + `"`), "suspended_at"},
		"list for settings":          {tenant(`"settings":["` + canary + `"]`), "settings"},
		"NUL deep in settings":       {tenant(`"settings":{"a":{"b":["` + canary + `\u0000"]}}`), "settings"},
		"NUL in a setting's name":    {tenant(`"settings":{"a":{"` + canary + `\u0000":1}}`), "settings"},
		"half surrogate in settings": {tenant(`"settings":{"a":"` + canary + `\ud83d"}`), "settings"},
		"a setting twice":            {tenant(`"settings":{"` + canary + `":1,"` + canary + `":2}`), "settings"},
		"huge number in settings":    {tenant(`"settings":{"a":1e10000}`), "settings"},
		"tiny number in settings":    {tenant(`"settings":{"a":-1E-0010000}`), "settings"},
		"long number in settings":    {tenant(`"settings":{"a":` + strings.Repeat("1", 5000) + `}`), "settings"},
		"NUL in previous values":     {tenant(`"previous_values":{"name":"` + canary + `\u0000"}`), "previous_values"},
		"list for previous values":   {tenant(`"previous_values":[]`), "previous_values"},
		"string for config":          {app(`"config":"` + canary + `"`), "config"},
		"string in config":           {app(`"config":{"access_token_ttl_seconds":"` + canary + `"}`), "config.access_token_ttl_seconds"},
		"twice in config":            {app(`"config":{"grant_types":[],"grant_types":[]}`), "config.grant_types"},
		"unknown twice in config":    {app(`"config":{"` + canary + `":[],"` + canary + `":[]}`), "config"},
		"number for licensing":       {app(`"licensing":1`), "licensing"},
		"list for a mapping":         {sso(`"config":{"attribute_mapping":[]}`), "config.attribute_mapping"},
		"NUL in a mapping":           {sso(`"config":{"attribute_mapping":{"a":"\u0000"}}`), "config.attribute_mapping"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var bad *DataError
			if !errors.As(c.err, &bad) {
				t.Fatalf("got %v, want a DataError", c.err)
			}
			if bad.Field != c.field || bad.Want == "" || bad.Got == "" {
				t.Errorf("got field %q (%v), want %q", bad.Field, c.err, c.field)
			}
			if strings.Contains(c.err.Error(), canary) || len(c.err.Error()) > 200 {
				t.Errorf("the error shows the data: %v", c.err)
			}
		})
	}
}

func TestWhatDatabasesCanHoldIsKeptAsItIs(t *testing.T) {
	t.Parallel()
	settings := `{"big":1e9999,"small":-1E-9999,"text":"\ud83d\ude00 \\u0000 \"","deep":[{"x":null}],"":0}`
	d, err := Decode[TenantData]([]byte(`{"ignored":"\u0000","settings":` + settings + `}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]json.RawMessage{"big": json.RawMessage("1e9999"), "small": json.RawMessage("-1E-9999"), "text": json.RawMessage(`"\ud83d\ude00 \\u0000 \""`), "deep": json.RawMessage(`[{"x":null}]`), "": json.RawMessage("0")}
	if !reflect.DeepEqual(d.Settings.Value, want) {
		t.Errorf("got %s", d.Settings.Value)
	}
}

func TestAKnownSettingOfTheWrongTypeIsNamed(t *testing.T) {
	t.Parallel()
	read := func(settings string) (TenantSettings, error) {
		d, err := Decode[TenantData]([]byte(`{"settings":` + settings + `}`))
		if err != nil {
			t.Fatal(err)
		}
		return d.KnownSettings()
	}
	for settings, field := range map[string]string{
		`{"allow_signups":"yes"}`:           "settings.allow_signups",
		`{"require_mfa":0}`:                 "settings.require_mfa",
		`{"allowed_email_domains":"a"}`:     "settings.allowed_email_domains",
		`{"session_lifetime_minutes":0.5}`:  "settings.session_lifetime_minutes",
		`{"session_lifetime_minutes":"60"}`: "settings.session_lifetime_minutes",
		`{"password_policy":[]}`:            "settings.password_policy",
		`{"plan":{"name":"pro"}}`:           "settings.plan",
	} {
		_, err := read(settings)
		var bad *DataError
		if !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v, want a DataError in %s", settings, err, field)
		}
	}
	for _, settings := range []string{`null`, `{}`, `{"Require_MFA":1,"x":{"require_mfa":1}}`} {
		if known, err := read(settings); err != nil || !reflect.DeepEqual(known, TenantSettings{}) {
			t.Errorf("%s: %+v, %v; want nothing known", settings, known, err)
		}
	}
	known, err := read(`{"password_policy":null,"require_mfa":null,"allowed_email_domains":null}`)
	if err != nil || !known.PasswordPolicy.Null || !known.RequireMFA.Null || known.AllowedEmailDomains.Value == nil {
		t.Errorf("nulls: %+v, %v", known, err)
	}
}

func TestIDsThatBelongToTheEnvelopeAreTakenFromIt(t *testing.T) {
	t.Parallel()
	event := func(typ, data string) *Event {
		return &Event{Type: typ, TenantID: "tnt_e", ApplicationID: "app_e", Data: json.RawMessage(data)}
	}
	for _, data := range []string{`{}`, `{"tenant_id":null}`, `{"tenant_id":""}`} {
		d, err := event(TypeTenantDeleted, data).TenantData()
		if err != nil || d.TenantID != Some("tnt_e") {
			t.Errorf("%s: %+v, %v", data, d.TenantID, err)
		}
	}
	if d, err := event(TypeTenantDeleted, `{"tenant_id":"tnt_d"}`).TenantData(); err != nil || d.TenantID != Some("tnt_d") {
		t.Errorf("the data's tenant: %+v, %v", d.TenantID, err)
	}
	if d, err := event(TypeTenantAppRevoked, `{"user_id":"u"}`).TenantAppData(); err != nil || d.TenantID != Some("tnt_e") || d.ApplicationID != Some("app_e") {
		t.Errorf("tenant.app: %+v, %v", d, err)
	}
	if d, err := event(TypeSSOProviderAdded, `{"provider_id":"p"}`).SSOProviderData(); err != nil || d.TenantID != Some("tnt_e") {
		t.Errorf("sso: %+v, %v", d, err)
	}
	if d, err := event(TypeApplicationCreated, `{"application_id":"a"}`).ApplicationData(); err != nil || d.TenantID.Set {
		t.Errorf("an application's tenant is only what the data says: %+v, %v", d, err)
	}
}

func TestEachFamilyNeedsItsIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ typ, data, field string }{
		{TypeSubjectDeleted, `{}`, "sub"},
		{TypeMemberLeft, `{"sub":"u"}`, "membership_id"},
		{TypeMemberLeft, `{"membership_id":"m"}`, "sub"},
		{TypeAppAccessRevoked, `{"membership_id":"m"}`, "sub"},
		{TypeAppAccessRevoked, `{"sub":"u"}`, "application_id"},
		{TypeInviteCreated, `{"email":"a@b"}`, "invite_id"},
		{TypeLicenseAssigned, `{"sub":"u"}`, "assignment_id"},
		{TypeLicenseAssigned, `{"assignment_id":"a"}`, "sub"},
		{TypeTenantUpdated, `{"name":"n"}`, "tenant_id"},
		{TypeTenantAppGranted, `{"application_id":"a","user_id":"u"}`, "tenant_id"},
		{TypeTenantAppGranted, `{"tenant_id":"t","user_id":"u"}`, "application_id"},
		{TypeTenantAppGranted, `{"tenant_id":"t","application_id":"a"}`, "subscription_id"},
		{TypeTenantAppRevoked, `{"tenant_id":"t","application_id":"a","subscription_id":"s"}`, "user_id"},
		{TypeApplicationDeleted, `{"name":"n"}`, "application_id"},
		{TypeSSOProviderAdded, `{"provider_type":"google"}`, "provider_id"},
	} {
		_, err := typed(&Event{Type: c.typ, Data: json.RawMessage(c.data)})
		var bad *DataError
		if !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%s %s: %v, want a DataError in %s", c.typ, c.data, err, c.field)
		}
	}
}

func TestDataIsNotReadAsThatOfAnotherFamily(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{TypeMemberJoined, TypeTenantAppGranted, "tenant.renamed"} {
		ev := Event{Type: typ, TenantID: "t", Data: json.RawMessage(`{"sub":"u"}`)}
		if _, err := ev.TenantData(); err == nil {
			t.Errorf("%s was read as a tenant's", typ)
		}
	}
}

// TestEveryFieldIsReadUnderItsTag holds the structs' tags and their slot methods
// together.
func TestEveryFieldIsReadUnderItsTag(t *testing.T) {
	t.Parallel()
	for _, r := range []record{
		&SubjectData{}, &MemberData{}, &AppAccessData{}, &InviteData{}, &LicenseData{}, &TenantData{},
		&TenantAppData{}, &ApplicationData{}, &ApplicationConfig{}, &SSOProviderData{}, &SSOConfig{},
	} {
		v := reflect.ValueOf(r).Elem()
		for i := range v.NumField() {
			field := v.Type().Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			s := r.slot([]byte(name))
			if s == nil {
				t.Errorf("%T has no slot for %q", r, name)
				continue
			}
			if reflect.ValueOf(s).Pointer() != v.Field(i).Addr().Pointer() {
				t.Errorf("%T puts %q elsewhere than into %s", r, name, field.Name)
			}
			raw := map[reflect.Type]string{
				reflect.TypeFor[Opt[string]]():                     `"x"`,
				reflect.TypeFor[Opt[bool]]():                       `true`,
				reflect.TypeFor[Opt[int64]]():                      `1`,
				reflect.TypeFor[Opt[time.Time]]():                  `"2026-03-01T10:00:00Z"`,
				reflect.TypeFor[Opt[[]string]]():                   `["x"]`,
				reflect.TypeFor[[]string]():                        `["x"]`,
				reflect.TypeFor[Opt[map[string]json.RawMessage]](): `{"x":1}`,
				reflect.TypeFor[map[string]json.RawMessage]():      `{"x":1}`,
				reflect.TypeFor[Opt[ApplicationConfig]]():          `{"grant_types":["x"]}`,
				reflect.TypeFor[Opt[SSOConfig]]():                  `{"issuer":"x"}`,
			}[field.Type]
			if raw == "" {
				t.Fatalf("%T.%s has the type %v, which this test does not know", r, field.Name, field.Type)
			}
			if err := s.read([]byte(raw)); err != nil {
				t.Errorf("%T: %q: %v", r, name, err)
			}
		}
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(encoded, &members); err != nil || len(members) != v.NumField() {
			t.Errorf("%T: %d fields became %s, %v", r, v.NumField(), encoded, err)
		}
	}
}

func TestErrorsReadAsSentences(t *testing.T) {
	t.Parallel()
	got := []string{
		(&EnvelopeError{Reason: ReasonMissingField, Field: "id"}).Error(),
		(&EnvelopeError{Reason: ReasonInvalidJSON, Detail: "at byte 3"}).Error(),
		(&DataError{Field: "settings.plan", Want: "a string", Got: "a number"}).Error(),
		(&DataError{Want: "a JSON object", Got: "null"}).Error(),
	}
	want := []string{
		"decoding the envelope: missing_field in id",
		"decoding the envelope: invalid_json: at byte 3",
		"reading field settings.plan of the event's data: want a string, got a number",
		"reading the event's data: want a JSON object, got null",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
