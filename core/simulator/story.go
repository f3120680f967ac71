package simulator

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/avhub/avhub/core/event"
)

// StepKind tells the ordinary steps of a story from its mischief.
type StepKind string

// The kinds of steps.
const (
	StepEvent     StepKind = "event"
	StepDuplicate StepKind = "duplicate" // an event is delivered again
	StepLate      StepKind = "late"      // an event that was held back comes after newer ones
	StepForged    StepKind = "forged"    // somebody else sends an event; the hub must refuse it
	StepRotation  StepKind = "rotation"  // the provider signs with a new key; nothing is sent
)

// Step is one thing that happened in a story.
type Step struct {
	Number   int
	Kind     StepKind
	Text     string // what happened, in one sentence without a full stop
	Tenant   string // slug; empty if it is about none
	Delivery Delivery
	Err      error // no answer came
}

// StoryOptions of a story.
type StoryOptions struct {
	// Interval is the mean time between two steps; zero: 1.5 s. It varies by a
	// third. The first eight steps come five times as fast, so that somebody who
	// watches sees something at once.
	Interval time.Duration
}

const (
	overture = 8
	// Where the mischief happens: at these steps, and again every cycle.
	stepDuplicate, stepHoldBack, stepLate, stepForged, mischiefCycle = 12, 17, 21, 26, 30
	// Within the first minute at the default pace, and then now and then.
	stepRotate, rotateCycle = 23, 300
	// maxTenants bounds the world: then the oldest leaves.
	maxTenants = 12
)

// Story lets companies sign up, grow, fall out with the provider and leave, for
// ever, and reports every step when it is done. It goes on when the hub is down,
// as the provider would. It returns nil when ctx ends.
func (s *Simulator) Story(ctx context.Context, opts StoryOptions, report func(Step)) error {
	if opts.Interval <= 0 {
		opts.Interval = 1500 * time.Millisecond
	}
	var held Envelope
	number := 0
	tell := func(step Step) {
		number++
		step.Number = number
		report(step)
	}
	deliver := func(env Envelope, forge Forge, step Step) {
		step.Delivery, step.Err = s.Deliver(ctx, env, forge)
		if ctx.Err() == nil {
			tell(step)
		}
	}
	for sc := range s.scenes() {
		if !s.pause(ctx, opts.Interval, number) {
			return nil
		}
		m, env, err := s.compose(sc.order)
		if errors.Is(err, errNoTenant) {
			continue // deleted meanwhile, through the control endpoint
		}
		if err != nil {
			return fmt.Errorf("telling the story: %w", err)
		}
		step := Step{Kind: StepEvent, Text: sc.text, Tenant: sc.tenant}
		if sc.typ == event.TypeTenantCreated { // the script did not know who would come
			name, _ := m.Data["name"].(string)
			step.Text = name + " " + sc.text
			step.Tenant, _ = m.Data["slug"].(string)
		}
		deliver(env, Honest, step)

		if number%rotateCycle == stepRotate {
			kid, err := s.Rotate()
			if err != nil {
				return fmt.Errorf("telling the story: %w", err)
			}
			tell(Step{Kind: StepRotation, Text: "the provider signs with a new key, " + kid})
		}
		mischief, spoiled, forge := Step{}, env, Honest
		switch number % mischiefCycle {
		case stepDuplicate:
			mischief = Step{Kind: StepDuplicate, Text: "the provider delivers " + env.Type + " twice"}
		case stepHoldBack:
			if _, held, err = s.compose(order{typ: event.TypeSubjectUpdated}); err != nil {
				return fmt.Errorf("telling the story: %w", err)
			}
		case stepLate:
			if held.Body != nil {
				mischief = Step{Kind: StepLate, Text: "a " + held.Type + " arrives late"}
				spoiled, held = held, Envelope{}
			}
		case stepForged:
			forge = pickForgery(number)
			mischief = Step{Kind: StepForged, Text: "somebody forges an upgrade: " + string(forge)}
			if spoiled, err = s.forgedUpgrade(); err != nil {
				return fmt.Errorf("telling the story: %w", err)
			}
		}
		if mischief.Kind == "" {
			continue
		}
		if !s.pause(ctx, opts.Interval, number) {
			return nil
		}
		deliver(spoiled, forge, mischief)
	}
	return nil
}

// compose builds an event out of the world and seals it.
func (s *Simulator) compose(o order) (Message, Envelope, error) {
	s.mu.Lock()
	m, err := s.world.build(o)
	s.mu.Unlock()
	if err != nil {
		return m, Envelope{}, err
	}
	env, err := s.Seal(m)
	return m, env, err
}

// forgedUpgrade is what a swindler would send: the newest tenant on the dearest
// plan. The world knows nothing of it.
func (s *Simulator) forgedUpgrade() (Envelope, error) {
	s.mu.Lock()
	id := s.world.someTenant().id()
	s.mu.Unlock()
	return s.Seal(Message{Channel: event.ChannelWebhook, Type: event.TypeTenantUpdated, TenantID: id, Data: map[string]any{
		"tenant_id": id, "plan": plans[len(plans)-1], "changed_fields": []string{"plan"},
	}})
}

func pickForgery(number int) Forge {
	all := []Forge{BadSignature, WrongKey, Tampered, UnknownKey, Stale}
	return all[number/mischiefCycle%len(all)]
}

// pause waits for the next step and tells whether there is one.
func (s *Simulator) pause(ctx context.Context, interval time.Duration, number int) bool {
	if number < overture {
		interval /= 5
	} else {
		s.mu.Lock()
		interval = time.Duration(float64(interval) * (2 + 2*s.world.rng.Float64()) / 3)
		s.mu.Unlock()
	}
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// scene is an event of the script.
type scene struct {
	order
	text string
}

// scenes is the script: a company that stays, one that leaves, and so on with
// new ones for ever. Each scene is drawn up when its turn comes.
func (s *Simulator) scenes() iter.Seq[scene] {
	return func(yield func(scene) bool) {
		sc := &script{s: s, yield: yield}
		sc.scene("the provider offers an application", order{typ: event.TypeApplicationCreated})
		for !sc.ended {
			sc.signUp()
			sc.grow()
			sc.settle()
			sc.trouble()
			sc.peopleLeave()
			sc.signUp()
			sc.trouble()
			sc.leave()
			if oldest, crowded := s.oldestTenant(); crowded {
				sc.tenant = oldest
				sc.leave()
			}
		}
	}
}

// oldestTenant returns the slug of the oldest tenant if there are as many as may
// be.
func (s *Simulator) oldestTenant() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.world.tenants) < maxTenants {
		return "", false
	}
	return s.world.tenants[0].slug(), true
}

// script draws up scenes about one company at a time.
type script struct {
	s      *Simulator
	yield  func(scene) bool
	ended  bool
	tenant string // slug
}

// scene yields a scene unless the story has ended.
func (c *script) scene(text string, o order) {
	if !c.ended {
		c.ended = !c.yield(scene{order: o, text: text})
	}
}

// about yields a scene about the company. A company that was deleted meanwhile,
// by the control endpoint, has no more scenes.
func (c *script) about(text, typ string, set map[string]any) {
	c.s.mu.Lock()
	t := c.s.world.findTenant(c.tenant)
	name := ""
	if t != nil {
		name = t.doc.text("name")
	}
	c.s.mu.Unlock()
	if t != nil {
		c.scene(name+" "+text, order{typ: typ, tenant: c.tenant, set: set})
	}
}
