package plugin

import (
	"context"
	"sync"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// lane is the events of one key in a batch, in the batch's order.
type lane struct {
	key    string
	state  []byte
	events []int
}

type stateOf struct {
	key   string
	bytes []byte
}

// batch collects verdicts and states while lanes run. After answer, what still
// comes in is dropped.
type batch struct {
	events []*pluginpb.Event
	lanes  []lane
	fence  int64

	mu         sync.Mutex
	verdicts   []*pluginpb.Verdict
	running    map[int]struct{}
	states     map[string][]byte
	stateBytes int
	answered   bool
}

func newBatch(req *pluginpb.DeliverRequest) *batch {
	b := &batch{
		events:   req.GetEvents(),
		fence:    req.GetFence(),
		verdicts: make([]*pluginpb.Verdict, len(req.GetEvents())),
		running:  map[int]struct{}{},
		states:   map[string][]byte{},
	}
	laneOf := make(map[string]int, len(b.events))
	for i, ev := range b.events {
		n, ok := laneOf[ev.GetKey()]
		if !ok {
			n = len(b.lanes)
			laneOf[ev.GetKey()] = n
			b.lanes = append(b.lanes, lane{key: ev.GetKey(), state: req.GetStates()[ev.GetKey()]})
		}
		b.lanes[n].events = append(b.lanes[n].events, i)
	}
	return b
}

// mayStart tells whether another event may be started.
func (b *batch) mayStart(ctx context.Context, retired <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-retired:
		return false
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.answered && b.stateBytes < maxBatchState
}

func (b *batch) start(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running[i] = struct{}{}
}

// settle notes the verdict of an event and, in the same step, the state that
// goes with it.
func (b *batch) settle(i int, v *pluginpb.Verdict, st *stateOf) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answered {
		return
	}
	delete(b.running, i)
	b.verdicts[i] = v
	if st != nil {
		b.stateBytes += len(st.bytes) - len(b.states[st.key])
		b.states[st.key] = st.bytes
	}
}

// answer closes the batch and fills in the verdicts of what did not end.
func (b *batch) answer() *pluginpb.DeliverResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = true
	for i, v := range b.verdicts {
		if v != nil {
			continue
		}
		held := &pluginpb.Verdict{Position: b.events[i].GetPosition(), Kind: pluginpb.Verdict_KIND_HELD}
		if _, started := b.running[i]; started {
			held.Kind = pluginpb.Verdict_KIND_RETRY
			held.Reason = "Deliver did not return in time"
		}
		b.verdicts[i] = held
	}
	return &pluginpb.DeliverResponse{Verdicts: b.verdicts, States: b.states}
}
