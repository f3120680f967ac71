package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
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
	Retry     bool      `json:"retry"` // an operator wants it delivered again
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
	ev, err := event.DecodeBody(is.Channel, is.Evidence.Body)
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
		if d.History[len(d.History)-1].Error != reason {
			d.Attempts++
			d.History = append(d.History[:len(d.History):len(d.History)], Failure{now, reason})
		}
	}
	return d
}

// judgeLetter settles an operator's retry of a dead letter and returns its name
// for observers.
func (c *Consumer) judgeLetter(d *DeadLetter, kind pluginpb.Verdict_Kind, reason string, ch *changes) string {
	now := c.deps.Now()
	switch kind {
	case pluginpb.Verdict_KIND_APPLIED, pluginpb.Verdict_KIND_SKIPPED:
		ch.retried, ch.gone = d, true
		if kind == pluginpb.Verdict_KIND_SKIPPED {
			return "skipped"
		}
		return "applied"
	case pluginpb.Verdict_KIND_AGAIN:
		return "again" // it is still to be retried, and is found at once
	case pluginpb.Verdict_KIND_HELD:
		return "held"
	case pluginpb.Verdict_KIND_HALT:
		c.halted = reason
		return "halt"
	}
	d.Retry = false
	d.Attempts++
	d.Reason, d.UpdatedAt = reason, now
	d.History = append(d.History, Failure{now, reason})
	if extra := len(d.History) - historyKept; extra > 0 {
		d.History = d.History[extra:]
	}
	ch.retried = d
	return "dead"
}

// retryLetters delivers dead letters that an operator wants delivered.
func (c *Consumer) retryLetters(ctx context.Context) error {
	room := c.limits.lanesInFlight - c.runs
	if room <= 0 {
		return nil
	}
	where, args := c.mine()
	letters, err := readLetters(ctx, c.deps.Store.ReadSQL(), true, where+` AND retry = ? ORDER BY id LIMIT ?`, append(args, true, room)...)
	if err != nil {
		return err
	}
	for _, d := range letters {
		if c.flying[d.Key] {
			continue // found again at the next poll
		}
		c.send(&batch{items: []*item{{ev: d.event, key: d.Key}}, letter: d})
	}
	return nil
}

const letterColumns = `id, plugin, key, position, event_id, type, tenant_id, event, reason, attempts, history, retry, created_at, updated_at`

func readLetters(ctx context.Context, db store.SQL, withEvent bool, where string, args ...any) ([]*DeadLetter, error) {
	var letters []*DeadLetter
	err := db.Query(ctx, func(rows *sql.Rows) error {
		d := &DeadLetter{}
		var ev, history []byte
		var created, updated int64
		if err := rows.Scan(&d.ID, &d.Plugin, &d.Key, &d.Position, &d.EventID, &d.Type, &d.TenantID, &ev,
			&d.Reason, &d.Attempts, &history, &d.Retry, &created, &updated); err != nil {
			return err
		}
		d.CreatedAt, d.UpdatedAt = time.UnixMicro(created).UTC(), time.UnixMicro(updated).UTC()
		if len(history) > 0 {
			if err := json.Unmarshal(history, &d.History); err != nil {
				return fmt.Errorf("history of dead letter %d: %w", d.ID, err)
			}
		}
		if withEvent {
			if err := d.decode(ev); err != nil {
				return fmt.Errorf("dead letter %d: %w", d.ID, err)
			}
		}
		letters = append(letters, d)
		return nil
	}, `SELECT `+letterColumns+` FROM avhub_dead_letters WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return letters, nil
}
