package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/avhub/avhub/sdk/schema"
)

func openStateless(context.Context, struct{}, *slog.Logger) (Connector[struct{}], error) {
	return connector[struct{}]{deliver: func(context.Context, Event, *struct{}) error { return nil }}, nil
}

func TestDescribeSaysWhoTheConnectorIs(t *testing.T) {
	t.Parallel()
	p := always(connector[testState]{})
	p.Info.Order, p.Info.Coalesce, p.Info.Counts = PerSubject, true, true
	p.Info.Notifies, p.Info.KeepsHistory = true, true
	resp, err := serve(t, p).Describe(t.Context(), &pluginpb.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetName() != "test" || resp.GetVersion() != "1.2.3" || resp.GetOrder() != pluginpb.Order_ORDER_PER_SUBJECT ||
		!resp.GetCoalesce() || !resp.GetNotifies() || !resp.GetKeepsHistory() || !slices.Contains(resp.GetFeatures(), FeatureCounts) || resp.GetEvents()[0] != "*" || resp.GetSummary() != "tests" {
		t.Errorf("%v", resp)
	}
	var sch struct {
		Required   []string
		Properties map[string]struct{ WriteOnly bool }
	}
	if err := json.Unmarshal(resp.GetConfigSchema(), &sch); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(sch.Required) != "[url]" || !sch.Properties["token"].WriteOnly {
		t.Errorf("schema: %s", resp.GetConfigSchema())
	}
}

func TestAnAuthorsMistakesStopTheConnectorAtItsStart(t *testing.T) {
	t.Parallel()
	type badConfig struct {
		N int `json:"n" default:"many"`
	}
	for name, got := range map[string]error{
		"name":    startError(always(connector[testState]{}), func(i *Info) { i.Name = "No Slug" }),
		"version": startError(always(connector[testState]{}), func(i *Info) { i.Version = "" }),
		"summary": startError(always(connector[testState]{}), func(i *Info) { i.Summary = "" }),
		"events":  startError(always(connector[testState]{}), func(i *Info) { i.Events = nil }),
		"pattern": startError(always(connector[testState]{}), func(i *Info) { i.Events = []string{"tenant.*.x"} }),
		"order":   startError(always(connector[testState]{}), func(i *Info) { i.Order = 7 }),
		"open":    startError(Plugin[testConfig, testState]{Info: testInfo()}, func(*Info) {}),
		"tags": startError(Plugin[badConfig, testState]{Info: testInfo(),
			Open: func(context.Context, badConfig, *slog.Logger) (Connector[testState], error) { return nil, nil }}, func(*Info) {}),
		"state": startError(Plugin[testConfig, struct{ F func() }]{Info: testInfo(),
			Open: func(context.Context, testConfig, *slog.Logger) (Connector[struct{ F func() }], error) {
				return nil, nil
			}}, func(*Info) {}),
	} {
		if got == nil {
			t.Errorf("%s: the mistake was not found", name)
		}
	}
	if err := startError(always(connector[testState]{}), func(*Info) {}); err != nil {
		t.Error(err)
	}
}

func startError[C, S any](p Plugin[C, S], spoil func(*Info)) error {
	spoil(&p.Info)
	_, err := newServer(p, nil)
	return err
}

func TestAConfigurationIsRejectedWithPathsAndNothingIsOpened(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	r := serve(t, Plugin[testConfig, testState]{Info: testInfo(),
		Open: func(context.Context, testConfig, *slog.Logger) (Connector[testState], error) {
			opened.Add(1)
			return connector[testState]{}, nil
		}})
	for _, tc := range []struct{ cfg, path, summary string }{
		{`{}`, "url", "missing"},
		{`{"url":"x","limit":0}`, "limit", "1"},
		{`{"url":"x","lmit":2}`, "lmit", "unknown"},
		{`[]`, "", ""},
		{`{"url":`, "", "not valid JSON"},
		{`{"url":"x"} {}`, "", "behind"},
		{"{\"url\":\"x\"}\x00", "", "behind"},
	} {
		resp, err := r.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: []byte(tc.cfg)})
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.GetDiagnostics()) != 1 {
			t.Errorf("%s: %v", tc.cfg, resp.GetDiagnostics())
			continue
		}
		d := resp.GetDiagnostics()[0]
		if d.GetPath() != tc.path || !strings.Contains(d.GetSummary()+d.GetDetail(), tc.summary) || d.GetSeverity() != pluginpb.Diagnostic_SEVERITY_ERROR {
			t.Errorf("%s: %v", tc.cfg, d)
		}
	}
	resp, err := r.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: []byte(`{"url":"x"}`), DryRun: true})
	if err != nil || len(resp.GetDiagnostics()) != 0 {
		t.Errorf("dry run: %v %v", resp, err)
	}
	if opened.Load() != 0 {
		t.Errorf("Open was called %d times", opened.Load())
	}
	_, err = r.Deliver(t.Context(), batchOf("a"))
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Deliver before Configure: %v", err)
	}
	_, err = r.Check(t.Context(), &pluginpb.CheckRequest{})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Check before Configure: %v", err)
	}
}

func TestAConfigurationThatDoesNotOpenLeavesTheOldOneInForce(t *testing.T) {
	t.Parallel()
	r := serve(t, Plugin[testConfig, testState]{Info: testInfo(),
		Open: func(_ context.Context, cfg testConfig, _ *slog.Logger) (Connector[testState], error) {
			switch cfg.URL {
			case "panic":
				panic("no such url")
			case "nil":
				return nil, nil
			case "error":
				return nil, errors.New("cannot reach it: use another url")
			}
			return connector[testState]{deliver: func(context.Context, Event, *testState) error { return Skip(cfg.URL) }}, nil
		}})
	r.mustConfigure(t, `{"url":"first"}`)
	for bad, want := range map[string]string{"panic": "panic: no such url", "nil": "neither", "error": "use another url"} {
		resp, err := r.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: []byte(`{"url":"` + bad + `"}`)})
		if err != nil || len(resp.GetDiagnostics()) != 1 || !strings.Contains(resp.GetDiagnostics()[0].GetSummary(), want) {
			t.Errorf("%s: %v %v", bad, resp, err)
		}
		if got := r.mustDeliver(t, batchOf("a")).GetVerdicts()[0].GetReason(); got != "first" {
			t.Errorf("after %s the configuration in force is %q", bad, got)
		}
	}
}

func TestReconfiguringClosesTheOldConnectorAfterItsLastEvent(t *testing.T) {
	t.Parallel()
	inside, release, closed := make(chan struct{}), make(chan struct{}), make(chan string, 2)
	var finished atomic.Bool
	r := serve(t, Plugin[testConfig, testState]{Info: testInfo(),
		Open: func(_ context.Context, cfg testConfig, _ *slog.Logger) (Connector[testState], error) {
			return connector[testState]{
				deliver: func(_ context.Context, ev Event, _ *testState) error {
					if ev.Type == "slow" {
						close(inside)
						<-release
						finished.Store(true)
					}
					return Skip(cfg.URL)
				},
				close: func() error {
					if cfg.URL == "old" && !finished.Load() {
						t.Error("Close came while Deliver was running")
					}
					closed <- cfg.URL
					return nil
				},
			}, nil
		}})
	r.mustConfigure(t, `{"url":"old"}`)
	answer := make(chan *pluginpb.DeliverResponse, 1)
	go func() {
		resp, err := r.Deliver(context.Background(), batchOf("a:slow", "a:next"))
		if err != nil {
			t.Error(err)
		}
		answer <- resp
	}()
	within(t, "the slow event", inside)
	r.mustConfigure(t, `{"url":"new"}`)
	if got := r.mustDeliver(t, batchOf("b")).GetVerdicts()[0].GetReason(); got != "new" {
		t.Errorf("a batch after Configure went to %q", got)
	}
	select {
	case url := <-closed:
		t.Fatalf("%s was closed too early", url)
	default:
	}
	close(release)
	if got := kinds(within(t, "the slow batch", answer)); got != "SKIPPED HELD" {
		t.Errorf("the old connector's batch: %s", got)
	}
	if url := within(t, "Close", closed); url != "old" {
		t.Errorf("closed %s", url)
	}
}

func TestDrainFinishesWhatIsInFlightHoldsTheRestAndCloses(t *testing.T) {
	t.Parallel()
	inside, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r := serveConfigured(t, always(connector[testState]{
		deliver: func(ctx context.Context, ev Event, _ *testState) error {
			if ev.Type == "slow" {
				close(inside)
				select {
				case <-release:
				case <-ctx.Done():
				}
				return ctx.Err()
			}
			return nil
		},
		close: func() error { close(closed); return nil },
	}))
	answer := make(chan *pluginpb.DeliverResponse, 1)
	go func() {
		resp, err := r.Deliver(context.Background(), batchOf("a:slow", "a:next"))
		if err != nil {
			t.Error(err)
		}
		answer <- resp
	}()
	within(t, "the slow event", inside)
	drained := make(chan error, 1)
	go func() {
		_, err := r.Drain(context.Background(), &pluginpb.DrainRequest{TimeoutMs: 10_000})
		drained <- err
	}()
	// The drain has begun when nothing is delivered any more.
	for {
		_, err := r.Deliver(t.Context(), batchOf("b"))
		if status.Code(err) == codes.FailedPrecondition {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-closed:
		t.Fatal("closed while an event was in flight")
	default:
	}
	close(release)
	if got := kinds(within(t, "the batch", answer)); got != "APPLIED HELD" {
		t.Errorf("the batch in flight: %s", got)
	}
	if err := within(t, "Drain", drained); err != nil {
		t.Error(err)
	}
	within(t, "Close", closed)
	if _, err := r.Drain(t.Context(), &pluginpb.DrainRequest{}); err != nil {
		t.Errorf("draining twice: %v", err)
	}
	r.mustConfigure(t, `{"url":"again"}`)
	if got := kinds(r.mustDeliver(t, batchOf("b"))); got != "APPLIED" {
		t.Errorf("after another Configure: %s", got)
	}
}

// A configuration may be replaced while it has calls, and the end may come right
// after that.
func TestDrainWaitsForCallsOfEarlierConfigurations(t *testing.T) {
	t.Parallel()
	inside, release := make(chan string, 2), make(chan struct{})
	var open atomic.Int32
	r := serve(t, Plugin[testConfig, testState]{Info: testInfo(),
		Open: func(_ context.Context, cfg testConfig, _ *slog.Logger) (Connector[testState], error) {
			open.Add(1)
			return connector[testState]{
				deliver: func(ctx context.Context, _ Event, _ *testState) error {
					inside <- cfg.URL
					select {
					case <-release:
					case <-ctx.Done():
					}
					return ctx.Err()
				},
				close: func() error { open.Add(-1); return nil },
			}, nil
		}})
	answers := make(chan *pluginpb.DeliverResponse, 2)
	for i, url := range []string{"first", "second"} {
		r.mustConfigure(t, `{"url":"`+url+`"}`)
		go func() {
			resp, err := r.Deliver(context.Background(), batchOf([]string{"a", "b"}[i]))
			if err != nil {
				t.Error(err)
			}
			answers <- resp
		}()
		if got := within(t, "the event", inside); got != url {
			t.Fatalf("the event went to %s", got)
		}
	}
	r.mustConfigure(t, `{"url":"third"}`) // it has no calls
	drained := make(chan error, 1)
	go func() {
		_, err := r.Drain(context.Background(), &pluginpb.DrainRequest{TimeoutMs: 10_000})
		drained <- err
	}()
	for {
		if _, err := r.Deliver(t.Context(), batchOf("c")); status.Code(err) == codes.FailedPrecondition {
			break
		}
	}
	select {
	case err := <-drained:
		t.Fatalf("drained while earlier configurations had calls: %v", err)
	case <-time.After(50 * time.Millisecond): // enough for one that does not wait
	}
	close(release)
	for range 2 {
		if got := kinds(within(t, "an answer", answers)); got != "APPLIED" {
			t.Errorf("a call of an earlier configuration: %s", got)
		}
	}
	if err := within(t, "Drain", drained); err != nil {
		t.Error(err)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d connectors are still open", n)
	}
}

func TestDrainCutsShortCallsOfEarlierConfigurations(t *testing.T) {
	t.Parallel()
	inside, closed := make(chan struct{}), make(chan struct{}, 2)
	r := serveConfigured(t, always(connector[testState]{
		deliver: func(ctx context.Context, _ Event, _ *testState) error {
			close(inside)
			<-ctx.Done()
			return ctx.Err()
		},
		close: func() error { closed <- struct{}{}; return nil },
	}))
	answer := make(chan *pluginpb.DeliverResponse, 1)
	go func() {
		resp, err := r.Deliver(context.Background(), batchOf("a"))
		if err != nil {
			t.Error(err)
		}
		answer <- resp
	}()
	within(t, "the event", inside)
	r.mustConfigure(t, `{"url":"next"}`)
	if _, err := r.Drain(t.Context(), &pluginpb.DrainRequest{TimeoutMs: 20}); err != nil {
		t.Error(err)
	}
	if len(closed) != 2 {
		t.Errorf("%d connectors of 2 are closed", len(closed))
	}
	if got := kinds(within(t, "the batch", answer)); got != "RETRY" {
		t.Errorf("the batch that was cut short: %s", got)
	}
}

func TestDrainCutsShortWhatTakesLongerThanItsTime(t *testing.T) {
	t.Parallel()
	inside, closed := make(chan struct{}), make(chan struct{})
	r := serveConfigured(t, always(connector[testState]{
		deliver: func(ctx context.Context, _ Event, _ *testState) error {
			close(inside)
			<-ctx.Done()
			return ctx.Err()
		},
		close: func() error { close(closed); return nil },
	}))
	answer := make(chan *pluginpb.DeliverResponse, 1)
	go func() {
		resp, err := r.Deliver(context.Background(), batchOf("a"))
		if err != nil {
			t.Error(err)
		}
		answer <- resp
	}()
	within(t, "the event", inside)
	if _, err := r.Drain(t.Context(), &pluginpb.DrainRequest{TimeoutMs: 20}); err != nil {
		t.Error(err)
	}
	within(t, "Close", closed)
	if got := kinds(within(t, "the batch", answer)); got != "RETRY" {
		t.Errorf("got %s", got)
	}
}

func TestCheckAsksTheConnector(t *testing.T) {
	t.Parallel()
	var answer error
	r := serveConfigured(t, always(connector[testState]{check: func(context.Context) error {
		if answer != nil && answer.Error() == "panic" {
			panic(answer)
		}
		return answer
	}}))
	for _, want := range []string{"", "no route", "panic"} {
		answer = nil
		if want != "" {
			answer = errors.New(want)
		}
		resp, err := r.Check(t.Context(), &pluginpb.CheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if want == "" != (len(resp.GetDiagnostics()) == 0) || (want != "" && !strings.Contains(resp.GetDiagnostics()[0].GetSummary(), want)) {
			t.Errorf("%q: %v", want, resp.GetDiagnostics())
		}
	}
}

func TestSecretsLeaveTheProcessInNoReasonDiagnosticOrLogLine(t *testing.T) {
	t.Parallel()
	const canary = `k3y "with" /odd & chars`
	leak := "token=" + canary + " " + url.QueryEscape(canary) + " " + url.PathEscape(canary)
	r := serve(t, Plugin[testConfig, testState]{Info: testInfo(),
		Open: func(_ context.Context, cfg testConfig, log *slog.Logger) (Connector[testState], error) {
			log.Info("opening "+leak, "cfg", cfg, "url", leak, "quoted", strconv.Quote(leak))
			if cfg.URL == "bad" {
				return nil, errors.New(leak)
			}
			return connector[testState]{
				deliver: func(_ context.Context, ev Event, _ *testState) error {
					if ev.Type == "panic" {
						panic(leak)
					}
					return Reject(&url.Error{Op: "Post", URL: leak, Err: errors.New("refused")})
				},
				check: func(context.Context) error { return errors.New(leak) },
			}, nil
		}})
	config := func(u string) []byte {
		raw, _ := json.Marshal(testConfig{URL: u, Token: canary, Limit: 1})
		return raw
	}
	bad, err := r.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: config("bad")})
	if err != nil {
		t.Fatal(err)
	}
	r.mustConfigure(t, string(config("good")))
	resp := r.mustDeliver(t, batchOf("a:panic", "b:reject"))
	check, err := r.Check(t.Context(), &pluginpb.CheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(bad.GetDiagnostics()[0].GetSummary(), resp.GetVerdicts()[0].GetReason(), resp.GetVerdicts()[1].GetReason(),
		check.GetDiagnostics()[0].GetSummary(), r.logs.String())
	if strings.Contains(all, "k3y") {
		t.Errorf("a secret got out: %s", all)
	}
	if strings.Count(all, "(redacted)") < 10 {
		t.Errorf("the texts were to be kept but for the secret: %s", all)
	}
	logLines(t, r.logs.String())
}

func TestLogLinesCarryLevelsAndAttributesForTheHub(t *testing.T) {
	t.Parallel()
	logs := &logBuffer{}
	log := newLogger(logs)
	log.Log(t.Context(), slog.LevelDebug-4, "t")
	log.Debug("d")
	log.Info("i", "took", 1500*time.Millisecond, "level", "mine", "msg", 3)
	log.With("a", 1).WithGroup("g").Warn("w", "b", errors.New("bad"))
	log.Error("e\nx")
	lines := logLines(t, logs.String())
	var levels []string
	for _, l := range lines {
		levels = append(levels, fmt.Sprint(l["@level"], "=", l["@message"]))
		if _, err := time.Parse(logTimeFormat, fmt.Sprint(l["@timestamp"])); err != nil {
			t.Error(err)
		}
	}
	if got, want := strings.Join(levels, ","), "trace=t,debug=d,info=i,warn=w,error=e\nx"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if lines[2]["took"] != "1.5s" || lines[2]["level"] != "mine" || lines[2]["msg"] != 3.0 {
		t.Errorf("%v", lines[2])
	}
	if lines[3]["a"] != 1.0 || fmt.Sprint(lines[3]["g"]) != "map[b:bad]" {
		t.Errorf("%v", lines[3])
	}
}

func TestAConnectorThatAsksForTheBodyGetsItsBytes(t *testing.T) {
	t.Parallel()
	var got []byte
	p := always(connector[testState]{deliver: func(_ context.Context, ev Event, _ *testState) error {
		got = ev.Body
		return nil
	}})
	without, err := serve(t, p).Describe(t.Context(), &pluginpb.DescribeRequest{})
	if err != nil || len(without.GetFeatures()) != 0 {
		t.Errorf("a connector that does not ask describes %v, %v", without.GetFeatures(), err)
	}
	p.Info.Body = true
	r := serveConfigured(t, p)
	with, err := r.Describe(t.Context(), &pluginpb.DescribeRequest{})
	if err != nil || fmt.Sprint(with.GetFeatures()) != "[body]" {
		t.Errorf("a connector that asks describes %v, %v", with.GetFeatures(), err)
	}
	req := batchOf("k")
	req.Events[0].Body = []byte("{ \"as\":\t\"sent\" }\n")
	r.mustDeliver(t, req)
	if string(got) != "{ \"as\":\t\"sent\" }\n" {
		t.Errorf("it got %q", got)
	}
}

// judging is a configuration with rules of its own.
type judging struct {
	A     string `json:"a" doc:"A." required:"true"`
	Token string `json:"token" doc:"T." secret:"true"`
}

func (j *judging) Validate() []schema.Problem {
	switch j.A {
	case "good":
		return nil
	case "panic":
		panic(j.Token)
	}
	return []schema.Problem{{Path: schema.Path{"a"}, Summary: "is not good", Detail: "it goes with " + j.Token}}
}

func TestAConfigurationWithRulesOfItsOwnIsHeldToThemAlsoWhenItIsOnlyChecked(t *testing.T) {
	t.Parallel()
	opened := 0
	r := serve(t, Plugin[judging, struct{}]{Info: testInfo(), Open: func(context.Context, judging, *slog.Logger) (Connector[struct{}], error) {
		opened++
		return connector[struct{}]{}, nil
	}})
	for _, dry := range []bool{true, false} {
		for cfg, want := range map[string]string{
			`{"a":"good","token":"canary-token"}`:  "",
			`{"a":"bad","token":"canary-token"}`:   "a: is not good; it goes with " + schema.RedactedText,
			`{"a":"panic","token":"canary-token"}`: "the connector failed to judge its configuration; this is a bug of the connector: its Validate panicked",
			`{}`:                                   "a: is missing; set a to text (A)", // the tags come first
		} {
			before := opened
			resp, err := r.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: []byte(cfg), DryRun: dry})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, d := range resp.GetDiagnostics() {
				got += diagnosticLine(d)
			}
			if got != want {
				t.Errorf("dry %v, %s: %q, want %q", dry, cfg, got, want)
			}
			if opens := opened > before; opens != (want == "" && !dry) {
				t.Errorf("dry %v, %s: opened %v", dry, cfg, opens)
			}
		}
	}
}
