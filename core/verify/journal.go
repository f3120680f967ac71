package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
)

// chunk is how many positions are read with one query, which so ends before a
// limit that a database may set to the time of a query.
const chunk = 2048

// span finds out which positions there are. What came before the first was pruned,
// but for events that failed, which nobody needs to find by their place.
func (r *run) span(ctx context.Context) error {
	var counter, newest int64
	r.first = 1
	if _, err := r.one(ctx, `SELECT value FROM avhub_counters WHERE name = 'journal_first'`, nil, &r.first); err != nil {
		return fmt.Errorf("read where the journal begins: %w", err)
	}
	if _, err := r.one(ctx, `SELECT coalesce(max(position), 0) FROM avhub_events WHERE position >= ?`, []any{r.first}, &newest); err != nil {
		return fmt.Errorf("read the journal's end: %w", err)
	}
	if _, err := r.one(ctx, `SELECT value FROM avhub_counters WHERE name = 'journal'`, nil, &counter); err != nil {
		return fmt.Errorf("read the journal's counter: %w", err)
	}
	if counter < newest || r.first < 1 || r.first > counter+1 {
		r.report.add(Finding{Kind: Counter, Position: newest}, "the counters say that the journal holds positions %d to %d, the last event is at %d", r.first, counter, newest)
		r.first = max(r.first, 1)
	}
	r.last = max(counter, newest)
	r.report.First, r.report.Last = r.first, r.last
	return nil
}

// entry is a row of the journal.
type entry struct {
	position                                               int64
	source, channel, id, typ, tenant, application, key, ts string
	occurred, tenantLane, subjectLane, omitted, received   int64
	body, signature, changes                               []byte
	seenPosition                                           sql.NullInt64
	seenHash                                               []byte
}

const entryColumns = `e.position, e.source, e.channel, e.event_id, e.type, e.tenant_id, e.application_id, e.key_id, e.signed_timestamp,
 e.occurred_at, e.tenant_lane, e.subject_lane, e.changes_omitted, e.received_at, e.body, e.signature, e.changes, s.position, s.body_hash`

func (e *entry) scan(rows *sql.Rows) error {
	return rows.Scan(&e.position, &e.source, &e.channel, &e.id, &e.typ, &e.tenant, &e.application, &e.key, &e.ts,
		&e.occurred, &e.tenantLane, &e.subjectLane, &e.omitted, &e.received, &e.body, &e.signature, &e.changes, &e.seenPosition, &e.seenHash)
}

// walkJournal looks at every event, and at what became of it.
func (r *run) walkJournal(ctx context.Context) error {
	next, unknown := r.first, map[string]int64{}
	for after := r.first - 1; after < r.last; after += chunk {
		until := min(after+chunk, r.last)
		var entries []*judgedEvent
		err := r.sql(ctx).Query(ctx, func(rows *sql.Rows) error {
			e := &entry{}
			if err := e.scan(rows); err != nil {
				return err
			}
			r.gap(next, e.position)
			next = e.position + 1
			r.report.Events++
			if ev := r.checkEntry(e, unknown); ev != nil && len(r.judged) > 0 {
				entries = append(entries, &judgedEvent{position: e.position, id: e.id, typ: ev.Type, tenantKey: ev.TenantKey(), subject: ev.Subject()})
			}
			return nil
		}, `SELECT `+entryColumns+` FROM avhub_events e LEFT JOIN avhub_seen_events s ON s.id = e.event_id || '/' || e.source
 WHERE e.position > ? AND e.position <= ? ORDER BY e.position`, after, until)
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		if r.logs != nil {
			if err := r.logs.settle(ctx, after, until, entries); err != nil {
				return err
			}
		}
		r.tell(StageJournal, until-r.first+1, r.last-r.first+1)
	}
	r.gap(next, r.last+1)
	if n := total(unknown); n > 0 {
		r.report.note("%d events are signed with keys that the file does not have, and were not verified: %s", n, strings.Join(slices.Sorted(maps.Keys(unknown)), ", "))
	}
	return nil
}

func total(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func (r *run) gap(want, got int64) {
	switch missing := got - want; {
	case missing == 1:
		r.report.add(Finding{Kind: Gap, Position: want}, "there is no event at position %d", want)
	case missing > 1:
		r.report.add(Finding{Kind: Gap, Position: want}, "there are no events at positions %d to %d", want, got-1)
	}
}

// checkEntry compares what a row says with what its bytes say. It returns the
// event if it can be read.
func (r *run) checkEntry(e *entry, unknown map[string]int64) *event.Event {
	at := func(kind Kind) Finding { return Finding{Kind: kind, Position: e.position} }
	hash := sha256.Sum256(e.body)
	switch {
	case !e.seenPosition.Valid:
		r.report.add(at(Unremembered), "the id %s of source %s is not among those seen", e.id, e.source)
	case e.seenPosition.Int64 != e.position:
		r.report.add(at(Unremembered), "the id %s of source %s is remembered for position %d", e.id, e.source, e.seenPosition.Int64)
	case !bytes.Equal(e.seenHash, hash[:]):
		r.report.add(at(BodyHash), "the SHA-256 of the %d stored bytes of %s is %x, and was %x", len(e.body), e.id, hash[:8], e.seenHash[:min(8, len(e.seenHash))])
	}
	r.checkSignature(e, unknown)
	if len(e.changes) > 0 {
		var changes []event.Change
		if err := json.Unmarshal(e.changes, &changes); err != nil {
			r.report.add(at(Unreadable), "what the event %s changed is not readable: %v", e.id, err)
		}
	}
	ev, err := event.DecodeBody(event.Channel(e.channel), e.body)
	if err != nil {
		r.report.add(at(Unreadable), "the bytes of %s are not readable: %v", e.id, err)
		return nil
	}
	var differ []string
	compare := func(column string, found, want any) {
		if found != want {
			differ = append(differ, fmt.Sprintf("%s is %v, the bytes say %v", column, found, want))
		}
	}
	compare("event_id", e.id, ev.ID)
	compare("type", e.typ, ev.Type)
	compare("tenant_id", e.tenant, ev.TenantID)
	compare("application_id", e.application, ev.ApplicationID)
	compare("occurred_at", e.occurred, ev.Time.UnixMicro())
	compare("tenant_lane", e.tenantLane, journal.LaneHash(ev.TenantKey()))
	compare("subject_lane", e.subjectLane, journal.LaneHash(ev.Subject()))
	if len(differ) > 0 {
		r.report.add(at(Columns), "%s", strings.Join(differ, "; "))
	}
	return ev
}

// checkSignature verifies the provider's signature over the stored bytes.
func (r *run) checkSignature(e *entry, unknown map[string]int64) {
	if r.opts.Keys == nil {
		return
	}
	if len(e.signature) == 0 {
		if event.Channel(e.channel) != event.ChannelPubSub {
			r.report.add(Finding{Kind: Signature, Position: e.position}, "the event %s of channel %s has no signature", e.id, e.channel)
			return
		}
		r.report.Unsigned++
		return
	}
	key := r.opts.Keys[e.key]
	if key == nil {
		unknown[e.key]++
		return
	}
	evidence := event.Evidence{SignedTimestamp: e.ts, Body: e.body}
	sum := sha256.Sum256(evidence.SignedBytes())
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], e.signature); err != nil {
		r.report.add(Finding{Kind: Signature, Position: e.position}, "the signature of %s by key %s does not fit", e.id, e.key)
		return
	}
	r.report.Signed++
}

// walkIDs looks for remembered ids without an event.
func (r *run) walkIDs(ctx context.Context) error {
	c, err := r.sql(ctx).Cursor(ctx, "verify_ids", `SELECT s.id, s.position FROM avhub_seen_events s LEFT JOIN avhub_events e ON e.position = s.position
 WHERE e.position IS NULL OR e.event_id || '/' || e.source <> s.id`)
	if err != nil {
		return fmt.Errorf("read the ids that were seen: %w", err)
	}
	defer c.Close()
	for n := int64(0); ; {
		found, err := c.Next(ctx, chunk, func(rows *sql.Rows) error {
			var id string
			var position int64
			if err := rows.Scan(&id, &position); err != nil {
				return err
			}
			// Ids are remembered longer than their events are kept.
			if position >= r.first || position > r.last || position < 1 {
				name, source, _ := cutLast(id, '/')
				r.report.add(Finding{Kind: GhostID, Position: position}, "the id %s of source %s is remembered for position %d, where it is not", name, source, position)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the ids that were seen: %w", err)
		}
		n += int64(found)
		r.tell(StageIDs, n, 0)
		if found < chunk {
			return nil
		}
	}
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
