package fanout

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"google.golang.org/protobuf/proto"
)

// errNotSent: what travels with the events could not be loaded, so the plugin
// was not called.
var errNotSent = errors.New("the events could not be prepared")

// send calls the plugin beside the loop. Until the batch comes back, nothing of
// it is touched here, and none of its keys goes out again.
func (c *Consumer) send(b *batch) {
	b.all, b.hash = b.items, c.configHash()
	for _, it := range b.all {
		it.flying = true
		c.flying[it.key] = true
		for _, older := range it.covers {
			older.flying = true
		}
	}
	switch {
	case b.replay != nil: // it counts its calls itself
	case b.aside():
		c.runs++
	default:
		c.batches++
	}
	if b.trial != nil && b.trial.died {
		b.exclusive, c.proving = true, true
	} else if b.trial != nil {
		c.hanging++
	}
	quiet := c.deps.Company.begin()
	c.launch(b, func() {
		b.resp, b.err = c.call(b)
		b.quiet = quiet()
		c.deps.Company.end()
		c.results <- b // has room for all calls in flight
	})
}

// call loads what travels with a batch's events, asks the plugin, and holds it
// to the protocol. A call in flight is not cut by a shutdown: its effects
// happen, so its verdicts should be known. Its own time limit ends it.
func (c *Consumer) call(b *batch) (*pluginpb.DeliverResponse, error) {
	ctx, cancel, err := c.lease.bound(context.Background(), c.cfg.CallTimeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	defer cancel()
	b.sent = time.Now()
	req, err := c.prepare(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	if b.oversized > 0 {
		return c.tooLarge(b), nil
	}
	if len(req.GetEvents()) == 0 {
		return &pluginpb.DeliverResponse{}, nil
	}
	b.sent = time.Now()
	if !c.lease.held() { // this process may have been frozen since
		return nil, fmt.Errorf("%w: %w", errNotSent, ErrFenced)
	}
	resp, err := c.deps.Plugin.Deliver(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp, checkResponse(req, resp)
}

// prepare builds the request. Afterwards the batch's items are those that are in
// it: without such as are settled already, and such as do not fit.
func (c *Consumer) prepare(b *batch) (*pluginpb.DeliverRequest, error) {
	ctx, cancel := c.deps.Store.Bound(context.Background(), store.Patience)
	defer cancel()
	keys := make([]string, 0, len(b.items))
	for _, it := range b.items {
		keys = append(keys, it.key)
	}
	slices.Sort(keys)
	var err error
	if b.states, err = c.loadStates(ctx, slices.Compact(keys)); err != nil {
		return nil, err
	}
	var refs []mirror.Ref
	var refsOf [][]mirror.Ref // of each item
	var items []*item
	for _, it := range b.items {
		// A former life of this hub has committed the verdict beyond its cursor.
		known := b.states[it.key].position
		if b.letters == nil && b.replay == nil && it.ev.Position <= known {
			b.settled = append(b.settled, it)
			continue
		}
		it.covers = slices.DeleteFunc(it.covers, func(older *item) bool {
			if older.ev.Position > known {
				return false
			}
			b.settled = append(b.settled, older)
			return true
		})
		items = append(items, it)
		refsOf = append(refsOf, c.deps.Mirror.Refs(it.ev))
		refs = append(refs, refsOf[len(refsOf)-1]...)
	}
	b.items = items
	entities, err := c.deps.Mirror.Entities(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("load entities: %w", err)
	}
	if c.counts {
		if err := c.deps.Mirror.Count(ctx, entities); err != nil {
			return nil, fmt.Errorf("load entities: %w", err)
		}
	}
	req := &pluginpb.DeliverRequest{States: map[string][]byte{}, Fence: c.lease.Epoch}
	size := 0
	for i, it := range b.items {
		ev := c.wire(b, i, it)
		for _, ref := range refsOf[i] {
			ev.Entities = append(ev.Entities, &pluginpb.Entity{Kind: ref.Kind, Id: ref.ID, Json: entities[ref]})
		}
		n := proto.Size(ev)
		// The body says what the data says, once more: asking for it must not make
		// an event too large. But a small data may come in a body of any size.
		if n-len(ev.Body) > c.limits.maxEvent || len(ev.Body) > 2*c.limits.maxEvent {
			if i == 0 {
				b.oversized, i = n, 1
			}
			b.items, b.left = b.items[:i], b.items[i:]
			break
		}
		state := b.states[it.key].data
		if req.States[it.key] == nil {
			n += len(state)
		}
		if size+n > c.limits.requestBytes && i > 0 {
			b.items, b.left = b.items[:i], b.items[i:]
			break
		}
		size += n
		req.Events = append(req.Events, ev)
		if len(state) > 0 {
			req.States[it.key] = state
		}
	}
	return req, nil
}

// tooLarge gives up a batch's first event, by name, in the plugin's place.
func (c *Consumer) tooLarge(b *batch) *pluginpb.DeliverResponse {
	return &pluginpb.DeliverResponse{Verdicts: []*pluginpb.Verdict{{
		Position: b.items[0].ev.Position,
		Kind:     pluginpb.Verdict_KIND_REJECT,
		Reason:   fmt.Sprintf("the event has %d bytes with what travels with it; %d are allowed", b.oversized, c.limits.maxEvent),
	}}}
}

// wire builds what the plugin is told of an event.
func (c *Consumer) wire(b *batch, i int, it *item) *pluginpb.Event {
	ev := it.ev
	attempt := 1
	if b.run != nil && i == 0 {
		attempt = b.run.lane.Attempts + 1
	}
	if b.letters != nil {
		attempt = b.letters[i].Attempts + 1
	}
	if b.replay != nil {
		if f := b.replay.part.ahead.Failing[it.key]; f != nil && b.firstOf(i) {
			attempt = f.Attempts + 1
		}
	}
	out := &pluginpb.Event{
		Id: ev.ID, Type: ev.Type, Key: it.key, Position: ev.Position, Revision: ev.Revision(),
		OccurredAtUs: ev.Time.UnixMicro(), Source: ev.Source, Channel: string(ev.Channel),
		Subject: ev.Subject(), TenantId: ev.TenantID, ApplicationId: ev.ApplicationID,
		Attempt: uint32(attempt), Replay: b.letters != nil || b.replay != nil, Superseded: ev.Superseded,
		ChangesOmitted: uint32(ev.ChangesOmitted), Data: ev.Data,
		Evidence: evidence(ev),
	}
	if c.body && ev.Channel != "" { // nobody sent what has no channel
		out.Body = ev.Evidence.Body
	}
	for _, ch := range ev.Changes {
		out.Changes = append(out.Changes, &pluginpb.Change{
			Entity: ch.Entity, Id: ch.ID, Field: ch.Field, Before: ch.Before, After: ch.After,
		})
	}
	return out
}

func evidence(ev *event.Event) *pluginpb.Evidence {
	if len(ev.Evidence.Signature) == 0 {
		return nil
	}
	sum := sha256.Sum256(ev.Evidence.SignedBytes())
	return &pluginpb.Evidence{KeyId: ev.Evidence.KeyID, Signature: ev.Evidence.Signature, SignedSha256: sum[:]}
}

// checkResponse holds the plugin to the protocol. What breaks it is treated
// like a call without an answer.
func checkResponse(req *pluginpb.DeliverRequest, resp *pluginpb.DeliverResponse) error {
	if got, want := len(resp.GetVerdicts()), len(req.GetEvents()); got != want {
		return fmt.Errorf("the plugin broke the protocol: %d verdicts for %d events", got, want)
	}
	keys := map[string]bool{}
	stopped := map[string]bool{}
	for i, v := range resp.GetVerdicts() {
		ev := req.GetEvents()[i]
		keys[ev.GetKey()] = true
		if v.GetPosition() != ev.GetPosition() {
			return fmt.Errorf("the plugin broke the protocol: verdict %d is for position %d, not %d", i, v.GetPosition(), ev.GetPosition())
		}
		switch v.GetKind() {
		case pluginpb.Verdict_KIND_APPLIED, pluginpb.Verdict_KIND_SKIPPED, pluginpb.Verdict_KIND_REJECT:
			if stopped[ev.GetKey()] {
				return fmt.Errorf("the plugin broke the protocol: it went on with position %d after an unsettled event of the same key", v.GetPosition())
			}
		case pluginpb.Verdict_KIND_AGAIN, pluginpb.Verdict_KIND_RETRY, pluginpb.Verdict_KIND_HALT, pluginpb.Verdict_KIND_HELD:
			if stopped[ev.GetKey()] && v.GetKind() != pluginpb.Verdict_KIND_HELD {
				return fmt.Errorf("the plugin broke the protocol: it attempted position %d after an unsettled event of the same key", v.GetPosition())
			}
			stopped[ev.GetKey()] = true
		default:
			return fmt.Errorf("the plugin broke the protocol: verdict kind %d for position %d", v.GetKind(), v.GetPosition())
		}
	}
	for key, state := range resp.GetStates() {
		if !keys[key] {
			return fmt.Errorf("the plugin broke the protocol: it sent state for a key that was not in the batch")
		}
		if len(state) > stateLimit {
			return fmt.Errorf("the plugin broke the protocol: the state of a key has %d bytes, %d are allowed", len(state), stateLimit)
		}
	}
	return nil
}
