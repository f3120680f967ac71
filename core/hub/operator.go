package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/avhub/avhub/core/admin/api"
	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
)

// Operator is what the API shows and steers of the plugins on a database. It works
// on the database alone, as the command's verbs do; the hubs find it there.
func Operator(st *store.Store, j fanout.Seeker) api.Operator { return operator{st, j} }

type operator struct {
	store   *store.Store
	journal fanout.Seeker
}

// said turns errors that whoever asked can do something about into answers.
func said(err error) error {
	for _, is := range []error{fanout.ErrNoPlugin, fanout.ErrNoReplay} {
		if errors.Is(err, is) {
			return api.NotFound(is.Error())
		}
	}
	for _, is := range []error{fanout.ErrMoving, fanout.ErrUndescribed} {
		if errors.Is(err, is) {
			return api.Conflict(is.Error())
		}
	}
	return err
}

func (o operator) Plugins(ctx context.Context) (any, error) {
	list, err := fanout.Plugins(ctx, o.store)
	return list, err
}

func (o operator) Plugin(ctx context.Context, name string) (any, error) {
	list, err := fanout.Plugins(ctx, o.store)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(p fanout.Progress) bool { return p.Plugin == name })
	if i < 0 {
		return nil, said(fanout.ErrNoPlugin)
	}
	return list[i], nil
}

func (o operator) Pause(ctx context.Context, name, reason string) error {
	return said(fanout.Pause(ctx, o.store, name, reason))
}

func (o operator) Resume(ctx context.Context, name string) error {
	return said(fanout.Resume(ctx, o.store, name))
}

func (o operator) Restart(ctx context.Context, name string) error {
	return said(fanout.Restart(ctx, o.store, name))
}

func (o operator) States(ctx context.Context, name, prefix, after string, limit int) ([]api.State, error) {
	list, err := fanout.Memory(ctx, o.store, name, prefix, after, limit)
	if err != nil {
		return nil, said(err)
	}
	return o.shown(ctx, name, list)
}

func (o operator) State(ctx context.Context, name, key string) (api.State, error) {
	is, found, err := fanout.Remember(ctx, o.store, name, key)
	if err != nil {
		return api.State{}, said(err)
	}
	if !found {
		return api.State{}, api.NotFound("the plugin remembers nothing for this key")
	}
	list, err := o.shown(ctx, name, []fanout.Remembered{is})
	if err != nil {
		return api.State{}, err
	}
	return list[0], nil
}

func (o operator) shown(ctx context.Context, name string, list []fanout.Remembered) ([]api.State, error) {
	schema, err := fanout.StateSchema(ctx, o.store, name)
	if err != nil {
		return nil, err
	}
	states := make([]api.State, 0, len(list))
	for _, is := range list {
		states = append(states, api.State{
			Key: is.Key, Position: is.Position, Bytes: len(is.State), State: fanout.Shown(is.State, schema), UpdatedAt: is.UpdatedAt,
		})
	}
	return states, nil
}

func (o operator) Replays(ctx context.Context, name string, running bool, limit int) (any, error) {
	list, err := fanout.Replays(ctx, o.store, name, running, limit)
	return list, err
}

func (o operator) Replay(ctx context.Context, id int64) (any, error) {
	r, err := fanout.FindReplay(ctx, o.store, id)
	return r, said(err)
}

// wanted is the replay that a wish describes.
func wanted(w api.ReplayWish) (fanout.Replay, error) {
	r := fanout.Replay{
		Plugin: w.Plugin, After: max(w.FromPosition-1, 0), Until: w.ToPosition, Since: w.Since, Before: w.Until,
		Types: w.Types, Tenant: w.Tenant, Key: w.Key, Rate: fanout.DefaultReplayRate,
	}
	if w.Rate != nil {
		r.Rate = *w.Rate
	}
	for _, p := range w.Types {
		if err := event.ValidatePattern(p); err != nil {
			return r, api.Invalid("types: " + err.Error())
		}
	}
	return r, nil
}

func (o operator) StartReplay(ctx context.Context, w api.ReplayWish) (any, error) {
	r, err := wanted(w)
	if err != nil {
		return nil, err
	}
	r, err = fanout.StartReplay(ctx, o.store, o.journal, r)
	return r, said(err)
}

// replayPlan is what a replay would deliver.
type replayPlan struct {
	Plugin string           `json:"plugin"`
	After  int64            `json:"after"`
	Until  int64            `json:"until"`
	Events int64            `json:"events"`
	Types  map[string]int64 `json:"types"`
}

func (o operator) PlanReplay(ctx context.Context, w api.ReplayWish) (any, error) {
	r, err := wanted(w)
	if err != nil {
		return nil, err
	}
	r, types, err := fanout.CountReplay(ctx, o.store, o.journal, r)
	if err != nil {
		return nil, said(err)
	}
	plan := replayPlan{Plugin: r.Plugin, After: r.After, Until: r.Until, Types: types}
	for _, n := range types {
		plan.Events += n
	}
	return plan, nil
}

func (o operator) CancelReplay(ctx context.Context, id int64) (any, error) {
	r, err := fanout.FindReplay(ctx, o.store, id)
	switch {
	case err != nil:
		return nil, said(err)
	case r.State != fanout.ReplayRunning:
		return nil, api.Conflict(fmt.Sprintf("replay %d is %s already", id, r.State))
	case r.Kind == fanout.ReplaySnapshot:
		return nil, api.Conflict("a snapshot cannot be cancelled, as the log waits for it; reset the plugin to another place instead")
	}
	r, err = fanout.CancelReplay(ctx, o.store, id)
	return r, said(err)
}

// selected is the filter of a selection.
func selected(s api.Selection) (fanout.Filter, error) {
	f := fanout.Filter{
		Plugin: s.Plugin, Key: s.Key, Type: s.Type, Tenant: s.Tenant, Reason: s.Reason, Letter: s.ID, Since: s.Since, Until: s.Until,
	}
	if s.Type != "" {
		if err := event.ValidatePattern(s.Type); err != nil {
			return f, api.Invalid("type: " + err.Error())
		}
	}
	return f, nil
}

func (o operator) Trouble(ctx context.Context, s api.Selection, limit int) (api.Trouble, error) {
	f, err := selected(s)
	if err != nil {
		return api.Trouble{}, err
	}
	f.Limit = limit
	list, err := fanout.List(ctx, o.store, f)
	if err != nil {
		return api.Trouble{}, err
	}
	total, err := fanout.Count(ctx, o.store, f)
	return api.Trouble{Lanes: list.Lanes, DeadLetters: list.DeadLetters, Total: api.Affected(total)}, err
}

func (o operator) Count(ctx context.Context, s api.Selection) (api.Affected, error) {
	f, err := selected(s)
	if err != nil {
		return api.Affected{}, err
	}
	n, err := fanout.Count(ctx, o.store, f)
	return api.Affected(n), err
}

func (o operator) Retry(ctx context.Context, s api.Selection) (api.Affected, error) {
	return o.operate(ctx, s, fanout.Retry)
}

func (o operator) Discard(ctx context.Context, s api.Selection) (api.Affected, error) {
	return o.operate(ctx, s, fanout.Discard)
}

func (o operator) operate(ctx context.Context, s api.Selection, do func(context.Context, *store.Store, fanout.Filter) (fanout.Affected, error)) (api.Affected, error) {
	f, err := selected(s)
	if err != nil {
		return api.Affected{}, err
	}
	n, err := do(ctx, o.store, f)
	return api.Affected(n), err
}
