package laws

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// engine judges one connector.
type engine struct {
	s       Subject
	opts    Options
	info    *pluginpb.DescribeResponse
	types   []string
	salt    string
	lastLog string
	blind   bool // nobody can look at the world
}

// rule is a law and how it is judged.
type rule struct {
	Law
	flavour flavour
	// slow rules start processes: they get fewer histories.
	slow bool
	// quick rules see only a part of what can go wrong in each history: they get
	// more.
	quick bool
	// wire rules are decided by what the wire shows, without looking outside.
	wire bool
	// applies says why the law says nothing about this connector.
	applies func(e *engine) error
	write   func(e *engine, rng *rand.Rand, f flavour) script // nil: the usual
	judge   func(ctx context.Context, e *engine, s script) error
}

// Judge judges one connector.
type Judge struct {
	e *engine
}

// New makes a judge, and looks whether there is something to judge: the error
// says that the connector does not start, that it fails when nothing is wrong,
// or that nothing comes of what it does.
func New(ctx context.Context, s Subject, opts Options) (*Judge, error) {
	if opts.Histories <= 0 {
		opts.Histories = 6
	}
	e := &engine{s: s, opts: opts, salt: fmt.Sprintf("%08x", uint32(opts.Seed^opts.Seed>>32))}
	if err := e.describe(ctx); err != nil {
		return nil, err
	}
	if err := e.overture(ctx); err != nil {
		return nil, err
	}
	return &Judge{e}, nil
}

// Law judges by one law. The error says that something went wrong that is not
// the connector's fault.
func (j *Judge) Law(ctx context.Context, number int) (Result, error) {
	for _, r := range rules() {
		if r.Number == number {
			return j.e.law(ctx, r)
		}
	}
	return Result{}, fmt.Errorf("there is no law %d", number)
}

// Run judges by all laws, or those of Options.Laws.
func Run(ctx context.Context, s Subject, opts Options) (Report, error) {
	j, err := New(ctx, s, opts)
	if err != nil {
		return Report{}, err
	}
	report := Report{Connector: j.e.info.GetName(), Version: j.e.info.GetVersion(), Seed: opts.Seed, OK: true}
	for _, law := range All() {
		if len(opts.Laws) > 0 && !slices.Contains(opts.Laws, law.Number) {
			continue
		}
		if opts.Began != nil {
			opts.Began(law)
		}
		result, err := j.Law(ctx, law.Number)
		if err != nil {
			return Report{}, err
		}
		report.OK = report.OK && result.Outcome != Broken
		report.Results = append(report.Results, result)
		if opts.Done != nil {
			opts.Done(result)
		}
	}
	return report, nil
}

// All are the laws.
func All() []Law {
	var out []Law
	for _, r := range rules() {
		out = append(out, r.Law)
	}
	return out
}

func (e *engine) describe(ctx context.Context) error {
	life, err := e.s.Start(ctx)
	if err != nil {
		return fmt.Errorf("starting the connector: %w", err)
	}
	defer life.Kill()
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	e.info, err = life.Client().Describe(ctx, &pluginpb.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("asking the connector who it is: %w", err)
	}
	e.types = wanted(e.info.GetEvents())
	if len(e.types) == 0 {
		return errors.New("the connector wants no events: name some in Info.Events")
	}
	return nil
}

// newProvider is one whose events are such as this connector is handed.
func (e *engine) newProvider(salt string) *provider {
	p := newProvider(e.info.GetOrder(), salt)
	p.bodies = slices.Contains(e.info.GetFeatures(), plugin.FeatureBody)
	p.counts = slices.Contains(e.info.GetFeatures(), plugin.FeatureCounts)
	return p
}

// overture plays a few plain histories. A connector that fails then is not
// ready to be judged, and one that does nothing would keep every law.
func (e *engine) overture(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(e.opts.Seed, 0))
	for range 3 {
		done, err := e.plain(ctx, write(rng, e.types, flavour{steps: 12}))
		if err != nil || done {
			return err
		}
	}
	return errors.New("36 events changed nothing that look shows, so there is nothing to judge: " +
		"does look show what the connector does, and does the connector reach the world by its configuration?")
}

func (e *engine) plain(ctx context.Context, s script) (bool, error) {
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return false, err
	}
	defer st.close()
	e.blind = st.world.Look == nil
	history, _ := e.history(s)
	empty, err := st.look(ctx)
	if err != nil {
		return false, err
	}
	if err := st.play(ctx, history); err != nil {
		st.close()
		return false, fmt.Errorf("a plain history does not get through: %w%s", err, indented("the connector logged", tail(e.lastLog, 6)))
	}
	full, err := st.look(ctx)
	return e.blind || full != empty, err
}

func indented(head string, lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "\n" + head + ":\n  " + strings.Join(lines, "\n  ")
}

// law judges by one law.
func (e *engine) law(ctx context.Context, r rule) (Result, error) {
	began := time.Now()
	result := Result{Law: r.Law, Outcome: Held}
	finish := func() Result {
		result.Took = time.Since(began).Milliseconds()
		return result
	}
	if r.applies != nil {
		if err := r.applies(e); err != nil {
			result.Outcome, result.Why = Undecided, err.Error()
			return finish(), nil
		}
	}
	n := e.opts.Histories
	if r.slow {
		n = (n + 2) / 3
	}
	if r.quick {
		n *= 3
	}
	rng := rand.New(rand.NewPCG(e.opts.Seed, uint64(r.Number)))
	fails := func(s script) error { return r.judge(ctx, e, s) }
	held, why := 0, ""
	for range n {
		var s script
		if r.write != nil {
			s = r.write(e, rng, r.flavour)
		} else {
			s = write(rng, e.types, r.flavour)
		}
		err := fails(s)
		if ctx.Err() != nil { // whatever failed, that is why
			return Result{}, context.Cause(ctx)
		}
		var no *undecided
		switch {
		case err == nil:
			held++
		case errors.As(err, &no):
			why = no.why
		case isBreach(err):
			log := e.lastLog
			within := e.opts.Shrink
			if within == 0 {
				within = min(20*time.Second, max(2*time.Second, 8*time.Since(began)))
			}
			if shorter, again := shrink(s, fails, within); again != nil {
				s, err, log = shorter, again, e.lastLog
			}
			if ctx.Err() != nil {
				return Result{}, context.Cause(ctx)
			}
			result.Outcome, result.Why, result.Log = Broken, err.Error(), tail(log, 10)
			history, _ := e.history(s)
			for _, t := range history {
				result.History = append(result.History, fmt.Sprintf("%d  %s", t.ev.GetPosition(), t.note))
			}
			return finish(), nil
		default:
			return Result{}, fmt.Errorf("judging by law %d: %w", r.Number, err)
		}
	}
	switch {
	case held == 0:
		result.Outcome, result.Why = Undecided, why
	case e.blind && !r.wire:
		result.Outcome = Undecided
		result.Why = "nothing was wrong on the wire; what it did outside can only be seen in a fake world"
	}
	return finish(), nil
}

// tail is the last n lines of a log.
func tail(log string, n int) []string {
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(0, len(lines)-n):]
}

// baseline is a history that was played without any trouble.
type baseline struct {
	history  []told
	provider *provider
	look     string
	probes   []probe // of each event
}

// probe is what an event made the connector do.
type probe struct {
	plain      int // requests before any answer AGAIN
	again      bool
	afterAgain int // requests after one
	verdict    *pluginpb.Verdict
}

// baseline plays a script one event a call.
func (e *engine) baseline(ctx context.Context, s script) (*baseline, error) {
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return nil, err
	}
	defer st.close()
	b := &baseline{}
	b.history, b.provider = e.history(s)
	for _, t := range b.history {
		var p probe
		st.onCall = func(_ *pluginpb.Event, afterAgain bool) func() {
			before := st.world.Gate.Requests()
			return func() {
				n := st.world.Gate.Requests() - before
				if afterAgain {
					p.again, p.afterAgain = true, max(p.afterAgain, n)
				} else {
					p.plain = max(p.plain, n)
				}
			}
		}
		verdicts, err := st.settle(ctx, t.ev)
		if err != nil {
			return nil, err
		}
		p.verdict = verdicts[0]
		b.probes = append(b.probes, p)
	}
	b.look, err = st.look(ctx)
	return b, err
}

// requests tells whether the connector's requests come through the gate.
func (b *baseline) requests() bool {
	return slices.ContainsFunc(b.probes, func(p probe) bool { return p.plain+p.afterAgain > 0 })
}
