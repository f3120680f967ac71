package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// DeadLetter is an event that a plugin does not get again by itself. It keeps
// its own copy of the event, so that the journal may forget it.
type DeadLetter struct {
	ID        int64     `json:"id"`
	Plugin    string    `json:"plugin"`
	Key       string    `json:"key"`
	Position  int64     `json:"position"`
	EventID   string    `json:"event_id"`
	Type      string    `json:"type"`
	TenantID  string    `json:"tenant_id,omitempty"`
	Reason    string    `json:"reason"`
	Attempts  int       `json:"attempts"`
	History   []Failure `json:"history,omitempty"`
	Retry     bool      `json:"retry"`            // an operator wants it delivered again
	Replay    int64     `json:"replay,omitempty"` // in which it failed; 0: none
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	event *event.Event
}

// copied is how a dead letter stores its event: what the journal has of it.
type copied struct {
	Channel    event.Channel  `json:"channel"`
	Source     string         `json:"source"`
	Evidence   event.Evidence `json:"evidence"`
	ReceivedAt time.Time      `json:"received_at"`
	Changes    []event.Change `json:"changes,omitempty"`
	Omitted    int            `json:"changes_omitted,omitempty"`
	Superseded bool           `json:"superseded,omitempty"`
	Failed     string         `json:"failed,omitempty"`
}

func (d *DeadLetter) encode() ([]byte, error) {
	ev := d.event
	return json.Marshal(copied{
		ev.Channel, ev.Source, ev.Evidence, ev.ReceivedAt, ev.Changes, ev.ChangesOmitted, ev.Superseded, ev.Failed,
	})
}

func (d *DeadLetter) decode(raw []byte) error {
	var is copied
	if err := json.Unmarshal(raw, &is); err != nil {
		return fmt.Errorf("copy of the event: %w", err)
	}
	decode := func() (*event.Event, error) { return event.DecodeBody(is.Channel, is.Evidence.Body) }
	if is.Channel == "" {
		decode = func() (*event.Event, error) { return decodeSynthetic(is.Evidence.Body) }
	}
	ev, err := decode()
	if err != nil {
		return fmt.Errorf("copy of the event: %w", err)
	}
	ev.Position, ev.Source, ev.Evidence, ev.ReceivedAt = d.Position, is.Source, is.Evidence, is.ReceivedAt
	ev.Changes, ev.ChangesOmitted, ev.Superseded, ev.Failed = is.Changes, is.Omitted, is.Superseded, is.Failed
	d.event = ev
	return nil
}

func (c *Consumer) deadLetter(it *item, reason string, run *laneRun, now time.Time) *DeadLetter {
	d := &DeadLetter{
		Plugin: c.cfg.Name, Key: it.key, Position: it.ev.Position, EventID: it.ev.ID, Type: it.ev.Type,
		TenantID: it.ev.TenantID, Reason: reason, Attempts: 1, History: []Failure{{now, reason}},
		CreatedAt: now, UpdatedAt: now, event: it.ev,
	}
	if run != nil && run.lane.Head == it.first() && len(run.lane.History) > 0 {
		d.Attempts, d.History = run.lane.Attempts, run.lane.History
	}
	return d
}

// judgeLetter settles an operator's retry of a dead letter and returns its name
// for observers.
func (c *Consumer) judgeLetter(b *batch, d *DeadLetter, kind pluginpb.Verdict_Kind, reason string, ch *changes) string {
	now := c.deps.Now()
	switch kind {
	case pluginpb.Verdict_KIND_APPLIED, pluginpb.Verdict_KIND_SKIPPED:
		ch.gone = append(ch.gone, d)
		if kind == pluginpb.Verdict_KIND_SKIPPED {
			return "skipped"
		}
		return "applied"
	case pluginpb.Verdict_KIND_AGAIN:
		return "again" // it is still to be retried, and is found at once
	case pluginpb.Verdict_KIND_HALT:
		c.halt(b, reason)
		return "halt"
	}
	d.Retry = false
	d.Attempts++
	d.Reason, d.UpdatedAt = reason, now
	d.History = append(d.History, Failure{now, reason})
	if extra := len(d.History) - historyKept; extra > 0 {
		d.History = d.History[extra:]
	}
	ch.retried = append(ch.retried, d)
	return "dead"
}

// retryLetters delivers dead letters that an operator wants delivered: oldest
// first, many in a call, and a key in one call at most.
func (c *Consumer) retryLetters(ctx context.Context) error {
	if c.deps.Now().Before(c.notBefore) {
		return nil
	}
	calls, limit := c.limits.lettersInFlight, c.letterLimit
	if c.breaker.isOpen() { // it is a probe, and the only call
		calls, limit = 1, 1
		if c.busy() {
			return nil
		}
	}
	suspects := c.onTrial()
	where, args := c.mine()
	for after := int64(0); c.letters < calls && c.runs < c.limits.lanesInFlight; {
		size := 0
		letters, err := readLetters(ctx, c.deps.Store.ReadSQL(), func(d *DeadLetter) bool {
			size += len(d.event.Evidence.Body)
			return size < c.limits.batchBytes
		}, where+` AND retry = ? AND id > ? AND `+notParked+` ORDER BY id LIMIT ?`, append(slices.Clip(args), true, after, limit)...)
		if err != nil || len(letters) == 0 {
			return err
		}
		after = letters[len(letters)-1].ID
		b := &batch{probe: c.breaker.isOpen()}
		for _, d := range letters {
			if c.flying[d.Key] || suspects[d.Key] {
				continue // found again when the call is back
			}
			b.items = append(b.items, &item{ev: d.event, key: d.Key})
			b.letters = append(b.letters, d)
		}
		if len(b.items) > 0 {
			c.letters++
			c.send(b)
		}
	}
	return nil
}

// lettersInterrupted handles a call with dead letters that ended without an
// answer. One that was alone has failed; more go out again in smaller calls, so
// that it shows whose fault it is.
func (c *Consumer) lettersInterrupted(b *batch, reason string, ch *changes) {
	if len(b.items) == 1 {
		c.judgeLetter(b, b.letters[0], pluginpb.Verdict_KIND_RETRY, reason, ch)
		return
	}
	c.letterLimit = max(len(b.items)/2, 1)
}

// notParked leaves out the dead letters that hold a lane: the lane delivers their
// events, in their place.
const notParked = `NOT EXISTS (SELECT 1 FROM avhub_lanes l
 WHERE l.id = avhub_dead_letters.plugin || '/' || avhub_dead_letters.key AND l.parked = avhub_dead_letters.position)`

var errEnough = errors.New("enough")

const letterColumns = `id, plugin, key, position, event_id, type, tenant_id, event, reason, attempts, history, retry, replay, created_at, updated_at`

// readLetters reads dead letters; more, if set, has their events read, too, and
// ends the list after the letter for which it returns false.
func readLetters(ctx context.Context, db store.SQL, more func(*DeadLetter) bool, where string, args ...any) ([]*DeadLetter, error) {
	var letters []*DeadLetter
	err := db.Query(ctx, func(rows *sql.Rows) error {
		d := &DeadLetter{}
		var ev, history []byte
		var created, updated int64
		if err := rows.Scan(&d.ID, &d.Plugin, &d.Key, &d.Position, &d.EventID, &d.Type, &d.TenantID, &ev,
			&d.Reason, &d.Attempts, &history, &d.Retry, &d.Replay, &created, &updated); err != nil {
			return err
		}
		d.CreatedAt, d.UpdatedAt = time.UnixMicro(created).UTC(), time.UnixMicro(updated).UTC()
		if len(history) > 0 {
			if err := json.Unmarshal(history, &d.History); err != nil {
				return fmt.Errorf("history of dead letter %d: %w", d.ID, err)
			}
		}
		letters = append(letters, d)
		if more == nil {
			return nil
		}
		if err := d.decode(ev); err != nil {
			return fmt.Errorf("dead letter %d: %w", d.ID, err)
		}
		if !more(d) {
			return errEnough
		}
		return nil
	}, `SELECT `+letterColumns+` FROM avhub_dead_letters WHERE `+where, args...)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return letters, nil
}
