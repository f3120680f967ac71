package plugin

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/avhub/avhub/sdk/schema"
)

// Pure conversions between the author's types and the wire's.

// maxReasonBytes bounds the text of a verdict or diagnostic: it is stored for
// each failing key and shown in lists.
const maxReasonBytes = 2 << 10

func eventFromWire(ev *pluginpb.Event, fence int64) Event {
	out := Event{
		ID:             ev.GetId(),
		Type:           ev.GetType(),
		Key:            ev.GetKey(),
		Subject:        ev.GetSubject(),
		TenantID:       ev.GetTenantId(),
		ApplicationID:  ev.GetApplicationId(),
		Source:         ev.GetSource(),
		Channel:        ev.GetChannel(),
		Position:       ev.GetPosition(),
		Revision:       ev.GetRevision(),
		OccurredAt:     time.UnixMicro(ev.GetOccurredAtUs()).UTC(),
		Attempt:        int(ev.GetAttempt()),
		Replay:         ev.GetReplay(),
		Fence:          fence,
		Superseded:     ev.GetSuperseded(),
		ChangesOmitted: int(ev.GetChangesOmitted()),
		Raw:            ev.GetData(),
		Body:           ev.GetBody(),
		Evidence: Evidence{
			KeyID:        ev.GetEvidence().GetKeyId(),
			Signature:    ev.GetEvidence().GetSignature(),
			SignedSHA256: ev.GetEvidence().GetSignedSha256(),
		},
	}
	if n := len(ev.GetChanges()); n > 0 {
		out.Changes = make([]Change, n)
		for i, c := range ev.GetChanges() {
			out.Changes[i] = Change{Entity: c.GetEntity(), ID: c.GetId(), Field: c.GetField(), Before: c.GetBefore(), After: c.GetAfter()}
		}
	}
	if n := len(ev.GetEntities()); n > 0 {
		out.Entities = make([]Entity, n)
		for i, e := range ev.GetEntities() {
			out.Entities[i] = Entity{Kind: e.GetKind(), ID: e.GetId(), JSON: e.GetJson()}
		}
	}
	return out
}

func verdictToWire(position int64, err error, m *mask) *pluginpb.Verdict {
	kind, after := outcome(err)
	v := &pluginpb.Verdict{Position: position}
	switch kind {
	case verdictApplied:
		v.Kind = pluginpb.Verdict_KIND_APPLIED
	case verdictSkipped:
		v.Kind = pluginpb.Verdict_KIND_SKIPPED
	case verdictAgain:
		v.Kind = pluginpb.Verdict_KIND_AGAIN
	case verdictReject:
		v.Kind = pluginpb.Verdict_KIND_REJECT
	case verdictHalt:
		v.Kind = pluginpb.Verdict_KIND_HALT
	default:
		v.Kind = pluginpb.Verdict_KIND_RETRY
		if after > 0 {
			v.Throttled = true
			// Rounded up, so that a short wait never becomes none.
			v.RetryAfterMs = int64((after-1)/time.Millisecond) + 1
		}
	}
	if err != nil {
		v.Reason = reason(err, m)
	}
	return v
}

// reason makes an error's text fit for the wire. Protobuf refuses to encode
// text that is not UTF-8, and one such text would lose the whole batch.
func reason(err error, m *mask) string {
	return clip(m.hide(err.Error()))
}

func clip(s string) string { return clipTo(s, maxReasonBytes) }

func clipTo(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func (o Order) toWire() pluginpb.Order {
	switch o {
	case PerSubject:
		return pluginpb.Order_ORDER_PER_SUBJECT
	case Total:
		return pluginpb.Order_ORDER_TOTAL
	default:
		return pluginpb.Order_ORDER_PER_TENANT
	}
}

func problemToWire(p schema.Problem) *pluginpb.Diagnostic {
	return &pluginpb.Diagnostic{
		Severity: pluginpb.Diagnostic_SEVERITY_ERROR,
		Path:     clip(p.Path.String()),
		Summary:  clip(p.Summary),
		Detail:   clip(p.Detail),
	}
}

func failure(summary string) []*pluginpb.Diagnostic {
	return []*pluginpb.Diagnostic{{Severity: pluginpb.Diagnostic_SEVERITY_ERROR, Summary: summary}}
}
