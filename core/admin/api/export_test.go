package api

import "time"

// Hurry shortens how long a request waits for its turn, and how long it may work.
func (a *API) Hurry(patience, longest time.Duration) { a.patience, a.longest = patience, longest }

// Occupy takes a turn until the returned function is called.
func (a *API) Occupy() (free func()) {
	a.turns <- struct{}{}
	return func() { <-a.turns }
}

// AtOnce is how many turns there are.
const AtOnce = atOnce
