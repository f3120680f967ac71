package verify

import (
	"context"
	"fmt"
)

// memo keeps what is known of many things: what was used lately in memory, the
// rest in the scratch database.
type memo[K comparable, V any] struct {
	most  int // in memory
	hot   map[K]*V
	load  func(ctx context.Context, key K) (*V, error) // nil: it is not in the scratch database
	store func(ctx context.Context, hot map[K]*V) error
}

// get returns what is known of key, made new if that is nothing. It may be
// changed until the next call.
func (m *memo[K, V]) get(ctx context.Context, key K) (v *V, fresh bool, err error) {
	if v := m.hot[key]; v != nil {
		return v, false, nil
	}
	if len(m.hot) >= m.most {
		if err := m.flush(ctx); err != nil {
			return nil, false, err
		}
	}
	if v, err = m.load(ctx, key); err != nil {
		return nil, false, fmt.Errorf("read from the scratch database: %w", err)
	}
	if fresh = v == nil; fresh {
		v = new(V)
	}
	m.hot[key] = v
	return v, fresh, nil
}

func (m *memo[K, V]) flush(ctx context.Context) error {
	if err := m.store(ctx, m.hot); err != nil {
		return fmt.Errorf("write to the scratch database: %w", err)
	}
	clear(m.hot)
	return nil
}
