package laws

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// ref names a row of the mirror.
type ref struct{ kind, id string }

func (r ref) String() string { return r.kind + ":" + r.id }

type row map[string]any

// provider is a small identity provider with the hub's mirror of it: steps go
// in, events come out as a hub would hand them over. A step that makes no sense
// where things stand makes no event, so that any part of a list of steps is one
// too.
type provider struct {
	order    pluginpb.Order
	salt     string
	bodies   bool // events come with the bytes that were sent
	counts   bool // organizations come with what belongs to them
	rows     map[ref]row
	gone     map[ref]bool
	touched  []ref // subjects of the events so far, in order, once each
	revision map[ref]int64
	position int64
	clock    time.Time
}

func newProvider(order pluginpb.Order, salt string) *provider {
	return &provider{
		order: order, salt: salt, rows: map[ref]row{}, gone: map[ref]bool{}, revision: map[ref]int64{},
		clock: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC),
	}
}

// told is an event with a line about it.
type told struct {
	ev   *pluginpb.Event
	note string
}

// draft is what a step does.
type draft struct {
	subject     ref
	tenant, app string
	data        row
	rows        map[ref]row // new rows; nil: gone
	note        string
}

// event makes a step happen; false if it makes no sense.
func (p *provider) event(s step) (told, bool) {
	d := p.draft(s)
	if d == nil {
		return told{}, false
	}
	p.position++
	p.clock = p.clock.Add(61*time.Second + 7*time.Millisecond)
	var changes []*pluginpb.Change
	for _, at := range sortedRefs(d.rows) {
		next := d.rows[at]
		changes = append(changes, changesOf(at, p.rows[at], next)...)
		if next == nil {
			delete(p.rows, at)
			p.gone[at] = true
			continue
		}
		next["updated_at"] = p.clock
		p.rows[at] = next
	}
	p.revision[d.subject] = p.clock.UnixMicro()
	if !slices.Contains(p.touched, d.subject) {
		p.touched = append(p.touched, d.subject)
	}
	return told{p.envelope(s.typ, d, changes), fmt.Sprintf("%s %s", s.typ, d.note)}, true
}

func (p *provider) envelope(typ string, d *draft, changes []*pluginpb.Change) *pluginpb.Event {
	data := mustJSON(d.data)
	sum := sha256.Sum256(data)
	ev := &pluginpb.Event{
		Id: fmt.Sprintf("evt_%s_%04d", p.salt, p.position), Type: typ, Position: p.position,
		Revision: p.clock.UnixMicro(), OccurredAtUs: p.clock.UnixMicro(), Source: "authvital", Channel: "webhook",
		Subject: d.subject.String(), TenantId: d.tenant, ApplicationId: d.app, Attempt: 1, Changes: changes, Data: data,
		Evidence: &pluginpb.Evidence{KeyId: "key-1", Signature: bytes.Repeat(sum[:], 8), SignedSha256: sum[:]},
	}
	if p.bodies {
		ev.Body = bodyOf(ev)
	}
	ev.Key = p.key(ev)
	ev.Entities = p.entities(ev, d.subject)
	return ev
}

// bodyOf is the webhook that an event came by.
func bodyOf(ev *pluginpb.Event) []byte {
	body := row{"id": ev.GetId(), "type": ev.GetType(), "timestamp": time.UnixMicro(ev.GetOccurredAtUs()).UTC(), "data": json.RawMessage(ev.GetData())}
	if ev.GetTenantId() != "" {
		body["tenant_id"] = ev.GetTenantId()
	}
	if ev.GetApplicationId() != "" {
		body["application_id"] = ev.GetApplicationId()
	}
	return mustJSON(body)
}

func (p *provider) key(ev *pluginpb.Event) string {
	switch {
	case p.order == pluginpb.Order_ORDER_TOTAL:
		return "total"
	case p.order == pluginpb.Order_ORDER_PER_TENANT && ev.GetTenantId() != "":
		return "tenant:" + ev.GetTenantId()
	}
	return ev.GetSubject()
}

// entities are the rows that come with an event, as they stand.
func (p *provider) entities(ev *pluginpb.Event, subject ref) []*pluginpb.Entity {
	var out []*pluginpb.Entity
	add := func(r ref) {
		switch r.kind {
		case "identity", "organization", "application", "sso_provider":
		default:
			return
		}
		if r.id == "" || slices.ContainsFunc(out, func(e *pluginpb.Entity) bool { return e.GetKind() == r.kind && e.GetId() == r.id }) {
			return
		}
		out = append(out, &pluginpb.Entity{Kind: r.kind, Id: r.id, Json: p.shown(r)})
	}
	add(subject)
	add(ref{"organization", ev.GetTenantId()})
	add(ref{"application", ev.GetApplicationId()})
	return out
}

// blank is a row of a kind with all its columns.
func blank(kind string) row {
	var v any
	switch kind {
	case "identity":
		v = plugin.Identity{Groups: []string{}}
	case "organization":
		v = plugin.Organization{AllowedEmailDomains: []string{}}
	case "application":
		v = plugin.Application{}
	case "sso_provider":
		v = plugin.SSOProvider{Domains: []string{}}
	default:
		return row{}
	}
	out := row{}
	if err := json.Unmarshal(mustJSON(v), &out); err != nil {
		panic(err) // our own types
	}
	return out
}

// changed is a copy of a row with some columns set.
func changed(r row, set row) row {
	out := maps.Clone(r)
	maps.Copy(out, set)
	return out
}

// changesOf compares two rows; nil is no row.
func changesOf(at ref, before, after row) []*pluginpb.Change {
	var out []*pluginpb.Change
	add := func(field string, before, after any) {
		b, a := mustJSON(before), mustJSON(after)
		if !bytes.Equal(b, a) {
			out = append(out, &pluginpb.Change{Entity: at.kind, Id: at.id, Field: field, Before: b, After: a})
		}
	}
	if before == nil || after == nil {
		add("exists", before != nil, after != nil)
	}
	if after == nil {
		return out
	}
	for _, field := range slices.Sorted(maps.Keys(after)) {
		if field != "updated_at" {
			add(field, before[field], after[field])
		}
	}
	return out
}

func sortedRefs(m map[ref]row) []ref {
	return slices.SortedFunc(maps.Keys(m), func(a, b ref) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
}

func mustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // made of text, numbers and lists alone
	}
	return out
}

func tenantRef(i int) ref { return ref{"organization", fmt.Sprintf("tnt_%d", i)} }
func personRef(i int) ref { return ref{"identity", fmt.Sprintf("usr_%d", i)} }
func appRef(i int) ref    { return ref{"application", fmt.Sprintf("app_%d", i)} }

func ssoRef(tenant ref, provider string) ref {
	return ref{"sso_provider", url.PathEscape(tenant.id) + "/" + url.PathEscape(provider)}
}

// snapshot is one event for each subject that there is, as it stands, for a
// connector that starts from nothing.
func (p *provider) snapshot(wants func(string) bool) []told {
	var out []told
	at := p.position
	for i, r := range p.touched {
		have, ok := p.rows[r]
		typ := snapshotType(r.kind, wants)
		if !ok || typ == "" {
			continue
		}
		d := &draft{subject: r, data: snapshotData(r.kind, have), note: "(snapshot) " + r.id}
		switch r.kind {
		case "organization":
			d.tenant = r.id
		case "application":
			d.app = r.id
			d.tenant, _ = have["organization_id"].(string)
		case "sso_provider":
			d.tenant, _ = have["organization_id"].(string)
		}
		ev := p.envelope(typ, d, nil)
		// Shares the position, and needs an id of its own.
		ev.Id, ev.Position = fmt.Sprintf("snapshot_%s_%d_%d", p.salt, at, i), at
		ev.Revision, ev.OccurredAtUs = p.revision[r], p.revision[r]
		ev.Evidence, ev.Body = nil, nil // nobody sent it
		out = append(out, told{ev, typ + " " + d.note})
	}
	return out
}

// snapshotType is the type under which a row of a kind is handed over.
func snapshotType(kind string, wants func(string) bool) string {
	for _, typ := range map[string][]string{
		"organization": {"tenant.created", "tenant.updated"},
		"identity":     {"subject.created", "subject.updated"},
		"application":  {"application.created", "application.updated"},
		"sso_provider": {"sso.provider_added", "sso.provider_updated"},
	}[kind] {
		if wants(typ) {
			return typ
		}
	}
	return ""
}

// snapshotData says in the words of an event what a row holds.
func snapshotData(kind string, have row) row {
	pick := func(names ...string) row {
		out := row{}
		for _, n := range names {
			out[n] = have[n]
		}
		return out
	}
	switch kind {
	case "organization":
		return pick("tenant_id", "name", "slug", "plan", "owner_email", "settings")
	case "identity":
		out := pick("sub", "email", "given_name", "family_name", "subject_type")
		return out
	case "application":
		out := pick("application_id", "name", "slug", "client_id", "application_type", "is_active")
		out["tenant_id"] = have["organization_id"]
		return out
	default:
		out := pick("provider_id", "provider_type", "display_name", "is_enabled")
		out["tenant_id"] = have["organization_id"]
		return out
	}
}
