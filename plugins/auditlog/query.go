package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/entry"
	"github.com/avhub/avhub/plugins/auditlog/ledger"
	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"github.com/avhub/avhub/plugins/auditlog/vault"
	"github.com/spf13/cobra"
)

// query chooses entries.
type query struct {
	tenant, target, actor, typ, kind, event, source string
	from, to                                        string
	unseal                                          bool
	reason                                          string

	begin, end time.Time
}

func (q *query) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&q.tenant, "tenant", "", "only of this tenant (`id`)")
	f.StringVar(&q.target, "target", "", "only what was done to this: an `id`, or kind:id")
	f.StringVar(&q.actor, "actor", "", "only what this person did (`id`)")
	f.StringVar(&q.typ, "type", "", "only events of this `type`: tenant.updated, or tenant.* for a family")
	f.StringVar(&q.kind, "kind", "", "only entries of this `kind`: event, conflict, erased, held, released, disclosed, opened, key_rotated, heartbeat")
	f.StringVar(&q.event, "event", "", "only the event with this `id`")
	f.StringVar(&q.from, "from", "", "only from this `time` on: 2026-01-31, or 2026-01-31T15:04:05Z")
	f.StringVar(&q.to, "to", "", "only before this `time`")
}

func (q *query) unsealFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&q.unseal, "unseal", false, "show what is personal in plain text; the trail will tell that you read it")
	cmd.Flags().StringVar(&q.reason, "reason", "", "why you read it, for --unseal")
}

func (q *query) parse() error {
	for _, t := range []struct {
		flag, text string
		at         *time.Time
	}{{"--from", q.from, &q.begin}, {"--to", q.to, &q.end}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.DateOnly, t.text)
		if err != nil {
			if at, err = time.Parse(time.RFC3339, t.text); err != nil {
				return fmt.Errorf("%s takes a day, 2026-01-31, or a time, 2026-01-31T15:04:05Z; it was %q", t.flag, t.text)
			}
		}
		*t.at = at
	}
	if q.unseal && strings.TrimSpace(q.reason) == "" {
		return errors.New("--unseal needs --reason, which the trail will tell")
	}
	if !q.unseal && q.reason != "" {
		return errors.New("--reason goes with --unseal")
	}
	return nil
}

func (q *query) matches(e *entry.Entry) bool {
	family, all := strings.CutSuffix(q.typ, "*")
	switch {
	case q.tenant != "" && e.Tenant != q.tenant,
		q.kind != "" && e.Kind != q.kind,
		q.event != "" && e.EventID != q.event,
		q.source != "" && e.Source != q.source,
		q.actor != "" && (e.Actor == nil || e.Actor.ID != q.actor),
		q.typ != "" && !all && e.Type != q.typ,
		all && !strings.HasPrefix(e.Type, family),
		q.target != "" && !concerns(e, q.target),
		!q.begin.IsZero() && (e.OccurredAt == nil || e.OccurredAt.Before(q.begin)),
		!q.end.IsZero() && (e.OccurredAt == nil || !e.OccurredAt.Before(q.end)):
		return false
	}
	return true
}

// concerns tells whether an entry is about something: its target, or another row
// that it changes.
func concerns(e *entry.Entry, target string) bool {
	if e.Target != nil && (e.Target.ID == target || e.Target.Kind+":"+e.Target.ID == target) {
		return true
	}
	return slices.ContainsFunc(e.Changes, func(c entry.Change) bool { return strings.HasPrefix(c.Path, target+"/") })
}

// found is an entry with its place.
type found struct {
	Index int64        `json:"index"`
	Entry *entry.Entry `json:"entry"`
	raw   []byte
}

// entries reads the whole trail, which proves it, and calls visit with what was
// chosen. What visit was told is proved only when there is no error.
func (t *tool) entries(ctx context.Context, p place, head tiles.Checkpoint, q query, visit func(found) error) error {
	progress := t.progress("read")
	err := p.files().Scan(ctx, head.Head, func(i int64, data []byte) error {
		if progress != nil && i%4096 == 0 {
			progress(i, head.Size)
		}
		e, err := entry.Decode(data)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if !q.matches(e) {
			return nil
		}
		return visit(found{i, e, data})
	})
	if progress != nil {
		progress(head.Size, head.Size)
	}
	if err != nil {
		return t.damaged(err)
	}
	return nil
}

// find looks for the entry of an event.
func (t *tool) find(ctx context.Context, p place, head tiles.Checkpoint, event, source string) (int64, error) {
	var at []found
	err := t.entries(ctx, p, head, query{event: event, source: source, kind: entry.Event}, func(f found) error {
		at = append(at, f)
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case len(at) == 0:
		return 0, fmt.Errorf("no entry tells of event %s, among %d that are under the checkpoint", event, head.Size)
	case len(at) > 1:
		return 0, fmt.Errorf("two sources have an event %s: say which by --source %s or --source %s", event, at[0].Entry.Source, at[1].Entry.Source)
	}
	return at[0].Index, nil
}

// unsealed is what opens sealed values, after the trail was told that somebody
// reads them; nil: nothing is to be opened.
func (t *tool) unsealed(ctx context.Context, p place, q query, what string) (*vault.Reader, error) {
	if !q.unseal {
		return nil, nil
	}
	r, err := vault.OpenReader(p.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s has no keys: what is personal can be read beside the connector that wrote the trail, and nowhere else", p.dir)
	}
	if err != nil {
		return nil, err
	}
	_, err = ledger.Ask(ctx, p.dir, ledger.Request{Do: ledger.Disclose, Reason: q.reason, By: account(), What: what})
	if err != nil {
		return nil, fmt.Errorf("tell in the trail that personal data is read: %w", err)
	}
	return r, nil
}
