package stripefake

import (
	"slices"
	"time"
)

// eventsFor is how long Stripe keeps events.
const eventsFor = 30 * 24 * time.Hour

// tell notes an event of a subscription, as it stands now.
func (s *Server) tell(typ string, x *subscription, before map[string]any) {
	data := map[string]any{"object": s.subscriptionJSON(x, nil)}
	if before != nil {
		data["previous_attributes"] = before
	}
	s.events = append(s.events, map[string]any{
		"id": s.newID("evt"), "object": "event", "type": typ, "created": s.now().Unix(), "data": data, "livemode": false,
		"request": map[string]any{"id": nil, "idempotency_key": nullable(s.working)},
	})
}

func (s *Server) listEvents(p *params) (any, *failure) {
	types, after := p.list("types"), p.text("starting_after")
	from, f := p.number("created[gte]", 0)
	if f != nil {
		return nil, f
	}
	limit, f := p.number("limit", 10)
	if f == nil {
		f = p.rest()
	}
	if f != nil {
		return nil, f
	}
	from = max(from, s.now().Add(-eventsFor).Unix())
	var all []map[string]any
	for _, e := range slices.Backward(s.events) {
		if e["created"].(int64) >= from && (len(types) == 0 || slices.Contains(types, e["type"].(string))) {
			all = append(all, e)
		}
	}
	page, more := pageOf(all, func(e map[string]any) string { return e["id"].(string) }, after, int(limit))
	var data []any
	for _, e := range page {
		data = append(data, e)
	}
	return listJSON("/v1/events", data, more), nil
}
