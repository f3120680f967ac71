package fanout

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"google.golang.org/protobuf/proto"
)

// requestBytes bounds a call with its events, entities and states; both sides
// of the protocol take 16 MiB.
const requestBytes = 4 << 20

// send loads what travels with a batch's events and calls the plugin beside
// the loop. Events that do not fit stay waiting.
func (c *Consumer) send(ctx context.Context, b *batch) error {
	keys := make([]string, 0, len(b.items))
	var refs []mirror.Ref
	for _, it := range b.items {
		if it.refs == nil {
			it.refs = c.deps.Mirror.Refs(it.ev)
		}
		refs = append(refs, it.refs...)
		keys = append(keys, it.key)
	}
	slices.Sort(keys)
	states, err := c.loadStates(ctx, slices.Compact(keys))
	if err != nil {
		return err
	}
	if b.letter == nil && c.dropSettled(b, states) {
		return nil
	}
	entities, err := c.deps.Mirror.Entities(ctx, refs)
	if err != nil {
		return fmt.Errorf("load entities: %w", err)
	}
	b.states = states
	req := &pluginpb.DeliverRequest{States: map[string][]byte{}}
	size := 0
	fit := len(b.items)
	for i, it := range b.items {
		ev := c.wire(b, i, it)
		for _, ref := range it.refs {
			ev.Entities = append(ev.Entities, &pluginpb.Entity{Kind: ref.Kind, Id: ref.ID, Json: entities[ref]})
		}
		n := proto.Size(ev)
		if n > maxEvent {
			if i == 0 {
				return c.oversized(ctx, b, n)
			}
			fit = i
			break
		}
		if state, ok := states[it.key]; ok && req.States[it.key] == nil {
			n += len(state.data)
		}
		if size+n > requestBytes && i > 0 {
			fit = i
			break
		}
		size += n
		req.Events = append(req.Events, ev)
		if state, ok := states[it.key]; ok && len(state.data) > 0 {
			req.States[it.key] = state.data
		}
	}
	for _, it := range b.items[fit:] {
		it.release()
	}
	b.items = b.items[:fit]
	for _, it := range b.items {
		it.flying = true
		c.flying[it.key] = true
		for _, older := range it.covers {
			older.flying = true
		}
	}
	if b.run != nil || b.letter != nil {
		c.runs++
	} else {
		c.batches++
	}
	b.sent = time.Now()
	go func() {
		// A call in flight is not cut by a shutdown: its effects happen, so its
		// verdicts should be known. Its own time limit ends it.
		call, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		b.resp, b.err = c.deps.Plugin.Deliver(call, req)
		if b.err == nil {
			b.err = checkResponse(req, b.resp)
		}
		c.results <- b // has room for all calls in flight
	}()
	return nil
}

// dropSettled removes events whose verdict a former life of this hub has
// committed beyond its cursor. It reports whether nothing is left to deliver.
func (c *Consumer) dropSettled(b *batch, states map[string]keyState) bool {
	b.items = slices.DeleteFunc(b.items, func(it *item) bool {
		if it.ev.Position > states[it.key].position {
			return false
		}
		it.settled = true
		for _, older := range it.covers {
			older.settled = true
		}
		return true
	})
	if b.run == nil {
		c.window.advance()
	}
	return len(b.items) == 0
}

// wire builds what the plugin is told of an event.
func (c *Consumer) wire(b *batch, i int, it *item) *pluginpb.Event {
	ev := it.ev
	attempt := 1
	if b.run != nil && i == 0 {
		attempt = b.run.lane.Attempts + 1
	}
	if b.letter != nil {
		attempt = b.letter.Attempts + 1
	}
	out := &pluginpb.Event{
		Id: ev.ID, Type: ev.Type, Key: it.key, Position: ev.Position, Revision: ev.Revision(),
		OccurredAtUs: ev.Time.UnixMicro(), Source: ev.Source, Channel: string(ev.Channel),
		Subject: ev.Subject(), TenantId: ev.TenantID, ApplicationId: ev.ApplicationID,
		Attempt: uint32(attempt), Replay: b.letter != nil, Superseded: ev.Superseded,
		ChangesOmitted: uint32(ev.ChangesOmitted), Data: ev.Data,
		Evidence: evidence(ev),
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

// oversized gives up an event that is too large to hand out, by name.
func (c *Consumer) oversized(ctx context.Context, b *batch, size int) error {
	for _, it := range b.items[1:] {
		it.release()
	}
	b.items = b.items[:1]
	b.sent = time.Now()
	b.resp = &pluginpb.DeliverResponse{Verdicts: []*pluginpb.Verdict{{
		Position: b.items[0].ev.Position,
		Kind:     pluginpb.Verdict_KIND_REJECT,
		Reason:   fmt.Sprintf("the event has %d bytes with what travels with it; %d are allowed", size, maxEvent),
	}}}
	return c.commit(ctx, c.judge(b))
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
