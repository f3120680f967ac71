package laws

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func testEngine(patterns ...string) *engine {
	return &engine{info: &pluginpb.DescribeResponse{Order: pluginpb.Order_ORDER_PER_TENANT, Events: patterns}, types: wanted(patterns), salt: "t"}
}

func TestASeedMakesTheSameEventsAndAnotherOneOthers(t *testing.T) {
	t.Parallel()
	a := Sample(1, 50, pluginpb.Order_ORDER_TOTAL, "*")
	b := Sample(1, 50, pluginpb.Order_ORDER_TOTAL, "*")
	if len(a) != 50 || !slices.EqualFunc(a, b, func(x, y *pluginpb.Event) bool { return proto.Equal(x, y) }) {
		t.Errorf("%d and %d events of one seed differ", len(a), len(b))
	}
	c := Sample(2, 50, pluginpb.Order_ORDER_TOTAL, "*")
	if slices.EqualFunc(a, c, func(x, y *pluginpb.Event) bool { return x.GetType() == y.GetType() }) {
		t.Error("two seeds make one history")
	}
}

// Shrinking leaves out steps, so whatever is left has to be a history.
func TestAnyPartOfAHistoryIsAHistory(t *testing.T) {
	t.Parallel()
	e := testEngine("*")
	rng := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		s := write(rng, e.types, flavour{steps: 25})
		s.steps = slices.DeleteFunc(s.steps, func(step) bool { return rng.IntN(2) == 0 })
		history, p := e.history(s)
		ids := map[string]bool{}
		gone := map[string]bool{}
		for i, told := range history {
			ev := told.ev
			if ids[ev.GetId()] || ev.GetPosition() != int64(i+1) || i > 0 && ev.GetRevision() <= history[i-1].ev.GetRevision() {
				t.Fatalf("event %d: %v", i, ev)
			}
			ids[ev.GetId()] = true
			if gone[ev.GetSubject()] {
				t.Fatalf("%s came after its deletion", told.note)
			}
			for _, row := range ev.GetEntities() {
				if row.GetKind()+":"+row.GetId() == ev.GetSubject() && len(row.GetJson()) == 0 && row.GetKind() != "sso_provider" {
					gone[ev.GetSubject()] = true
				}
			}
		}
		for _, told := range p.snapshot(func(string) bool { return true }) {
			if gone[told.ev.GetSubject()] || len(told.ev.GetEntities()) == 0 || len(told.ev.GetEntities()[0].GetJson()) == 0 {
				t.Fatalf("in a snapshot: %v", told.ev)
			}
		}
	}
}

func TestOnlyWantedTypesAreMade(t *testing.T) {
	t.Parallel()
	for _, patterns := range [][]string{{"tenant.created"}, {"license.*", "tenant.updated"}, {"own.thing"}, {"family.*"}, {"invite.*"}} {
		evs := Sample(3, 30, pluginpb.Order_ORDER_PER_SUBJECT, patterns...)
		if len(evs) == 0 {
			t.Errorf("%v: none", patterns)
		}
		for _, ev := range evs {
			if !matches(patterns, ev.GetType()) {
				t.Errorf("%v: %s", patterns, ev.GetType())
			}
		}
	}
}

func TestShrinkingKeepsWhatItTakesAndNothingElse(t *testing.T) {
	t.Parallel()
	e := testEngine("tenant.*", "subject.*")
	rng := rand.New(rand.NewPCG(7, 7))
	s := write(rng, e.types, flavour{steps: 40})
	s.steps = append(s.steps, step{typ: "subject.created", thing: 3}, step{typ: "tenant.suspended", tenant: 9})
	fails := func(s script) error {
		history, _ := e.history(s)
		var notes []string
		for _, told := range history {
			notes = append(notes, told.note)
		}
		if strings.Contains(strings.Join(notes, "\n"), "tenant.suspended tnt_9") && len(history) > 1 {
			return breachf("%d", len(history))
		}
		return errors.New("another failure")
	}
	short, err := shrink(s, fails, time.Minute)
	if history, _ := e.history(short); !isBreach(err) || len(history) != 2 {
		t.Errorf("%v: %v", err, short.steps)
	}
	if same, err := shrink(s, fails, 0); err != nil || len(same.steps) != len(s.steps) {
		t.Error("shrinking without time changed something")
	}
}

func TestALateEventIsOverruledInAllThatItSays(t *testing.T) {
	t.Parallel()
	e := testEngine("*")
	rng := rand.New(rand.NewPCG(9, 9))
	seen := map[string]bool{}
	for range 300 {
		s := writePair(e, rng, flavour{})
		n := len(s.steps)
		older, newer := s.steps[n-2], s.steps[n-1]
		if !overrules(older, newer) || overrules(newer, older) && older.typ != newer.typ {
			t.Fatalf("%v does not overrule %v", newer, older)
		}
		seen[fmt.Sprint(older.typ, " ", newer.typ)] = true
	}
	if len(seen) < 10 {
		t.Errorf("only these pairs: %v", seen)
	}
}

func TestEveryLawHasItsNumberAndASentence(t *testing.T) {
	t.Parallel()
	for i, law := range All() {
		if law.Number != i+1 || law.Name == "" || !strings.HasSuffix(law.Sentence, ".") {
			t.Errorf("%+v", law)
		}
	}
}

func TestBadDataHasTheWrongTypesAndStaysAnObject(t *testing.T) {
	t.Parallel()
	for i, ev := range Sample(4, 200, pluginpb.Order_ORDER_PER_TENANT, "*") {
		for how := range 3 {
			bad := spoiled(ev, how, i)
			if bad == nil {
				continue
			}
			if string(bad.GetData()) == string(ev.GetData()) || bad.GetData()[0] != '{' || bad.GetId() == ev.GetId() {
				t.Errorf("%s", bad.GetData())
			}
			if how > 0 && bad.GetSubject() != ev.GetSubject() || how == 0 && bad.GetTenantId() != "" {
				t.Errorf("%v", bad)
			}
		}
	}
}

func TestTheManualHasTheLawsInTheirWords(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../../../docs/connectors-testing.md")
	if err != nil {
		t.Fatal(err)
	}
	tutorial, err := os.ReadFile("../doc.go")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Join(strings.Fields(strings.ReplaceAll(string(tutorial), "//", " ")), " ")
	for _, law := range All() {
		if row := fmt.Sprintf("| %d | %s | %s |", law.Number, law.Name, law.Sentence); !strings.Contains(string(manual), row) {
			t.Errorf("docs/connectors-testing.md lacks: %s", row)
		}
		if item := fmt.Sprintf("%d. %s: %s", law.Number, law.Name, law.Sentence); !strings.Contains(plain, item) {
			t.Errorf("plugintest/doc.go lacks: %s", item)
		}
	}
}

func TestTheBytesOfAnEventAreThereForThoseWhoAskAndSayWhatItSays(t *testing.T) {
	t.Parallel()
	e := testEngine("*")
	if ev := e.newProvider("t"); ev.bodies {
		t.Error("a connector that does not ask gets bodies")
	}
	e.info.Features = []string{plugin.FeatureBody}
	history, _ := e.history(write(rand.New(rand.NewPCG(5, 5)), e.types, flavour{steps: 25}))
	for _, told := range history {
		for how := range 2 {
			ev := told.ev
			if how == 1 {
				if ev = spoiled(ev, 0, 0); ev == nil {
					continue
				}
			}
			var body struct {
				ID, Type string
				Data     json.RawMessage
			}
			if err := json.Unmarshal(ev.GetBody(), &body); err != nil || body.ID != ev.GetId() || body.Type != ev.GetType() || string(body.Data) != string(ev.GetData()) {
				t.Errorf("%v: the body of %v", err, ev)
			}
		}
	}
}
