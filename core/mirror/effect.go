package mirror

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
)

// effect is what one event says about one entity. Everything in it carries the
// event's clock.
type effect struct {
	model *model
	id    string
	at    clock

	// deletes makes the effect a tombstone; nothing else is looked at then.
	deletes bool
	// alive says that the entity exists, so that it gets a row. What is said
	// without it waits until something else brings the entity to life.
	alive bool
	// set are the assignments, ascending by field after finish.
	set   []register
	keyed bool // some of set are keys of an object, or one as a whole
	// leaves are the fields whose values from tenant end.
	leaves []string
	tenant string // the tenant that the event is about, empty for none

	buf []byte // backs the values
}

// effects takes an event apart. A type of which the mirror keeps nothing has
// none. An error tells why the event's data cannot be used.
func (ms *models) effects(ev *event.Event) ([]*effect, error) {
	at := clock{ev.Time.UnixMicro(), ev.ID}
	var told []*effect
	var err error
	switch ev.Type {
	case event.TypeSubjectCreated, event.TypeSubjectUpdated, event.TypeSubjectDeactivated, event.TypeSubjectDeleted:
		told, err = ms.subject(ev)
	case event.TypeMemberJoined, event.TypeMemberRoleChanged, event.TypeMemberLeft,
		event.TypeMemberSuspended, event.TypeMemberActivated:
		told, err = ms.member(ev)
	case event.TypeAppAccessGranted, event.TypeAppAccessRoleChanged, event.TypeAppAccessRevoked:
		told, err = ms.access(ev)
	case event.TypeInviteCreated, event.TypeInviteAccepted, event.TypeInviteDeleted, event.TypeInviteExpired:
		told, err = ms.invitation(ev)
	case event.TypeLicenseAssigned, event.TypeLicenseChanged, event.TypeLicenseRevoked:
		told, err = ms.license(ev)
	case event.TypeTenantCreated, event.TypeTenantUpdated, event.TypeTenantSuspended, event.TypeTenantDeleted:
		told, err = ms.tenant(ev)
	case event.TypeTenantAppGranted, event.TypeTenantAppRevoked:
		told, err = ms.tenantApp(ev)
	case event.TypeApplicationCreated, event.TypeApplicationUpdated, event.TypeApplicationDeleted:
		told, err = ms.application(ev)
	case event.TypeSSOProviderAdded, event.TypeSSOProviderUpdated, event.TypeSSOProviderRemoved:
		told, err = ms.ssoProvider(ev)
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(told, func(e *effect) bool {
		e.finish(at)
		return !e.deletes && !e.alive && len(e.set) == 0 && len(e.leaves) == 0
	}), nil
}

// heardField is the register of entities that are only known by their end.
const heardField = "heard"

// ends says that the entity has ended, which is worth a row if it was never
// deleted: who was told that a membership is over must not take it for unknown.
// After a deletion, of a tenant say, the ends of all that belonged to it may be
// told one by one, and bring nothing back.
func (e *effect) ends() { e.flag(heardField, event.Some(true)) }

// one is what most events tell.
func one(e *effect) []*effect { return []*effect{e} }

// finish stamps and sorts the assignments.
func (e *effect) finish(at clock) {
	e.at = at
	for i := range e.set {
		e.set[i].at = at
	}
	slices.SortStableFunc(e.set, func(a, b register) int { return strings.Compare(a.field, b.field) })
}

// put assigns a canonical value. A field must be put once per effect.
func (e *effect) put(field string, value []byte) {
	r := register{field: field, value: value}
	if i, ok := e.model.index[field]; ok && e.model.columns[i].scoped {
		r.scope = e.tenant
	}
	e.set = append(e.set, r)
}

// write assigns what encode appends to the effect's buffer. When the buffer
// grows, older values keep the memory that they have.
func (e *effect) write(field string, encode func(b []byte) []byte) {
	start := len(e.buf)
	e.buf = encode(e.buf)
	e.put(field, e.buf[start:len(e.buf):len(e.buf)])
}

// assign assigns a field of the data: nothing if it was not sent, null if it
// was sent as null.
func assign[T any](e *effect, field string, o event.Opt[T], encode func(b []byte, v T) []byte) {
	switch {
	case !o.Set:
	case o.Null:
		e.put(field, null)
	default:
		e.write(field, func(b []byte) []byte { return encode(b, o.Value) })
	}
}

func (e *effect) text(field string, o event.Opt[string]) { assign(e, field, o, appendString) }

func (e *effect) flag(field string, o event.Opt[bool]) { assign(e, field, o, strconv.AppendBool) }

func (e *effect) list(field string, o event.Opt[[]string]) { assign(e, field, o, appendList) }

func (e *effect) moment(field string, o event.Opt[time.Time]) { assign(e, field, o, appendTime) }

func (e *effect) number(field string, o event.Opt[int64]) {
	assign(e, field, o, func(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) })
}

func (e *effect) object(field string, o event.Opt[map[string]json.RawMessage]) {
	assign(e, field, o, appendObject)
}

// textIfKnown assigns a text that has a value. It is for what an event mentions
// beside its subject, where null may mean that the sender did not look.
func (e *effect) textIfKnown(field string, o event.Opt[string]) {
	if _, ok := o.Get(); ok {
		e.text(field, o)
	}
}

// created notes when the provider created the entity, if it said so.
func (e *effect) created(o event.Opt[time.Time]) {
	if t, ok := o.Get(); ok {
		e.write(createdAt, func(b []byte) []byte { return strconv.AppendInt(b, t.UnixMicro(), 10) })
	}
}

// timeLayout is a time in canonical JSON: always UTC, always microseconds.
const timeLayout = `"2006-01-02T15:04:05.000000Z"`

func appendTime(b []byte, t time.Time) []byte { return t.AppendFormat(b, timeLayout) }

func appendObject(b []byte, o map[string]json.RawMessage) []byte {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ':')
		b = append(b, canonical(o[name])...)
	}
	return append(b, '}')
}

// selection are the names in changed_fields. Without any, everything is
// selected that was sent.
type selection []string

// exactly tells whether one of the names is selected as such.
func (s selection) exactly(names ...string) bool {
	if len(s) == 0 {
		return true
	}
	for _, selected := range s {
		if slices.Contains(names, selected) {
			return true
		}
	}
	return false
}

// within tells whether one of the names, or something inside of it (the name, a
// dot and more), is selected.
func (s selection) within(names ...string) bool {
	if len(s) == 0 {
		return true
	}
	for _, selected := range s {
		for _, name := range names {
			if rest, ok := strings.CutPrefix(selected, name); ok && (rest == "" || rest[0] == '.') {
				return true
			}
		}
	}
	return false
}
