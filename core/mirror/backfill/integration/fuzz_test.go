package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// Whatever a provider sends: no panic, no member without the ids that rows are
// kept by, nothing that a database refuses, the same members however the bytes
// arrive; and a body that is all there and fine by encoding/json as a whole is
// not said to have broken off.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"memberships":[{"id":"m","status":"invited","user":null}]}`,
		`{"tenantId":"t","tenantName":"F","memberships":[{"id":"m","status":"ACTIVE","user":{"id":"p","email":null},"tenant":{"id":"t"},"roles":[{"slug":"x"}]},7],"totalCount":2}`,
		`{"applicationId":"a","clientId":"t","memberships":[{"id":"m","joinedAt":"2025-03-01T10:00:00.123Z","user":{"id":"p"},"tenant":{"id":"t"}}]}`,
		`{"memberships":[{"id":"m"}],"applicationId":"a"}`, `{"memberships":null}`, `[]`, ``, `<html>`, `{"memberships":[`, `{"a":{"b":[1,{}]},"a":2}`, "{\"tenantSlug\":\"\\u0000\"}",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, tenant bool) {
		u := Unit{Application, "t"}
		if tenant {
			u.Kind = Tenant
		}
		var members []Member
		bad := 0
		sink := Sink{
			Begin: func() { members, bad = nil, 0 },
			Member: func(h Head, m Member) error {
				members = append(members, m)
				all := []string{h.ID, m.ID, m.Person.ID, m.Status, m.Person.Email, m.Person.GivenName, m.Tenant.Name}
				for _, r := range m.Roles {
					all = append(all, r.ID, r.Name, r.Slug, r.ApplicationID)
				}
				for _, s := range all {
					if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
						t.Errorf("%q cannot be stored", s)
					}
				}
				if h.ID == "" || m.ID == "" || m.Person.ID == "" && !m.Invited() || len(m.Roles) > maxRoles || u.Kind == Application && m.Tenant.ID == "" || len(m.ID) > maxKey {
					t.Errorf("a member lacks an id: %+v of %+v", m, h)
				}
				return nil
			},
			Bad: func(_ int, _, reason string) {
				bad++
				if reason == "" || !utf8.ValidString(reason) {
					t.Errorf("the reason is %q", reason)
				}
			},
		}
		a, err := readAnswer(bytes.NewReader(body), u, Head{}, sink)
		count := len(members)
		if err == nil && a.Members != count+bad {
			t.Errorf("%d members, %d usable, %d not", a.Members, count, bad)
		}
		var passing *transient
		if errors.As(err, &passing) && json.Valid(body) {
			t.Errorf("complete JSON, and yet: %v", err)
		}
		if err == nil && !json.Valid(body) {
			t.Error("no JSON, and yet no error")
		}
		b, again := readAnswer(iotest.OneByteReader(bytes.NewReader(body)), u, Head{}, sink)
		if b != a || len(members) != count || (err == nil) != (again == nil) {
			t.Errorf("byte by byte: %+v (%d), %v; as a whole: %+v (%d), %v", b, len(members), again, a, count, err)
		}
	})
}
