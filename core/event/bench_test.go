package event

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

func benchBody(b *testing.B, name string) []byte {
	b.Helper()
	body, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	return body
}

func BenchmarkDecodeWebhook(b *testing.B) {
	body := benchBody(b, "tenant.updated.form2.webhook")
	for b.Loop() {
		if _, err := DecodeWebhook(body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeWebhookStandardLibrary is the baseline: the same members read
// with encoding/json, which is less strict.
func BenchmarkDecodeWebhookStandardLibrary(b *testing.B) {
	body := benchBody(b, "tenant.updated.form2.webhook")
	for b.Loop() {
		var env struct {
			ID            string          `json:"id"`
			Type          string          `json:"type"`
			Timestamp     time.Time       `json:"timestamp"`
			TenantID      *string         `json:"tenant_id"`
			ApplicationID *string         `json:"application_id"`
			Data          json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(body, &env); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeSystem(b *testing.B) {
	body := benchBody(b, "tenant.updated.form1.system")
	for b.Loop() {
		if _, err := DecodeSystem(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTenantData(b *testing.B) {
	ev, err := DecodeWebhook(benchBody(b, "tenant.updated.form2.webhook"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d, err := ev.TenantData()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := d.KnownSettings(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSubjectDataLongForm(b *testing.B) {
	ev, err := DecodeWebhook(benchBody(b, "subject.updated.long.webhook"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ev.SubjectData(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSubject(b *testing.B) {
	ev, err := DecodeWebhook(benchBody(b, "member.joined.short.webhook"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ev.Subject() == "" {
			b.Fatal("no subject")
		}
	}
}

func BenchmarkMatcher(b *testing.B) {
	m, err := NewMatcher([]string{"tenant.*", "license.*", "subject.created"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if m.Match("member.joined") {
			b.Fatal("matched")
		}
	}
}
