package event

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"
)

const (
	webhookBody = `{"id":"evt_1","type":"tenant.created","timestamp":"2026-03-01T10:00:00.123Z","tenant_id":"tnt_1","application_id":"app_1","data":{"tenant_id":"tnt_1"}}`
	systemBody  = `{"event":"tenant.created","timestamp":"2026-03-01T10:00:00.123Z","data":{"tenant_id":"tnt_1"}}`
	pubSubBody  = `{"id":"evt_1","source":"authvital","event_type":"tenant.created","event_source":"sync_event","timestamp":"2026-03-01T10:00:00.123Z","tenant_id":"tnt_1","application_id":"app_1","data":{"tenant_id":"tnt_1"}}`
)

func TestAWebhookBodyBecomesAnEvent(t *testing.T) {
	t.Parallel()
	body := []byte(" {\"extra\": [1, {\"id\": 2}], \"data\" : {\"a\" :\t1} , \"application_id\":null," +
		` "tenant_id":"tnt_1","type":"made.up","timestamp":"2026-03-01T12:00:00.1239999+02:00","\u0069d":"evt_\u00e9\ud83d\ude00"}` + "\r\n")
	ev, err := DecodeWebhook(body)
	if err != nil {
		t.Fatal(err)
	}
	if ev.ID != "evt_é😀" || ev.Type != "made.up" || ev.TenantID != "tnt_1" || ev.ApplicationID != "" {
		t.Errorf("got %+v", ev)
	}
	if want := time.Date(2026, 3, 1, 10, 0, 0, 123_999_000, time.UTC); ev.Time != want {
		t.Errorf("Time = %v, want %v", ev.Time, want)
	}
	if string(ev.Data) != "{\"a\" :\t1}" {
		t.Errorf("Data = %q", ev.Data)
	}
	if !within(ev.Data, body) || cap(ev.Data) != len(ev.Data) {
		t.Error("Data is not a capped piece of the body")
	}
	if ev.Channel != ChannelWebhook || ev.SystemForm {
		t.Errorf("Channel = %q, SystemForm = %v", ev.Channel, ev.SystemForm)
	}
	if ev.Source != "" || ev.Evidence.Body != nil || !ev.ReceivedAt.IsZero() || ev.Position != 0 {
		t.Errorf("the decoder filled what is the caller's: %+v", ev)
	}
}

// within tells whether part is memory of whole.
func within(part, whole []byte) bool {
	start := uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	return at >= start && at+uintptr(len(part)) <= start+uintptr(len(whole))
}

func TestTheEnvelopeIsCompletedFromData(t *testing.T) {
	t.Parallel()
	replace := func(body string, oldnew ...string) string { return strings.NewReplacer(oldnew...).Replace(body) }
	const envTenant, envApp, data = `"tenant_id":"tnt_1","application_id"`, `"application_id":"app_1"`, `"data":{"tenant_id":"tnt_1"}`
	bothIDs := `"data":{"x":{"tenant_id":"deep"},"tenant_id":"tnt_2","application_id":"app_2"}`
	long := strings.Repeat("x", 513)
	for name, c := range map[string]struct {
		channel     Channel
		body        string
		tenant, app string
	}{
		"webhook: the envelope wins":           {ChannelWebhook, replace(webhookBody, data, bothIDs), "tnt_1", "app_1"},
		"webhook: null tenant":                 {ChannelWebhook, replace(webhookBody, envTenant, `"tenant_id":null,"application_id"`, data, bothIDs), "tnt_2", "app_1"},
		"webhook: absent tenant":               {ChannelWebhook, replace(webhookBody, envTenant, `"application_id"`, data, bothIDs), "tnt_2", "app_1"},
		"webhook: empty tenant":                {ChannelWebhook, replace(webhookBody, envTenant, `"tenant_id":"","application_id"`, data, bothIDs), "tnt_2", "app_1"},
		"webhook: no application from data":    {ChannelWebhook, replace(webhookBody, envApp, `"application_id":null`, data, bothIDs), "tnt_1", ""},
		"webhook: tenant behind data":          {ChannelWebhook, `{"data":{"tenant_id":"tnt_2"},"id":"i","type":"t","timestamp":"2026-03-01T10:00:00Z","tenant_id":"tnt_1"}`, "tnt_1", ""},
		"system: both from data":               {ChannelSystem, replace(systemBody, data, bothIDs), "tnt_2", "app_2"},
		"system: the envelope has no such":     {ChannelSystem, replace(systemBody, `"event"`, `"tenant_id":"tnt_9","event"`, data, `"data":{}`), "", ""},
		"system: null in data":                 {ChannelSystem, replace(systemBody, data, `"data":{"tenant_id":null,"application_id":null}`), "", ""},
		"system: numbers in data":              {ChannelSystem, replace(systemBody, data, `"data":{"tenant_id":7,"application_id":{}}`), "", ""},
		"system: unusable ids in data":         {ChannelSystem, replace(systemBody, data, `"data":{"tenant_id":"a\u0000b","application_id":"`+long+`"}`), "", ""},
		"system: half surrogate in data":       {ChannelSystem, replace(systemBody, data, `"data":{"tenant_id":"\ud800","application_id":"\udc00"}`), "", ""},
		"system: the first of duplicates":      {ChannelSystem, replace(systemBody, data, `"data":{"tenant_id":"a","tenant_id":"b"}`), "a", ""},
		"system: escaped names in data":        {ChannelSystem, replace(systemBody, data, `"data":{"t\u0065nant_id":"a","Tenant_id":"b"}`), "a", ""},
		"pubsub: sync event, tenant only":      {ChannelPubSub, replace(pubSubBody, `"tenant_id":"tnt_1","application_id":"app_1"`, `"application_id":null`, data, bothIDs), "tnt_2", ""},
		"pubsub: system webhook, both":         {ChannelPubSub, replace(pubSubBody, "sync_event", "system_webhook", `"tenant_id":"tnt_1","application_id":"app_1"`, `"tenant_id":null`, data, bothIDs), "tnt_2", "app_2"},
		"pubsub: system webhook, the envelope": {ChannelPubSub, replace(pubSubBody, "sync_event", "system_webhook", data, bothIDs), "tnt_1", "app_1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev, err := decodeOn(c.channel, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if ev.TenantID != c.tenant || ev.ApplicationID != c.app {
				t.Errorf("tenant %q, application %q; want %q, %q", ev.TenantID, ev.ApplicationID, c.tenant, c.app)
			}
		})
	}
}

func TestLaw2_OnlyByteIdenticalSystemBodiesShareAnID(t *testing.T) {
	t.Parallel()
	id := func(body string) string {
		ev, err := DecodeSystem([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return ev.ID
	}
	if want := fmt.Sprintf("sys_%x", sha256.Sum256([]byte(systemBody))); id(systemBody) != want {
		t.Errorf("ID = %q, want %q", id(systemBody), want)
	}
	for _, other := range []string{systemBody + "\n", strings.Replace(systemBody, ".123Z", ".124Z", 1)} {
		if id(other) == id(systemBody) {
			t.Errorf("two different bodies share an id: %q", other)
		}
	}
}

func TestPubSubTellsWhichDispatcherMadeTheEvent(t *testing.T) {
	t.Parallel()
	for source, system := range map[string]bool{"sync_event": false, "system_webhook": true} {
		ev, err := DecodePubSub([]byte(strings.Replace(pubSubBody, "sync_event", source, 1)))
		if err != nil || ev.SystemForm != system || ev.Channel != ChannelPubSub {
			t.Errorf("%s: %+v, %v", source, ev, err)
		}
	}
}

// canary stands in hostile bodies where a value would be; no error may show it.
const canary = "cAnArY"

func TestWhatIsNoEnvelopeIsRefusedWithAReason(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string {
		if !strings.Contains(webhookBody, old) {
			t.Fatalf("the body has no %s", old)
		}
		return strings.Replace(webhookBody, old, new, 1)
	}
	pubsub := func(old, new string) string { return strings.Replace(pubSubBody, old, new, 1) }
	stamp := func(s string) string { return with(`"2026-03-01T10:00:00.123Z"`, s) }
	nested := func(levels int) string { // the envelope and data are two of them
		return with(`{"tenant_id":"tnt_1"}`, `{"x":`+strings.Repeat("[", levels-2)+strings.Repeat("]", levels-2)+"}")
	}
	if _, err := DecodeWebhook([]byte(nested(100))); err != nil {
		t.Errorf("100 levels: %v", err)
	}
	if _, err := DecodeWebhook([]byte(with("evt_1", strings.Repeat("x", 512)))); err != nil {
		t.Errorf("an id of 512 bytes: %v", err)
	}

	type want struct {
		channel       Channel
		body          string
		reason, field string
	}
	hook := func(body, reason, field string) want { return want{ChannelWebhook, body, reason, field} }
	for name, c := range map[string]want{
		"empty":                     hook("", ReasonInvalidJSON, ""),
		"white space":               hook(" \n", ReasonInvalidJSON, ""),
		"byte order mark":           hook("\ufeff"+webhookBody, ReasonInvalidJSON, ""),
		"not UTF-8":                 hook(with("evt_1", "\xff"+canary), ReasonInvalidUTF8, ""),
		"surrogate as UTF-8":        hook(with("evt_1", "\xed\xa0\x80"), ReasonInvalidUTF8, ""),
		"text":                      hook(canary, ReasonInvalidJSON, ""),
		"array":                     hook("["+webhookBody+"]", ReasonNotAnObject, ""),
		"string":                    hook(`"`+canary+`"`, ReasonNotAnObject, ""),
		"null":                      hook("null", ReasonNotAnObject, ""),
		"deep array":                hook(strings.Repeat("[", 1_000_000), ReasonInvalidJSON, ""),
		"cut off":                   hook(webhookBody[:len(webhookBody)-1], ReasonInvalidJSON, ""),
		"second object":             hook(webhookBody+webhookBody, ReasonInvalidJSON, ""),
		"trailing brace":            hook(webhookBody+"}", ReasonInvalidJSON, ""),
		"trailing NUL":              hook(webhookBody+"\x00", ReasonInvalidJSON, ""),
		"trailing comma":            hook(with(`"}}`, `"},}`), ReasonInvalidJSON, ""),
		"comment":                   hook(with(`,"data"`, `/*`+canary+`*/,"data"`), ReasonInvalidJSON, ""),
		"single quotes":             hook(`{'id':1}`, ReasonInvalidJSON, ""),
		"raw newline in a string":   hook(with("evt_1", "evt\n1"), ReasonInvalidJSON, ""),
		"unknown escape":            hook(with("evt_1", `\x41`), ReasonInvalidJSON, ""),
		"leading zero":              hook(with(`{"tenant_id"`, `{"n":01,"tenant_id"`), ReasonInvalidJSON, ""),
		"not a number":              hook(with(`{"tenant_id"`, `{"n":NaN,"tenant_id"`), ReasonInvalidJSON, ""),
		"broken JSON inside data":   hook(with(`"data":{`, `"data":{"a":tru,`), ReasonInvalidJSON, ""),
		"101 levels":                hook(nested(101), ReasonTooDeep, ""),
		"a million levels":          hook(with(`"data":{`, `"data":{"a":`+strings.Repeat(`{"a":`, 1_000_000)), ReasonTooDeep, ""),
		"id twice":                  hook(with(`"id":`, `"id":"`+canary+`","id":`), ReasonDuplicateField, "id"),
		"id twice, once escaped":    hook(with(`"id":`, `"\u0069d":"`+canary+`","id":`), ReasonDuplicateField, "id"),
		"data twice":                hook(with(`"data":`, `"data":{},"data":`), ReasonDuplicateField, "data"),
		"an unknown member twice":   hook(with(`"id":`, `"`+canary+`":1,"`+canary+`":2,"id":`), ReasonDuplicateField, ""),
		"the 60th member twice":     hook(with(`"id":`, manyMembers(60)+`"m59":0,"id":`), ReasonDuplicateField, ""),
		"half surrogate in a name":  hook(with(`"id":`, `"\ud800":1,"id":`), ReasonInvalidValue, ""),
		"another case":              hook(with(`"id"`, `"ID"`), ReasonMissingField, "id"),
		"folding letter":            hook(with(`"timestamp"`, `"timeſtamp"`), ReasonMissingField, "timestamp"),
		"no id":                     hook(with(`"id":"evt_1",`, ``), ReasonMissingField, "id"),
		"null id":                   hook(with(`"evt_1"`, `null`), ReasonMissingField, "id"),
		"empty id":                  hook(with(`"evt_1"`, `""`), ReasonMissingField, "id"),
		"number as id":              hook(with(`"evt_1"`, `7`), ReasonWrongType, "id"),
		"id of 513 bytes":           hook(with("evt_1", canary+strings.Repeat("x", 507)), ReasonInvalidValue, "id"),
		"long id of short letters":  hook(with("evt_1", strings.Repeat(`\u20ac`, 171)), ReasonInvalidValue, "id"),
		"NUL in id":                 hook(with("evt_1", canary+`\u0000`), ReasonInvalidValue, "id"),
		"newline in id":             hook(with("evt_1", canary+`\n`), ReasonInvalidValue, "id"),
		"C1 control in id":          hook(with("evt_1", canary+"\u0085"), ReasonInvalidValue, "id"),
		"half surrogate in id":      hook(with("evt_1", canary+`\ud800x`), ReasonInvalidValue, "id"),
		"two high surrogates in id": hook(with("evt_1", canary+`\ud800\ud800`), ReasonInvalidValue, "id"),
		"no type":                   hook(with(`"type":"tenant.created",`, ``), ReasonMissingField, "type"),
		"type in an array":          hook(with(`"tenant.created"`, `["`+canary+`"]`), ReasonWrongType, "type"),
		"tenant is a number":        hook(with(`"tenant_id":"tnt_1",`, `"tenant_id":1,`), ReasonWrongType, "tenant_id"),
		"tenant with DEL":           hook(with(`"tenant_id":"tnt_1",`, `"tenant_id":"`+canary+`\u007f",`), ReasonInvalidValue, "tenant_id"),
		"application is a boolean":  hook(with(`"app_1"`, `false`), ReasonWrongType, "application_id"),
		"no data":                   hook(with(`,"data":{"tenant_id":"tnt_1"}`, ``), ReasonMissingField, "data"),
		"null data":                 hook(with(`{"tenant_id":"tnt_1"}`, `null`), ReasonWrongType, "data"),
		"data in a string":          hook(with(`{"tenant_id":"tnt_1"}`, `"{}"`), ReasonWrongType, "data"),
		"data is a list":            hook(with(`{"tenant_id":"tnt_1"}`, `[{}]`), ReasonWrongType, "data"),
		"no timestamp":              hook(with(`"timestamp":"2026-03-01T10:00:00.123Z",`, ``), ReasonMissingField, "timestamp"),
		"null timestamp":            hook(stamp(`null`), ReasonMissingField, "timestamp"),
		"empty timestamp":           hook(stamp(`""`), ReasonMissingField, "timestamp"),
		"unix timestamp":            hook(stamp(`1772359200`), ReasonWrongType, "timestamp"),
		"unix timestamp as text":    hook(stamp(`"1772359200"`), ReasonInvalidValue, "timestamp"),
		"timestamp without zone":    hook(stamp(`"2026-03-01T10:00:00.123"`), ReasonInvalidValue, "timestamp"),
		"timestamp before 1970":     hook(stamp(`"1969-12-31T23:59:59.999Z"`), ReasonInvalidValue, "timestamp"),
		"timestamp before 1970 UTC": hook(stamp(`"1970-01-01T00:30:00+01:00"`), ReasonInvalidValue, "timestamp"),
		"timestamp after 9999 UTC":  hook(stamp(`"9999-12-31T23:30:00-01:00"`), ReasonInvalidValue, "timestamp"),
		"half surrogate timestamp":  hook(stamp(`"2026-03-01T10:00:00.123Z\ud800"`), ReasonInvalidValue, "timestamp"),
		"system: type for event":    {ChannelSystem, strings.Replace(systemBody, `"event"`, `"type"`, 1), ReasonMissingField, "event"},
		"system: webhook's body":    {ChannelSystem, webhookBody, ReasonMissingField, "event"},
		"pubsub: no source":         {ChannelPubSub, pubsub(`"source":"authvital",`, ``), ReasonMissingField, "source"},
		"pubsub: other source":      {ChannelPubSub, pubsub(`authvital`, canary), ReasonInvalidValue, "source"},
		"pubsub: source's case":     {ChannelPubSub, pubsub(`authvital`, "AuthVital"), ReasonInvalidValue, "source"},
		"pubsub: other dispatcher":  {ChannelPubSub, pubsub(`sync_event`, canary), ReasonInvalidValue, "event_source"},
		"pubsub: no dispatcher":     {ChannelPubSub, pubsub(`"event_source":"sync_event",`, ``), ReasonMissingField, "event_source"},
		"pubsub: no type":           {ChannelPubSub, pubsub(`event_type`, "type"), ReasonMissingField, "event_type"},
		"pubsub: no id":             {ChannelPubSub, pubsub(`"id":"evt_1",`, ``), ReasonMissingField, "id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev, err := decodeOn(c.channel, []byte(c.body))
			var bad *EnvelopeError
			if !errors.As(err, &bad) {
				t.Fatalf("got %+v, %v; want an EnvelopeError", ev, err)
			}
			if bad.Reason != c.reason || bad.Field != c.field {
				t.Errorf("got %s in %q (%v), want %s in %q", bad.Reason, bad.Field, err, c.reason, c.field)
			}
			if ev != nil {
				t.Error("an event came with the error")
			}
			if strings.Contains(err.Error(), canary) || len(err.Error()) > 200 {
				t.Errorf("the error shows the body: %v", err)
			}
		})
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":%d,`, i, i)
	}
	return b.String()
}

func TestTimesAreReadStrictly(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"2026-03-01T10:00:00Z":                  "2026-03-01T10:00:00Z",
		"2026-03-01t10:00:00z":                  "2026-03-01T10:00:00Z",
		"2026-03-01T10:00:00.5Z":                "2026-03-01T10:00:00.5Z",
		"2026-03-01T10:00:00.123456789123+0000": "2026-03-01T10:00:00.123456Z",
		"2026-03-01T10:00:00-00:00":             "2026-03-01T10:00:00Z",
		"2026-03-01T00:30:00+01:30":             "2026-02-28T23:00:00Z",
		"2024-02-29T23:59:59.999999-23:59":      "2024-03-01T23:58:59.999999Z",
		"1970-01-01T00:00:00Z":                  "1970-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z":        "9999-12-31T23:59:59.999999Z",
		"0001-01-01T00:00:00Z":                  "0001-01-01T00:00:00Z",
	} {
		got, ok := parseTime([]byte(in))
		if !ok || got.Format(time.RFC3339Nano) != want || got.Location() != time.UTC {
			t.Errorf("%s: got %v, %v; want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{
		"", "Z", "2026", "2026-03-01", "2026-03-01T10:00Z", "2026-03-01T10:00:00", "2026-03-01 10:00:00Z",
		"2026-3-1T10:00:00Z", "2026-03-01T9:00:00Z", "2026-03-01T10:00:00,5Z", "2026-03-01T10:00:00.Z",
		"2026-02-29T10:00:00Z", "2026-13-01T10:00:00Z", "2026-00-01T10:00:00Z", "2026-01-00T10:00:00Z", "2026-01-32T10:00:00Z",
		"2026-03-01T24:00:00Z", "2026-03-01T10:60:00Z", "2016-12-31T23:59:60Z", "2026-03-01T10:00:60Z", "2026-03-01T10:00:00+24:00", "2026-03-01T10:00:00+01:60",
		"2026-03-01T10:00:00+01", "2026-03-01T10:00:00+1:00", "2026-03-01T10:00:00ZZ", "2026-03-01T10:00:00UTC", "02026-03-01T10:00:00Z",
		"0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "-026-03-01T10:00:00Z", "２026-03-01T10:00:00Z",
	} {
		if got, ok := parseTime([]byte(in)); ok {
			t.Errorf("%q is taken for %v", in, got)
		}
	}
}
