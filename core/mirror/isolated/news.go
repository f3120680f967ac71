package isolated

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

// progress is how far somebody is with the three things that tenants' databases
// are fed: by position, and by the numbers of rows.
type progress struct {
	events    int64 // of the journal
	facts     int64 // of first fills
	reapplied int64 // events that were applied later than they came
}

// The counters of the dispatcher's progress.
const (
	dispatchCounter  = "tenants_dispatch"
	factsCounter     = "tenants_facts"
	reappliedCounter = "tenants_reapplied"
)

// dispatched returns up to where the dispatcher has looked.
func (d *Databases) dispatched(ctx context.Context) (at progress, err error) {
	err = d.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var name string
		var value int64
		err := rows.Scan(&name, &value)
		switch name {
		case dispatchCounter:
			at.events = value
		case factsCounter:
			at.facts = value
		case reappliedCounter:
			at.reapplied = value
		}
		return err
	}, `SELECT name, value FROM avhub_counters WHERE name IN (?, ?, ?)`, dispatchCounter, factsCounter, reappliedCounter)
	if err != nil {
		return progress{}, fmt.Errorf("read how far tenants' databases were looked after: %w", err)
	}
	return at, nil
}

// advance moves the dispatcher, unless another one has. All counters are
// compared, as a tie that facts make counts for the events that follow.
func (d *Databases) advance(ctx context.Context, from, to progress) error {
	db := d.deps.Store.SQL(ctx)
	for _, c := range []struct {
		name     string
		from, to int64
	}{
		{dispatchCounter, from.events, to.events},
		{factsCounter, from.facts, to.facts},
		{reappliedCounter, from.reapplied, to.reapplied},
	} {
		if c.from == 0 {
			if _, err := db.Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES (?, 0) ON CONFLICT (name) DO NOTHING`, c.name); err != nil {
				return err
			}
		}
		moved, err := db.Exec(ctx, `UPDATE avhub_counters SET value = ? WHERE name = ? AND value = ?`, c.to, c.name, c.from)
		if err != nil {
			return err
		}
		if moved == 0 {
			return errMoved
		}
	}
	return nil
}

// news are what the dispatcher has not seen yet.
type news struct {
	events    []*event.Event
	facts     []mirror.KeptFact
	reapplied []*event.Event
	to        progress
	more      bool
}

// news reads what comes next.
func (d *Databases) news(ctx context.Context, from progress) (*news, error) {
	is, most := &news{to: from}, d.sizes.dispatch
	var err error
	if is.events, err = d.deps.Journal.Read(ctx, Span{After: from.events, Limit: most, MaxBytes: dispatchBytes}); err != nil {
		return nil, err
	}
	if len(is.events) > 0 {
		is.to.events = is.events[len(is.events)-1].Position
	}
	is.facts, err = mirror.KeptFacts(ctx, d.deps.Store, mirror.FactSpan{After: from.facts, Limit: most})
	if err != nil {
		return nil, err
	}
	if len(is.facts) > 0 {
		is.to.facts = is.facts[len(is.facts)-1].ID
	}
	later, err := d.reapplied(ctx, reappliedSpan{after: from.reapplied, limit: most})
	if err != nil {
		return nil, err
	}
	for _, l := range later {
		is.to.reapplied = l.id
		if l.position > is.to.events {
			continue // it is still to come, and no database has it
		}
		events, err := d.deps.Journal.Read(ctx, Span{After: l.position - 1, Until: l.position, Limit: 1})
		if err != nil {
			return nil, err
		}
		is.reapplied = append(is.reapplied, events...)
	}
	is.more = len(is.events) == most || bytesOf(is.events) >= dispatchBytes || len(is.facts) == most || len(later) == most
	return is, nil
}

// people are those whom the news are about, each once.
func (is *news) people() []string {
	subs := map[string]struct{}{}
	for _, events := range [][]*event.Event{is.events, is.reapplied} {
		for _, ev := range events {
			subs[person(ev)] = struct{}{}
		}
	}
	for i := range is.facts {
		subs[is.facts[i].Person.ID] = struct{}{}
	}
	delete(subs, "")
	return slices.Collect(maps.Keys(subs))
}

// noteFacts has the databases looked at of tenants that facts are about, and
// ties the people whom these name.
func (d *Databases) noteFacts(ctx context.Context, n *notes, is *news) error {
	for i := range is.facts {
		f := &is.facts[i]
		if f.Unreadable != nil || f.Tenant.ID == "" {
			d.deps.Log.Warn().Int64("fact", f.ID).Err(f.Unreadable).Msg("what a first fill has read reaches no tenant's own database")
			continue
		}
		n.called[f.Tenant.ID] = struct{}{}
		if err := d.tieNow(ctx, n, tieKey{f.Tenant.ID, f.Person.ID}, 0, is.to.events); err != nil {
			return err
		}
	}
	return nil
}

// noteReapplied has the databases looked at that events concern which were
// passed over when they came.
func (d *Databases) noteReapplied(ctx context.Context, n *notes, is *news) error {
	for _, ev := range is.reapplied {
		tenant := home(ev)
		if tenant == "" {
			if subject := global(ev); subject != "" {
				n.tie(tieKey{"", subject}, ev.Position)
				n.calledAll = true
			}
			continue
		}
		n.called[tenant] = struct{}{}
		if lives(ev) {
			n.alive[tenant] = struct{}{}
		}
		if sub := person(ev); sub != "" {
			if err := d.tieNow(ctx, n, tieKey{tenant, sub}, ev.Position, is.to.events); err != nil {
				return err
			}
		}
	}
	for _, ev := range is.reapplied {
		for _, key := range n.of[homeless(ev)] {
			n.called[key.tenant] = struct{}{}
		}
	}
	return nil
}

// tieNow ties somebody to a tenant later than the events came that are about the
// person and name no tenant. If there are any up to a position, they have to be
// looked for.
func (d *Databases) tieNow(ctx context.Context, n *notes, key tieKey, since, until int64) error {
	if _, tied := n.ties[key]; tied || key.who == "" {
		return nil
	}
	t := n.tie(key, since)
	if until == 0 {
		return nil
	}
	events, err := d.deps.Journal.Read(ctx, Span{Key: personKey(key.who), Until: until, Limit: 1})
	if err == nil && len(events) > 0 {
		t.move(until)
		n.target(key.tenant, until)
	}
	return err
}
