package fanout

import (
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// judgeReplayed settles the verdict on one event of a replay, and returns its
// name for observers; empty: it was not attempted.
func (c *Consumer) judgeReplayed(b *batch, it *item, kind pluginpb.Verdict_Kind, v *pluginpb.Verdict, reason string, ch *changes) string {
	r := b.replay
	now := c.deps.Now()
	counts := &r.part.counts
	settle := func(n *int64) {
		*n++
		it.settle()
		delete(r.part.ahead.Failing, it.key)
	}
	switch kind {
	case pluginpb.Verdict_KIND_APPLIED:
		settle(&counts.Applied)
		return "applied"
	case pluginpb.Verdict_KIND_SKIPPED:
		settle(&counts.Skipped)
		return "skipped"
	case pluginpb.Verdict_KIND_AGAIN:
		it.release()
		return "again"
	case pluginpb.Verdict_KIND_HALT:
		c.halt(b, reason)
		it.release()
		return "halt"
	case pluginpb.Verdict_KIND_HELD:
		it.release()
		return ""
	}
	f := r.part.ahead.Failing[it.key]
	if f == nil {
		f = &replayFailing{}
		r.part.ahead.Failing[it.key] = f
	}
	f.History = append(f.History, Failure{now, reason})
	if extra := len(f.History) - historyKept; extra > 0 {
		f.History = f.History[extra:]
	}
	r.dirty = true
	switch {
	case v.GetThrottled():
		f.NextAt = now.Add(throttle(time.Duration(v.GetRetryAfterMs()) * time.Millisecond))
	default:
		f.Attempts++
		f.NextAt = now.Add(c.deps.Backoff(f.Attempts))
	}
	if kind != pluginpb.Verdict_KIND_REJECT && f.Attempts < replayAttempts {
		it.release()
		return "retry"
	}
	d := c.deadLetter(it, reason, nil, now)
	d.Replay, d.Attempts, d.History = r.ID, f.Attempts, f.History
	ch.letters = append(ch.letters, d)
	settle(&counts.Failed)
	return "dead"
}

// replayInterrupted handles a call that ended without an answer. One event alone
// has failed; more go out again in smaller calls.
func (c *Consumer) replayInterrupted(b *batch, tried bool, reason string, ch *changes) {
	if tried && len(b.items) == 1 {
		retry := &pluginpb.Verdict{Kind: pluginpb.Verdict_KIND_RETRY}
		c.judgeReplayed(b, b.items[0], retry.Kind, retry, reason, ch)
	} else if tried {
		b.replay.limit = max(len(b.items)/2, 1)
	}
	for _, it := range b.items {
		if !it.settled {
			it.release()
		}
	}
}

// moveReplay brings the replay forward after one of its calls.
func (c *Consumer) moveReplay(b *batch, ch *changes) {
	r := b.replay
	r.flying = false
	r.advance()
	if r.cut {
		return // its state is not this consumer's to store any more
	}
	ch.replay = r
}
