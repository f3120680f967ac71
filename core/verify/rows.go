package verify

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
)

// totalKey is the one key of a plugin with total order.
const totalKey = "all"

// follow returns the plugin of a row, nil if it is not to be looked at.
func (r *run) follow(name string) (*followed, error) {
	if p := r.plugins[name]; p != nil {
		return p, nil
	}
	if len(r.opts.Only) > 0 && !slices.Contains(r.opts.Only, name) {
		return nil, nil
	}
	p := &followed{Plugin: Plugin{Name: name}, report: &PluginReport{Plugin: name}, number: len(r.plugins)}
	if i := slices.IndexFunc(r.opts.Plugins, func(p Plugin) bool { return p.Name == name }); i >= 0 {
		p.Plugin, p.known = r.opts.Plugins[i], true
		var err error
		if p.matcher, err = event.NewMatcher(p.Events); err != nil {
			return nil, fmt.Errorf("events of plugin %s: %w", name, err)
		}
	}
	r.plugins[name] = p
	r.report.Plugins = append(r.report.Plugins, p.report)
	return p, nil
}

// of is a finding about a plugin.
func (p *followed) of(kind Kind, key string, position int64) Finding {
	return Finding{Kind: kind, Plugin: p.Name, Key: key, Position: position}
}

// keyOf is the key under which the plugin gets an event.
func (p *followed) keyOf(ev *judgedEvent) string {
	switch p.Order {
	case plugin.Total:
		return totalKey
	case plugin.PerSubject:
		return ev.subject
	default:
		return ev.tenantKey
	}
}

// joined is the event that a row of a plugin refers to.
type joined struct {
	position                sql.NullInt64
	typ                     sql.NullString
	tenantLane, subjectLane sql.NullInt64
}

func (j *joined) fields() []any { return []any{&j.position, &j.typ, &j.tenantLane, &j.subjectLane} }

// joinedColumns of an event under an alias.
func joinedColumns(alias string) string {
	return fmt.Sprintf("%[1]s.position, %[1]s.type, %[1]s.tenant_lane, %[1]s.subject_lane", alias)
}

// gets tells whether the plugin gets the event under the key. The walk through
// the journal has proved that the hashes are those of the event's keys.
func (p *followed) gets(key string, ev joined) bool {
	if !ev.position.Valid {
		return false
	}
	hash := journal.LaneHash(key)
	tenant, subject, all := ev.tenantLane.Int64 == hash, ev.subjectLane.Int64 == hash, key == totalKey
	if !p.known {
		return tenant || subject || all
	}
	if !p.matcher.Match(ev.typ.String) {
		return false
	}
	switch p.Order {
	case plugin.Total:
		return all
	case plugin.PerSubject:
		return subject
	default:
		return tenant
	}
}

// each reads all rows of a query in the snapshot, some at a time.
func (r *run) each(ctx context.Context, name, query string, scan func(*sql.Rows) error) error {
	c, err := r.sql(ctx).Cursor(ctx, "verify_"+name, query)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer c.Close()
	for n := int64(0); ; {
		found, err := c.Next(ctx, chunk, scan)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		n += int64(found)
		r.tell(StageDeliveries, n, 0)
		if found < chunk {
			return nil
		}
	}
}

// splitID takes the id of a plugin's row apart; a plugin's name has no slash.
func (r *run) splitID(id string) (p *followed, key string, err error) {
	name, key, _ := strings.Cut(id, "/")
	p, err = r.follow(name)
	return p, key, err
}

// checkSlot judges the slot of a row; those from before there were slots have none
// until their partition is taken up.
func (r *run) checkSlot(p *followed, key string, slot int, position int64) {
	if slot != -1 && slot != journal.Slot(key) {
		r.report.add(p.of(Slot, key, position), "its row has the slot %d, its key the slot %d", slot, journal.Slot(key))
	}
}

func (r *run) walkLanes(ctx context.Context) error {
	return r.each(ctx, "lanes", `SELECT l.id, l.plugin, l.key, l.slot, l.head, l.last_error, s.position, `+joinedColumns("h")+`, `+joinedColumns("b")+`
 FROM avhub_lanes l LEFT JOIN avhub_events h ON h.position = l.head LEFT JOIN avhub_events b ON b.position = l.head - 1
 LEFT JOIN avhub_plugin_states s ON s.id = l.id`, func(rows *sql.Rows) error {
		var id, name, key, failure string
		var head int64
		var slot int
		var settled sql.NullInt64
		var at, before joined
		if err := rows.Scan(append(append([]any{&id, &name, &key, &slot, &head, &failure, &settled}, at.fields()...), before.fields()...)...); err != nil {
			return err
		}
		p, err := r.follow(name)
		if p == nil || err != nil {
			return err
		}
		p.report.Lanes++
		r.checkSlot(p, key, slot, head)
		finding := p.of(LaneHead, key, head)
		switch {
		case id != name+"/"+key:
			r.report.add(finding, "the lane %s is stored under the id %s", key, id)
		case head < 1 || head > r.last+1:
			r.report.add(finding, "the lane waits for position %d, the last event is at %d", head, r.last)
		case p.gets(key, at):
		case failure != "":
			// One that failed is the key's own. One that got on stands behind the last
			// of the key's events that was settled.
			r.report.add(finding, "the event at position %d, which failed, is not one that plugin %s gets under this key", head, p.Name)
		case head-1 >= r.first && !p.gets(key, before):
			r.report.add(finding, "neither the event at position %d nor the one before it is one that plugin %s gets under this key", head, p.Name)
		}
		if settled.Valid && settled.Int64 >= head {
			r.report.add(p.of(LaneSettled, key, head), "the key is settled up to position %d, and its lane waits for position %d", settled.Int64, head)
		}
		return nil
	})
}

func (r *run) walkStates(ctx context.Context) error {
	return r.each(ctx, "states", `SELECT s.id, s.position, `+joinedColumns("e")+`
 FROM avhub_plugin_states s LEFT JOIN avhub_events e ON e.position = s.position`, func(rows *sql.Rows) error {
		var id string
		var position int64
		var at joined
		if err := rows.Scan(append([]any{&id, &position}, at.fields()...)...); err != nil {
			return err
		}
		p, key, err := r.splitID(id)
		if p == nil || err != nil {
			return err
		}
		p.report.States++
		switch {
		case position > r.last || position < 0:
			r.report.add(p.of(StateBeyond, key, position), "the key is settled up to position %d, the last event is at %d", position, r.last)
		case position < r.first: // pruned, or nothing was settled yet
		case !p.gets(key, at):
			r.report.add(p.of(StateOrigin, key, position), "the key's state was saved with the event at position %d, which is not one that plugin %s gets under this key", position, p.Name)
		}
		return nil
	})
}

// letter is what a dead letter has of its event.
type letter struct {
	Channel  event.Channel  `json:"channel"`
	Source   string         `json:"source"`
	Evidence event.Evidence `json:"evidence"`
}

func (r *run) walkLetters(ctx context.Context) error {
	return r.each(ctx, "dead letters", `SELECT d.id, d.plugin, d.key, d.slot, d.position, d.event_id, d.type, d.tenant_id, d.event,
 e.position, e.source, e.channel, e.body, e.signature, e.signed_timestamp, e.key_id
 FROM avhub_dead_letters d LEFT JOIN avhub_events e ON e.position = d.position`, func(rows *sql.Rows) error {
		var id, position int64
		var slot int
		var name, key, eventID, typ, tenant string
		var raw, body, signature []byte
		var at sql.NullInt64
		var source, channel, ts, kid sql.NullString
		if err := rows.Scan(&id, &name, &key, &slot, &position, &eventID, &typ, &tenant, &raw, &at, &source, &channel, &body, &signature, &ts, &kid); err != nil {
			return err
		}
		p, err := r.follow(name)
		if p == nil || err != nil {
			return err
		}
		p.report.DeadLetters++
		r.checkSlot(p, key, slot, position)
		var copied letter
		if err := json.Unmarshal(raw, &copied); err != nil {
			r.report.add(p.of(LetterCopy, key, position), "dead letter %d: its copy of the event is not readable: %v", id, err)
			return nil
		}
		ev, err := event.DecodeBody(copied.Channel, copied.Evidence.Body)
		if err != nil {
			r.report.add(p.of(LetterCopy, key, position), "dead letter %d: the bytes in its copy are not readable: %v", id, err)
			return nil
		}
		if ev.ID != eventID || ev.Type != typ || ev.TenantID != tenant {
			r.report.add(p.of(LetterCopy, key, position), "dead letter %d is about %s (%s), its copy about %s (%s)", id, eventID, typ, ev.ID, ev.Type)
		}
		if is := (&judgedEvent{tenantKey: ev.TenantKey(), subject: ev.Subject()}); p.known && p.keyOf(is) != key ||
			!p.known && key != is.tenantKey && key != is.subject && key != totalKey {
			r.report.add(p.of(LetterOrigin, key, position), "dead letter %d is kept under a key that its event does not have", id)
		}
		switch {
		case position > r.last || position < 1:
			r.report.add(p.of(LetterOrigin, key, position), "dead letter %d is about position %d, the last event is at %d", id, position, r.last)
		case !at.Valid: // pruned; a gap has been told already
		case source.String != copied.Source || channel.String != string(copied.Channel) || ts.String != copied.Evidence.SignedTimestamp ||
			kid.String != copied.Evidence.KeyID || string(body) != string(copied.Evidence.Body) || string(signature) != string(copied.Evidence.Signature):
			r.report.add(p.of(LetterCopy, key, position), "dead letter %d: its copy is not the event that the journal has", id)
		}
		return nil
	})
}
