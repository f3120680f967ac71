package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"
	"unicode/utf8"
)

func fuzzDecoder(f *testing.F, channel Channel, idName, typeName string) {
	for _, s := range samples(f) {
		f.Add(s.body)
	}
	f.Add([]byte(webhookBody))
	f.Add([]byte(systemBody))
	f.Add([]byte(pubSubBody))
	f.Add([]byte(`{"\u0069d":"\ud83d\ude00","ID":1,"data":{"tenant_id":"\ud800"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		ev, err := decodeOn(channel, body)
		if !bytes.Equal(before, body) {
			t.Fatal("the decoder changed the body")
		}
		if err != nil {
			var bad *EnvelopeError
			if !errors.As(err, &bad) || bad.Reason == "" || ev != nil {
				t.Fatalf("%v with event %v", err, ev)
			}
			return
		}
		// What decodes is what the standard library reads from it.
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatalf("decoded what is no JSON object: %v", err)
		}
		str := func(name string) (s string) {
			if err := json.Unmarshal(members[name], &s); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return s
		}
		if !bytes.Equal(ev.Data, members["data"]) || !within(ev.Data, body) || !json.Valid(ev.Data) {
			t.Errorf("Data is %q, the body has %q", ev.Data, members["data"])
		}
		if ev.Type != str(typeName) {
			t.Errorf("Type = %q, the body has %q", ev.Type, str(typeName))
		}
		if idName != "" && ev.ID != str(idName) {
			t.Errorf("ID = %q, the body has %q", ev.ID, str(idName))
		}
		if ev.Time.UTC() != ev.Time || ev.Time.Truncate(time.Microsecond) != ev.Time || ev.Revision() < 0 {
			t.Errorf("Time = %v", ev.Time)
		}
		for _, s := range []string{ev.ID, ev.Type, ev.TenantID, ev.ApplicationID} {
			if len(s) > 512 || !utf8.ValidString(s) || bytes.ContainsAny([]byte(s), "\x00\n") {
				t.Errorf("%q cannot be stored", s)
			}
		}
		checkKeys(t, ev)
	})
}

// checkKeys holds the keys of an event against its typed data.
func checkKeys(t *testing.T, ev *Event) {
	t.Helper()
	subject := ev.Subject()
	if subject == "" || ev.TenantKey() == "" || !utf8.ValidString(subject) || bytes.IndexByte([]byte(subject), 0) >= 0 {
		t.Errorf("Subject() = %q, TenantKey() = %q", subject, ev.TenantKey())
	}
	if _, err := typed(ev); err == nil && subject == "type:"+ev.Type {
		t.Error("the data can be used, but the event is keyed by its type")
	}
}

func FuzzDecodeWebhook(f *testing.F) { fuzzDecoder(f, ChannelWebhook, "id", "type") }
func FuzzDecodeSystem(f *testing.F)  { fuzzDecoder(f, ChannelSystem, "", "event") }
func FuzzDecodePubSub(f *testing.F)  { fuzzDecoder(f, ChannelPubSub, "id", "event_type") }

// FuzzData reads data as that of every type. What can be read can be written
// and read again, and is the same then.
func FuzzData(f *testing.F) {
	for _, s := range samples(f) {
		ev, err := decodeOn(s.channel, s.body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(ev.Data))
	}
	f.Add([]byte(`{"sub":"\u0000","settings":{"require_mfa":1e9999},"config":{"domains":null}}`))
	f.Add([]byte(`{"tenant_id":"t","quantity_purchased":1.50e1,"created_at":"2026-03-01T10:00:00+0100","s\u0075b":"u"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, info := range Catalog() {
			ev := &Event{Type: info.Type, TenantID: "tnt_e", ApplicationID: "app_e", Data: data}
			checkKeys(t, ev)
			read, err := typed(ev)
			if err != nil {
				var bad *DataError
				if !errors.As(err, &bad) || bad.Want == "" || bad.Got == "" {
					t.Fatalf("%s: %v", info.Type, err)
				}
				continue
			}
			if !json.Valid(data) {
				t.Fatalf("%s: read what is not JSON", info.Type)
			}
			if tenant, ok := read.(TenantData); ok {
				if _, err := tenant.KnownSettings(); err != nil && !errors.As(err, new(*DataError)) {
					t.Fatalf("settings: %v", err)
				}
			}
			written, err := json.Marshal(read)
			if err != nil {
				t.Fatalf("%s: %v", info.Type, err)
			}
			again, err := typed(&Event{Type: info.Type, TenantID: "tnt_e", ApplicationID: "app_e", Data: written})
			if err != nil {
				t.Fatalf("%s: wrote %s, which cannot be read: %v", info.Type, written, err)
			}
			rewritten, err := json.Marshal(again)
			if err != nil || !bytes.Equal(written, rewritten) {
				t.Fatalf("%s: wrote %s, then %s, %v", info.Type, written, rewritten, err)
			}
		}
	})
}

// FuzzScannerAgreesWithTheStandardLibrary compares grammar and strings, where
// the two mean to agree.
func FuzzScannerAgreesWithTheStandardLibrary(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e+7,true,false,null,"\u00e9\n"],"b":{}}`, `[1,]`, `{"a":1,}`, `{,}`, `[,]`, `01`, `-`, `1.`, `.5`, `1e`, `"\ud83d\ude00"`, `"\ud83d"`, `"\u12"`, "\"\t\"", `nul`, `truex`, ` [ ] `, `{"a" 1}`, `""""`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if !utf8.Valid(input) {
			return
		}
		s := scanner{b: input}
		s.space()
		start := s.pos
		err := s.skip(1)
		if errors.Is(err, errDepth) {
			return
		}
		end := s.pos
		if valid := err == nil && s.end(); valid != json.Valid(input) {
			t.Fatalf("%q: scanner says %v (%v), the standard library %v", input, valid, err, !valid)
		} else if !valid || input[start] != '"' {
			return
		}
		var want string
		if err := json.Unmarshal(input, &want); err != nil {
			t.Fatal(err)
		}
		got, ok := literal(input[start:end]).bytes()
		if ok && string(got) != want || !ok && !bytes.ContainsRune([]byte(want), utf8.RuneError) {
			t.Errorf("%q: got %q, %v; want %q", input, got, ok, want)
		}
	})
}

// FuzzTime compares parseTime with the standard library, which takes a little
// more, but never something else.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"2026-03-01T10:00:00.123Z", "1970-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999999-00:01", "0001-01-01T00:00:00+23:59", "2024-02-30T00:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseTime([]byte(s))
		want, err := time.Parse(time.RFC3339Nano, s)
		if ok && err == nil && !got.Equal(want.Truncate(time.Microsecond)) {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
		if again, same := parseTime([]byte(got.Format(time.RFC3339Nano))); ok && (!same || again != got) {
			t.Errorf("%q: %v does not survive being written and read: %v", s, got, again)
		}
	})
}
