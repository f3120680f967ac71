package hub

import (
	"context"
	"strings"
)

// Hints between hubs, followed by a space and the name of the hub that gives it.
const (
	hintJournal = "journal"
	hintLeases  = "leases"
)

func (h *Hub) tell(ctx context.Context, hint string) {
	if !h.others.Load() {
		return
	}
	if err := h.store.Notify(ctx, hint+" "+h.owner); err != nil {
		h.log.Debug().Err(err).Msg("a hint to other hubs was lost; they find out by themselves")
	}
}

// exchangeHints tells other hubs of new events, and listens to what they tell.
// Hints save waiting, nothing more.
func (h *Hub) exchangeHints(ctx context.Context) {
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		h.store.Listen(ctx, h.hear)
	}()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-h.hints:
			bounded, cancel := h.store.Bound(context.WithoutCancel(ctx), leaseWithin)
			h.tell(bounded, hintJournal)
			cancel()
		}
	}
	<-heard
}

func (h *Hub) hear(hint string) {
	kind, from, _ := strings.Cut(hint, " ")
	if from == h.owner {
		return
	}
	if kind != hintLeases {
		h.journal.Nudge()
	}
	if kind != hintJournal {
		h.look()
	}
}

// committed notes that this hub has journaled events.
func (h *Hub) committed() {
	select {
	case h.hints <- struct{}{}:
	default:
	}
}
