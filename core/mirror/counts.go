package mirror

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/avhub/avhub/core/event"
)

// counts are what Count adds to an organization, as JSON.
type counts struct {
	subscriptions, licenses, members []byte
}

// An organization's people and licenses are counted by the database, for all
// organizations that are asked for at once.
const (
	countSubscriptions = `SELECT organization_id, subscription_id, application_id, license_type_id, license_type_name, quantity, status
 FROM av_subscriptions WHERE lower(status) = 'active' AND organization_id IN %s ORDER BY organization_id, subscription_id`

	// A license type that was given another name is still one.
	countLicenses = `SELECT organization_id, application_id, max(license_type_id), max(license_type_name), count(*)
 FROM av_licenses WHERE status = 'active' AND organization_id IN %s
 GROUP BY organization_id, application_id, coalesce(license_type_id, license_type_name)
 ORDER BY organization_id, application_id, coalesce(license_type_id, license_type_name)`

	// Somebody of whom nothing is known but the membership is a person, too.
	countMembers = `SELECT m.organization_id, coalesce(nullif(i.subject_type, ''), 'user') AS subject_type, count(*)
 FROM av_memberships m LEFT JOIN av_identities i ON i.sub = m.identity_id
 WHERE m.status = 'active' AND m.organization_id IN %s GROUP BY 1, 2 ORDER BY 1, 2`
)

// Count adds to the organizations in entities, which Entities has returned, what
// belongs to them as committed now: "subscriptions", those that are active;
// "licenses", the active ones counted by application and license type; and
// "members", the active memberships counted by the person's subject_type. It
// costs three queries, and time that grows with the organizations' people.
func (m *Mirror) Count(ctx context.Context, entities map[Ref]json.RawMessage) error {
	of := map[string]*counts{}
	var ids []string
	for ref := range entities {
		if ref.Kind == event.KindOrganization {
			of[ref.ID] = &counts{}
			ids = append(ids, ref.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	db := m.store.ReadSQL()
	var id string
	var text [5]sql.NullString
	var n int64
	for _, q := range []struct {
		what, query string
		into        []any
		add         func(c *counts)
	}{
		{"subscriptions", countSubscriptions, []any{&id, &text[0], &text[1], &text[2], &text[3], &n, &text[4]}, func(c *counts) {
			b := appendMember(begin(c.subscriptions), "subscription_id", text[0])
			b = appendMember(b, "application_id", text[1])
			b = appendMember(b, "license_type_id", text[2])
			b = appendMember(b, "license_type_name", text[3])
			b = strconv.AppendInt(append(b, `,"quantity":`...), n, 10)
			c.subscriptions = append(appendMember(b, "status", text[4]), '}')
		}},
		{"licenses", countLicenses, []any{&id, &text[0], &text[1], &text[2], &n}, func(c *counts) {
			b := appendMember(begin(c.licenses), "application_id", text[0])
			b = appendMember(b, "license_type_id", text[1])
			b = appendMember(b, "license_type_name", text[2])
			c.licenses = append(strconv.AppendInt(append(b, `,"count":`...), n, 10), '}')
		}},
		{"members", countMembers, []any{&id, &text[0], &n}, func(c *counts) {
			if len(c.members) > 0 {
				c.members = append(c.members, ',')
			}
			c.members = append(appendString(c.members, text[0].String), ':')
			c.members = strconv.AppendInt(c.members, n, 10)
		}},
	} {
		err := db.In(ctx, func(rows *sql.Rows) error {
			if err := rows.Scan(q.into...); err != nil {
				return err
			}
			q.add(of[id])
			return nil
		}, q.query, ids)
		if err != nil {
			return fmt.Errorf("count the %s of organizations: %w", q.what, err)
		}
	}
	for id, c := range of {
		ref := Ref{event.KindOrganization, id}
		object := entities[ref]
		b := make([]byte, 0, len(object)+len(c.subscriptions)+len(c.licenses)+len(c.members)+64)
		b = append(b, object[:len(object)-1]...)
		b = append(append(b, `,"subscriptions":[`...), c.subscriptions...)
		b = append(append(b, `],"licenses":[`...), c.licenses...)
		b = append(append(b, `],"members":{`...), c.members...)
		entities[ref] = append(b, "}}"...)
	}
	return nil
}

// begin opens an object in a list.
func begin(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ',')
	}
	return append(b, '{')
}

// appendMember appends a member of an object that was begun.
func appendMember(b []byte, name string, value sql.NullString) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(appendString(b, name), ':')
	if !value.Valid {
		return append(b, null...)
	}
	return appendString(b, value.String)
}
