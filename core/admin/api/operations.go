package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// parameterDoc is a query parameter of an operation.
type parameterDoc struct {
	name, about string
	schema      object
}

var (
	pluginParam  = parameterDoc{"plugin", "Only those of the plugin with this name.", text()}
	limitParam   = parameterDoc{"limit", "How many.", object{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit}}
	lookErrors   = []string{"304", "400", "401", "403", "503"}
	oneErrors    = append([]string{"404"}, lookErrors...)
	changeErrors = []string{"400", "401", "403", "404", "409", "413", "415", "503"}
)

// operations are all that operators can do. Each path and method is there once.
var operations = []operation{
	{
		method: http.MethodGet, path: "plugins", id: "listPlugins", about: "List plugins and how far they have come",
		gives: "Plugins", more: lookErrors,
		do: func(ctx context.Context, c *call) (any, error) { return data(c.a.operator.Plugins(ctx)) },
	},
	{
		method: http.MethodGet, path: "plugins/{name}", id: "getPlugin", about: "One of the plugins",
		gives: "Plugin", more: oneErrors,
		do: func(ctx context.Context, c *call) (any, error) { return c.a.operator.Plugin(ctx, c.args[0]) },
	},
	{
		method: http.MethodGet, path: "plugins/{name}/state", id: "listStates", about: "List what a plugin remembers, in the order of the keys",
		params: []parameterDoc{
			limitParam, {"cursor", "The page after the one that gave this as next, with the same prefix.", text()},
			{"prefix", "Only keys that begin with this, such as tenant:.", text()},
		},
		gives: "StatePage", more: oneErrors, do: listStates,
	},
	{
		method: http.MethodGet, path: "plugins/{name}/state/{key}", id: "getState", about: "What a plugin remembers for a key",
		gives: "State", more: oneErrors,
		do: func(ctx context.Context, c *call) (any, error) { return c.a.operator.State(ctx, c.args[0], c.args[1]) },
	},
	{
		method: http.MethodPost, path: "plugins/{name}/pause", id: "pausePlugin", about: "Stop deliveries to a plugin, on all hubs",
		takes: "Pause", gives: "Plugin", more: changeErrors,
		do: func(ctx context.Context, c *call) (any, error) {
			var wish struct {
				Reason string `json:"reason"`
			}
			if err := c.into(&wish); err != nil {
				return nil, err
			}
			return c.steer(ctx, c.a.operator.Pause(ctx, c.args[0], wish.Reason))
		},
	},
	{
		method: http.MethodPost, path: "plugins/{name}/resume", id: "resumePlugin", about: "Let a plugin go on where it stopped",
		takes: "Nothing", gives: "Plugin", more: changeErrors,
		do: func(ctx context.Context, c *call) (any, error) {
			if err := c.into(&struct{}{}); err != nil {
				return nil, err
			}
			return c.steer(ctx, c.a.operator.Resume(ctx, c.args[0]))
		},
	},
	{
		method: http.MethodPost, path: "plugins/{name}/restart", id: "restartPlugin", about: "Drain a plugin's process and start it anew",
		takes: "Nothing", gives: "Plugin", more: changeErrors,
		do: func(ctx context.Context, c *call) (any, error) {
			if err := c.into(&struct{}{}); err != nil {
				return nil, err
			}
			return c.steer(ctx, c.a.operator.Restart(ctx, c.args[0]))
		},
	},
	{
		method: http.MethodGet, path: "replays", id: "listReplays", about: "List replays and snapshots, newest first",
		params: []parameterDoc{pluginParam, {"running", "Only those that go on.", object{"type": "boolean"}}, limitParam},
		gives:  "Replays", more: lookErrors,
		do: func(ctx context.Context, c *call) (any, error) {
			limit, err := c.number("limit", 1, maxLimit, defaultLimit)
			if err != nil {
				return nil, err
			}
			running, err := c.flag("running")
			if err != nil {
				return nil, err
			}
			return data(c.a.operator.Replays(ctx, c.params["plugin"], running, int(limit)))
		},
	},
	{
		method: http.MethodPost, path: "replays", id: "startReplay", about: "Have a plugin get events again; with dry_run, only count them (200)",
		takes: "ReplayWish", gives: "Replay", more: changeErrors, do: startReplay,
	},
	{
		method: http.MethodGet, path: "replays/{id}", id: "getReplay", about: "One of the replays",
		gives: "Replay", more: oneErrors,
		do: func(ctx context.Context, c *call) (any, error) {
			id, err := numberOf(c.args[0])
			if err != nil {
				return nil, err
			}
			return c.a.operator.Replay(ctx, id)
		},
	},
	{
		method: http.MethodDelete, path: "replays/{id}", id: "cancelReplay", about: "End a replay; what it has delivered stays delivered",
		gives: "Replay", more: changeErrors,
		do: func(ctx context.Context, c *call) (any, error) {
			id, err := numberOf(c.args[0])
			if err != nil {
				return nil, err
			}
			return c.a.operator.CancelReplay(ctx, id)
		},
	},
	{
		method: http.MethodGet, path: "deliveries", id: "listDeliveries", about: "List lanes and dead letters, oldest first",
		params: []parameterDoc{
			pluginParam,
			{"key", "Only those of this key, such as tenant:t1.", text()},
			{"tenant", "Only those of the tenant with this id.", text()},
			{"type", "Only dead letters of events of this type; tenant.* for all below.", text()},
			{"since", "Only those that first failed since then.", instant()},
			{"until", "Only those that first failed before then.", instant()},
			{"reason", "Only those whose last error contains this, in any case.", text()},
			{"id", "Only the dead letter with this number.", whole()},
			{"limit", "How many lanes, and how many dead letters.", limitParam.schema},
		},
		gives: "Deliveries", more: lookErrors, do: listDeliveries,
	},
	{
		method: http.MethodPost, path: "deliveries/retry", id: "retryDeliveries", about: "Try lanes now, and deliver dead letters again",
		takes: "Operation", gives: "Operated", more: changeErrors,
		do: func(ctx context.Context, c *call) (any, error) { return c.bulk(ctx, c.a.operator.Retry) },
	},
	{
		method: http.MethodPost, path: "deliveries/discard", id: "discardDeliveries",
		about: "Give up the first event of lanes, and delete dead letters",
		takes: "Operation", gives: "Operated", more: changeErrors,
		do: func(ctx context.Context, c *call) (any, error) { return c.bulk(ctx, c.a.operator.Discard) },
	},
}

// data is a list that comes as one page.
func data(list any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return map[string]any{"data": list}, nil
}

// steer tells how a plugin is after what was done to it.
func (c *call) steer(ctx context.Context, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return c.a.operator.Plugin(ctx, c.args[0])
}

func listStates(ctx context.Context, c *call) (any, error) {
	limit, err := c.number("limit", 1, maxLimit, defaultLimit)
	if err != nil {
		return nil, err
	}
	list, filters := "plugins/"+c.args[0]+"/state", map[string]string{"prefix": c.params["prefix"]}
	after, err := openCursor(list, filters, c.params["cursor"])
	if err != nil {
		return nil, err
	}
	states, err := c.a.operator.States(ctx, c.args[0], c.params["prefix"], after, int(limit)+1)
	if err != nil {
		return nil, err
	}
	page := struct {
		Data []State `json:"data"`
		Next *string `json:"next"`
	}{Data: states}
	if len(states) > int(limit) {
		page.Data = states[:limit]
		next := makeCursor(list, filters, page.Data[limit-1].Key)
		page.Next = &next
	}
	return page, nil
}

func startReplay(ctx context.Context, c *call) (any, error) {
	var w ReplayWish
	if err := c.into(&w); err != nil {
		return nil, err
	}
	switch {
	case w.Plugin == "":
		return nil, Invalid("plugin is missing: say whose replay it is")
	case w.FromPosition < 0 || w.ToPosition < 0:
		return nil, Invalid("positions are numbers from 1")
	case w.ToPosition > 0 && w.ToPosition < w.FromPosition:
		return nil, Invalid("to_position lies before from_position")
	case !w.Until.IsZero() && !w.Since.Before(w.Until):
		return nil, Invalid("until lies before since")
	case w.Rate != nil && (*w.Rate < 0 || *w.Rate > 1_000_000):
		return nil, Invalid("rate is a number from 0 to 1000000")
	case len(w.Types) > 100:
		return nil, Invalid("types are 100 at most")
	}
	if w.DryRun {
		return c.a.operator.PlanReplay(ctx, w)
	}
	r, err := c.a.operator.StartReplay(ctx, w)
	return created{r}, err
}

func listDeliveries(ctx context.Context, c *call) (any, error) {
	p := c.params
	s := Selection{Plugin: p["plugin"], Key: p["key"], Tenant: p["tenant"], Type: p["type"], Reason: p["reason"]}
	limit, err := c.number("limit", 1, maxLimit, defaultLimit)
	if err == nil {
		s.ID, err = c.number("id", 1, 1<<62, 0)
	}
	if err == nil {
		s.Since, err = c.time("since")
	}
	if err == nil {
		s.Until, err = c.time("until")
	}
	if err != nil {
		return nil, err
	}
	return c.a.operator.Trouble(ctx, s, int(limit))
}

// operated is the answer to an operation on many.
type operated struct {
	Affected
	DryRun bool `json:"dry_run"`
	// Complete: nothing is left of what was selected.
	Complete bool `json:"complete"`
}

func (c *call) bulk(ctx context.Context, do func(context.Context, Selection) (Affected, error)) (any, error) {
	var wish struct {
		Selection
		All    bool `json:"all"`
		DryRun bool `json:"dry_run"`
	}
	if err := c.into(&wish); err != nil {
		return nil, err
	}
	switch some := wish.Selection != (Selection{}); {
	case wish.ID < 0:
		return nil, Invalid("id is the number of a dead letter")
	case some && wish.All:
		return nil, Invalid("all is for everything; leave it out, or the rest")
	case !some && !wish.All:
		return nil, Invalid(`say which: id, plugin, key, tenant, type, since, until, reason, or "all": true for everything`)
	case wish.DryRun:
		n, err := c.a.operator.Count(ctx, wish.Selection)
		return operated{n, true, false}, err
	}
	n, err := do(ctx, wish.Selection)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil && n != (Affected{}) {
		return operated{n, false, false}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("change lanes and dead letters: %w", err)
	}
	return operated{n, false, true}, nil
}
