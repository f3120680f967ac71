package fanout

import (
	"context"
	"time"

	"github.com/avhub/avhub/core/store"
)

// Trouble is what waits for another attempt or for an operator.
type Trouble struct {
	Lanes       []*Lane       `json:"lanes"`
	DeadLetters []*DeadLetter `json:"dead_letters"`
}

// List returns the lanes and dead letters that f selects, oldest first.
func List(ctx context.Context, st *store.Store, f Filter) (Trouble, error) {
	if f.Limit == 0 {
		f.Limit = 100
	}
	t := Trouble{Lanes: []*Lane{}, DeadLetters: []*DeadLetter{}}
	if w, any := f.lanes(); any {
		lanes, err := readLanes(ctx, st.ReadSQL(), w.String()+" ORDER BY since, key LIMIT ?", append(w.args, f.Limit)...)
		if err != nil {
			return t, err
		}
		for _, l := range lanes {
			if l.NextAt.Equal(parkedUntil) {
				l.NextAt = time.Time{}
			}
		}
		t.Lanes = append(t.Lanes, lanes...)
	}
	w := f.letters()
	letters, err := readLetters(ctx, st.ReadSQL(), nil, w.String()+" ORDER BY id LIMIT ?", append(w.args, f.Limit)...)
	if err != nil {
		return t, err
	}
	t.DeadLetters = append(t.DeadLetters, letters...)
	return t, nil
}
