package access

import (
	"container/list"
	"sync"
)

// cache keeps the most recently used values, each until something changes that
// it was read from.
type cache[K comparable, V any] struct {
	stamps *stamps
	max    int

	mu    sync.Mutex
	byKey map[K]*list.Element // of *kept[K, V]
	order *list.List          // most recently used first
}

type kept[K comparable, V any] struct {
	key   K
	value V
	since uint64
	tags  []tag
}

func newCache[K comparable, V any](s *stamps, most int) *cache[K, V] {
	return &cache[K, V]{stamps: s, max: most, byKey: map[K]*list.Element{}, order: list.New()}
}

func (c *cache[K, V]) get(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return value, false
	}
	k := e.Value.(*kept[K, V])
	if !c.stamps.fresh(k.since, k.tags) {
		return value, false // put replaces it, or the end of the list takes it
	}
	c.order.MoveToFront(e)
	return k.value, true
}

// put keeps a value that was read, after since, from what tags name.
func (c *cache[K, V]) put(key K, value V, since uint64, tags []tag) {
	if c.max <= 0 {
		return
	}
	k := &kept[K, V]{key, value, since, tags}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byKey[key]; e != nil {
		if e.Value.(*kept[K, V]).since <= since {
			e.Value = k
		}
		c.order.MoveToFront(e)
		return
	}
	c.byKey[key] = c.order.PushFront(k)
	if len(c.byKey) > c.max {
		last := c.order.Back()
		delete(c.byKey, last.Value.(*kept[K, V]).key)
		c.order.Remove(last)
	}
}

func (c *cache[K, V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byKey)
}
