// Package journal is the append-only log of verified events. It commits events
// in groups, each exactly once, together with what they change in the mirror,
// and answers only when that is durable.
package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Projector is what follows the journal in the same transaction: the mirror.
type Projector interface {
	// Apply projects events, in the order given, within the transaction that
	// ctx carries, and sets their Changes, ChangesOmitted, Superseded and
	// Failed. An event that cannot be projected is marked Failed; an error
	// means that the database failed, and nothing of the group is kept.
	Apply(ctx context.Context, events []*event.Event) error
}

// Observer is told of commits before anybody can see them.
type Observer interface {
	// Committing is called within a transaction that journals events, after
	// their projection and before the commit; what it returns is called when the
	// transaction has ended. committed tells that it surely was committed;
	// otherwise it may have been all the same. Neither call may block.
	Committing(events []*event.Event) (ended func(committed bool))
}

// Errors of Append. Whoever sent the event should send it again later.
var (
	// ErrBusy: as many events wait as may wait.
	ErrBusy = errors.New("the journal's queue is full")
	// ErrClosed: the hub is shutting down.
	ErrClosed = errors.New("the journal is closed")
)

// Options of New. Zero values mean the defaults.
type Options struct {
	Log zerolog.Logger
	// QueueEvents and QueueBytes bound what waits for a commit: 4,096 events and
	// 64 MiB.
	QueueEvents int
	QueueBytes  int64
	// Registerer gets the journal's metrics; nil: none.
	Registerer prometheus.Registerer
	// CommitTimeout ends a commit to a database over a network that no longer
	// answers; its connection is given up, and senders are asked to come back.
	// 15 s by default. SQLite bounds its waits itself.
	CommitTimeout time.Duration
	// Observer is told of commits; nil: nobody is.
	Observer Observer
	// Committed is called after each commit of events, so that other hubs can be
	// told; nil: nobody is. It must not block.
	Committed func()
	// Now is the clock for bookkeeping; nil: the system's.
	Now func() time.Time
}

const (
	// One transaction takes at most so much, so that its latency stays small.
	groupEvents = 512
	groupBytes  = 4 << 20
	// While events come densely, a commit waits this long for company: fewer,
	// larger transactions carry more, and the latency at high load falls.
	linger = time.Millisecond
	// dense is the size of a group from which on events count as coming densely.
	// A lonely event never waits.
	dense = 4

	complainEvery = 5 * time.Second
)

// Journal appends events and reads them back. It is safe for concurrent use.
type Journal struct {
	store     *store.Store
	projector Projector
	observer  Observer
	committed func()
	log       zerolog.Logger
	now       func() time.Time
	metrics   metrics

	queue    chan *request
	maxBytes int64
	timeout  time.Duration // of a commit
	bytes    atomic.Int64  // of bodies in the queue

	closing chan struct{} // closed: no more appends
	once    sync.Once
	appends sync.WaitGroup // appends that are between the check of closing and the queue

	// Of the committer's goroutine alone.
	complained  time.Time
	uncommitted int // events since then

	wakeMu sync.Mutex
	wake   chan struct{} // closed and replaced after each commit
}

type request struct {
	event *event.Event
	id    string   // key of the seen events
	hash  [32]byte // of the body
	reply chan reply
}

type reply struct {
	receipt Receipt
	err     error
}

// New returns a journal on st. Run must run for Append to get answers.
func New(st *store.Store, projector Projector, opts Options) *Journal {
	if opts.QueueEvents == 0 {
		opts.QueueEvents = 4096
	}
	if opts.QueueBytes == 0 {
		opts.QueueBytes = 64 << 20
	}
	if opts.CommitTimeout == 0 {
		opts.CommitTimeout = store.Patience
	}
	if opts.Now == nil {
		opts.Now = store.Now
	}
	j := &Journal{
		store:     st,
		projector: projector,
		observer:  opts.Observer,
		committed: opts.Committed,
		log:       opts.Log,
		now:       opts.Now,
		queue:     make(chan *request, opts.QueueEvents),
		maxBytes:  opts.QueueBytes,
		timeout:   opts.CommitTimeout,
		closing:   make(chan struct{}),
		wake:      make(chan struct{}),
	}
	j.metrics = newMetrics(opts.Registerer, func() float64 { return float64(len(j.queue)) })
	return j
}

// Append commits ev and waits until it is durable. It never waits for room:
// beyond the limits it fails with ErrBusy at once. If ctx ends first, the event
// may be committed all the same; appending it again is harmless.
func (j *Journal) Append(ctx context.Context, ev *event.Event) (Receipt, error) {
	r := newRequest(ev)
	size := int64(len(ev.Evidence.Body))
	if j.bytes.Add(size) > j.maxBytes {
		j.bytes.Add(-size)
		return Receipt{}, ErrBusy
	}
	if err := j.enqueue(r); err != nil {
		j.bytes.Add(-size)
		return Receipt{}, err
	}
	select {
	case answer := <-r.reply:
		return answer.receipt, answer.err
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("wait for the commit of an event: %w", ctx.Err())
	}
}

func (j *Journal) enqueue(r *request) error {
	j.appends.Add(1)
	defer j.appends.Done()
	select {
	case <-j.closing:
		return ErrClosed
	default:
	}
	select {
	case j.queue <- r:
		return nil
	default:
		return ErrBusy
	}
}

// Run commits what is appended until ctx ends; then it refuses new events,
// commits those that wait, and returns.
func (j *Journal) Run(ctx context.Context) {
	last := 0
	for {
		select {
		case r := <-j.queue:
			group := j.collect(r, company(last))
			last = len(group)
			j.commit(group)
		case <-ctx.Done():
			j.once.Do(func() { close(j.closing) })
			j.appends.Wait()
			for {
				select {
				case r := <-j.queue:
					j.commit(j.collect(r, 0))
				default:
					return
				}
			}
		}
	}
}

// company is the size from which on a group need not wait for more, given the
// size of the group before it. What came while that was committed is often
// about as many, and then waiting only costs time.
func company(last int) int {
	if last < dense {
		return 0
	}
	return last * 3 / 4
}

// collect takes what waits, and lingers for more if that is less than company.
func (j *Journal) collect(first *request, company int) []*request {
	group := []*request{first}
	bytes := len(first.event.Evidence.Body)
	full := func() bool { return len(group) >= groupEvents || bytes >= groupBytes }
	add := func(r *request) {
		group = append(group, r)
		bytes += len(r.event.Evidence.Body)
	}
	for !full() {
		select {
		case r := <-j.queue:
			add(r)
			continue
		default:
		}
		break
	}
	if len(group) < company && !full() {
		timer := time.NewTimer(linger)
		defer timer.Stop()
		for !full() {
			select {
			case r := <-j.queue:
				add(r)
				continue
			case <-timer.C:
			}
			break
		}
	}
	j.bytes.Add(-int64(bytes))
	return group
}

// commit writes a group and answers everyone in it.
func (j *Journal) commit(group []*request) {
	start := time.Now()
	receipts, err := j.write(group)
	if err != nil && poisonous(err) {
		j.commitEach(group)
		return
	}
	j.metrics.commit(len(group), time.Since(start), err)
	if err != nil {
		j.complain(len(group), err)
		for _, r := range group {
			r.reply <- reply{err: err}
		}
		return
	}
	j.wakeUp()
	for i, r := range group {
		r.reply <- reply{receipt: receipts[i]}
	}
}

// complain logs a failed commit, but not each of those that an outage makes.
func (j *Journal) complain(events int, err error) {
	j.uncommitted += events
	if now := time.Now(); now.Sub(j.complained) >= complainEvery {
		j.log.Error().Err(err).Int("events", j.uncommitted).
			Msg("events could not be committed; their senders were asked to send them again")
		j.complained, j.uncommitted = now, 0
	}
}

// errPanic is a panic in the projection.
var errPanic = errors.New("panic")

// recoverInto makes an error of a panic in the projection, which must not take
// the hub down with every event that waits.
func recoverInto(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("apply events: %w: %v\n%s", errPanic, p, debug.Stack())
	}
}

// poisonous tells whether one event's content may be to blame for an error, so
// that the others of its group can be committed without it.
func poisonous(err error) bool { return store.IsDataError(err) || errors.Is(err, errPanic) }

// refused is the reason for which a poisonous event is marked as failed.
func refused(err error) string {
	if errors.Is(err, errPanic) {
		reason, _, _ := strings.Cut(err.Error(), "\n") // the stack is in the log
		return "a fault of avhub: " + reason
	}
	return fmt.Sprintf("the database refused a value: %v", err)
}

// commitEach finds the event whose values the database refuses, or that the
// mirror stumbles over. It alone is journaled without the mirror and marked as
// failed; a poisonous event costs only itself.
func (j *Journal) commitEach(group []*request) {
	for _, r := range group {
		start := time.Now()
		one := []*request{r}
		receipts, err := j.write(one)
		if err != nil && poisonous(err) {
			j.log.Warn().Str("source", r.event.Source).Str("event", r.event.ID).Err(err).
				Msg("the mirror could not hold an event; it is journaled and delivered, see `avhub event list --failed`")
			receipts, err = j.writeFailed(one, refused(err))
		}
		j.metrics.commit(1, time.Since(start), err)
		if err != nil {
			j.complain(1, err)
			r.reply <- reply{err: err}
			continue
		}
		j.wakeUp()
		r.reply <- reply{receipt: receipts[0]}
	}
}

func (j *Journal) write(group []*request) (receipts []Receipt, err error) {
	return j.transact(group, j.projector.Apply)
}

func (j *Journal) writeFailed(group []*request, reason string) ([]Receipt, error) {
	return j.transact(group, func(_ context.Context, events []*event.Event) error {
		for _, ev := range events {
			ev.Changes, ev.ChangesOmitted, ev.Superseded, ev.Failed = nil, 0, false, reason
		}
		return nil
	})
}

func (j *Journal) transact(group []*request, project func(context.Context, []*event.Event) error) (receipts []Receipt, err error) {
	defer recoverInto(&err)
	committed := false
	if j.observer != nil {
		var ended func(bool)
		project = j.observed(project, &ended)
		defer func() {
			if ended != nil {
				ended(committed)
			}
		}()
	}
	// Nobody's cancellation gives up a commit halfway.
	bounded, cancel := j.store.Bound(context.Background(), j.timeout)
	defer cancel()
	err = j.store.InTx(bounded, func(ctx context.Context) error {
		receipts, err = j.appendGroup(ctx, group, project)
		return err
	})
	committed = err == nil
	return receipts, err
}

// observed is project with a word to the observer when it is done.
func (j *Journal) observed(project func(context.Context, []*event.Event) error, ended *func(bool)) func(context.Context, []*event.Event) error {
	return func(ctx context.Context, events []*event.Event) error {
		err := project(ctx, events)
		if err == nil {
			*ended = j.observer.Committing(events)
		}
		return err
	}
}

// Wake returns a channel that is closed after the next commit by this hub, or by
// another one that Nudge was told of. It is a hint: hints get lost.
func (j *Journal) Wake() <-chan struct{} {
	j.wakeMu.Lock()
	defer j.wakeMu.Unlock()
	return j.wake
}

// Nudge wakes those who wait, as another hub has committed events.
func (j *Journal) Nudge() {
	j.wakeMu.Lock()
	defer j.wakeMu.Unlock()
	close(j.wake)
	j.wake = make(chan struct{})
}

func (j *Journal) wakeUp() {
	j.Nudge()
	if j.committed != nil {
		j.committed()
	}
}
