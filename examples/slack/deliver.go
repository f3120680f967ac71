package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

// state is what is remembered for a tenant.
type state struct {
	// Pending is the message that is about to be posted; nil: nothing is open.
	Pending *intent `json:"pending,omitempty"`
	// Told is the highest position of which a message was posted: what comes at
	// a lower one may have been told before. 0: none was.
	Told int64 `json:"told,omitempty"`
}

// intent is written down before a message is posted, so that it is known after
// a crash that it may stand in the channel already.
type intent struct {
	// Mark travels with the message; it is found by it.
	Mark string `json:"mark"`
	// Since, in Unix seconds: the message is not older.
	Since int64 `json:"since"`
}

type notifier struct {
	cfg       config
	slack     *slack
	templates []*template // of the routes
	now       func() time.Time

	mu sync.Mutex
	// fresh has the marks, by key, of messages that were certainly not posted.
	fresh map[string]string
}

// Deliver tells of one event.
func (n *notifier) Deliver(ctx context.Context, ev plugin.Event, st *state) error {
	if n.cfg.MaxAge > 0 && !ev.Replay {
		if age := n.now().Sub(ev.OccurredAt); age > n.cfg.MaxAge && st.Pending == nil {
			return plugin.Skip(fmt.Sprintf("it happened on %s, which is longer ago than max_age", ev.OccurredAt.Format(time.DateTime)))
		}
	}
	m, err := n.message(ev)
	if err != nil {
		return err
	}
	if !n.cfg.ExactlyOnce {
		*st = state{} // left behind by a configuration that had exactly_once
		return n.slack.post(ctx, m)
	}
	return n.once(ctx, ev, m, st)
}

// once posts a message that stands in the channel once, whatever happens in
// between. Slack takes no idempotency key. So the intent is saved first, under
// a mark that the message carries; and where it is not certain that nothing was
// posted under it, the channel's history is asked.
func (n *notifier) once(ctx context.Context, ev plugin.Event, m message, st *state) error {
	m.mark = ev.Once("slack-message " + m.channel)
	if st.Pending == nil || st.Pending.Mark != m.mark {
		st.Pending = &intent{Mark: m.mark, Since: n.now().Unix()}
		if ev.Replay || ev.Position <= st.Told {
			// It may have been told long ago, though not before it happened.
			st.Pending.Since = min(st.Pending.Since, ev.OccurredAt.Unix())
		} else {
			n.setFresh(ev.Key, m.mark)
		}
		return plugin.Again()
	}
	if !n.takeFresh(ev.Key, m.mark) {
		found, err := n.slack.find(ctx, m.channel, m.mark, time.Unix(st.Pending.Since, 0))
		if err != nil {
			return err
		}
		if found {
			st.told(ev)
			return nil
		}
	}
	err := n.slack.post(ctx, m)
	switch {
	case err == nil:
		st.told(ev)
	case refusedForGood(err):
		st.Pending = nil
	case notPosted(err):
		n.setFresh(ev.Key, m.mark)
	}
	return err
}

// told notes that an event's message stands in the channel.
func (st *state) told(ev plugin.Event) {
	st.Pending, st.Told = nil, max(st.Told, ev.Position)
}

func (n *notifier) setFresh(key, mark string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fresh[key] = mark
}

// takeFresh tells whether nothing was posted under the mark, and forgets it.
func (n *notifier) takeFresh(key, mark string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	fresh := n.fresh[key] == mark
	delete(n.fresh, key)
	return fresh
}

// message is what is posted.
type message struct {
	channel string
	text    string
	mark    string // empty: none
	event   plugin.Event
}

// message finds the words for an event. The error is the verdict on one that
// is not told.
func (n *notifier) message(ev plugin.Event) (message, error) {
	v, err := viewOf(ev)
	if err != nil {
		return message{}, err
	}
	for i, r := range n.cfg.Routes {
		if !r.takes(v) {
			continue
		}
		if r.Mute {
			return message{}, plugin.Skip(fmt.Sprintf("routes[%d] mutes it", i))
		}
		text, err := n.templates[i].write(v)
		if err != nil {
			return message{}, plugin.Reject(fmt.Errorf("routes[%d].template: %w", i, err))
		}
		if strings.TrimSpace(text) == "" {
			return message{}, plugin.Skip(fmt.Sprintf("the template of routes[%d] has nothing to say about it", i))
		}
		return message{channel: r.Channel, text: text, event: ev}, nil
	}
	return message{}, plugin.Skip("no route is for it")
}

// Check asks Slack who the token belongs to, and what it may do.
func (n *notifier) Check(ctx context.Context) error {
	if n.cfg.WebhookURL != "" {
		return nil // the only way to try an incoming webhook is to post
	}
	return n.slack.check(ctx)
}

// Close lets go of the connections to Slack.
func (n *notifier) Close() error {
	n.slack.client.CloseIdleConnections()
	return nil
}
