package backfill

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/backfill/integration"
)

// visit is the reading of one unit.
type visit struct {
	*run
	u       integration.Unit
	readAt  time.Time
	number  int // of members so far
	waiting []mirror.Fact
	numbers []int // of those that wait
	size    int   // of those that wait, in bytes as sent
	*roll
	skipped  map[string]int64
	problems []Problem
}

// begin forgets an attempt that failed half way. Facts that it has written are
// known already when they come again.
func (v *visit) begin() {
	*v = visit{run: v.run, u: v.u, readAt: v.o.Now(), roll: newRoll(v.o, v.u), skipped: map[string]int64{}}
}

// account adds what was skipped in the last attempt.
func (v *visit) account() {
	for reason, n := range v.skipped {
		v.sum.Skipped[reason] += n
	}
	room := max(0, min(len(v.problems), maxProblems-len(v.sum.Problems)))
	v.sum.Problems = append(v.sum.Problems, v.problems[:room]...)
	v.sum.ProblemsOmitted += v.skipped[skipUnusable] + v.skipped[skipStatus] + v.skipped[skipDuplicate] - int64(room)
}

func (v *visit) problem(kind string, number int, id, reason string) {
	v.skipped[kind]++
	if len(v.problems) < maxProblems {
		v.problems = append(v.problems, Problem{v.u.String(), number, id, reason})
	}
}

func (v *visit) bad(index int, id, reason string) {
	v.number = index + 1
	v.unread(id)
	v.problem(skipUnusable, index+1, id, reason)
}

func (v *visit) member(ctx context.Context, head integration.Head, m integration.Member) error {
	v.number++
	fresh := v.came(head, &m)
	v.tour.found(tenantOf(v.u, head, &m).ID)
	switch {
	case m.Invited():
		v.skipped[skipInvited]++
		return nil
	case status(m.Status) == "":
		v.problem(skipStatus, v.number, m.ID, "its status is none that is known: ACTIVE, SUSPENDED, INVITED")
		return nil
	case !fresh:
		v.problem(skipDuplicate, v.number, m.ID, "it is in the answer twice; the first one counts")
		return nil
	}
	f := factOf(v.o.Source.Name, v.u, head, &m)
	f.ReadAt = v.readAt.Unix()
	v.waiting, v.numbers, v.size = append(v.waiting, f), append(v.numbers, v.number), v.size+m.Size
	if len(v.waiting) < factsPerWrite && v.size < bytesPerWrite {
		return nil
	}
	return v.flush(ctx)
}

// flush brings the facts that wait into the mirror.
func (v *visit) flush(ctx context.Context) error {
	facts, numbers := v.waiting, v.numbers
	v.waiting, v.numbers, v.size = v.waiting[:0], v.numbers[:0], 0
	if len(facts) == 0 {
		return ctx.Err()
	}
	known, err := v.o.Mirror.Known(ctx, facts)
	if err != nil {
		return err
	}
	n := 0
	for i := range facts {
		if known[i] {
			v.tally.outcome(&mirror.FactOutcome{About: v.o.Mirror.About(&facts[i])})
			continue
		}
		facts[n], numbers[n] = facts[i], numbers[i]
		n++
	}
	if facts = facts[:n]; n > 0 {
		outcomes, err := v.store(ctx, facts)
		if err != nil {
			return err
		}
		v.settle(facts, numbers, outcomes)
	}
	v.tour.progress(v.u, v.number)
	return ctx.Err()
}

// settle counts what became of facts.
func (v *visit) settle(facts []mirror.Fact, numbers []int, outcomes []mirror.FactOutcome) {
	for i := range outcomes {
		o := &outcomes[i]
		if o.Refused != nil {
			v.problem(skipUnusable, numbers[i], facts[i].Membership.ID, o.Refused.Error())
			continue
		}
		v.tally.outcome(o)
		if o.Known {
			continue
		}
		v.sum.Facts++
		if !v.o.DryRun {
			continue
		}
		made := map[string]bool{} // rows, by kind and id
		for _, c := range o.Changes {
			row := c.Entity + "\x00" + c.ID
			if made[row] = made[row] || c.Field == "exists"; made[row] && c.Field != "exists" {
				continue // of a new row it is told that it is new
			}
			// Nothing is written between two members, so what both tell of, such as
			// their tenant, is found to change with each of them.
			h := maphash.String(v.tally.seed, row+"\x00"+c.Field)
			if _, told := v.shown[h]; told {
				continue
			}
			v.shown[h] = struct{}{}
			if len(v.sum.Changes) < maxShown {
				v.sum.Changes = append(v.sum.Changes, c)
			} else {
				v.sum.ChangesOmitted++
			}
		}
		v.sum.ChangesOmitted += int64(o.ChangesOmitted)
	}
}

// departed keeps that somebody of whom an earlier run read is not listed any
// more. Whom only events told of is left to events. Nothing is concluded from an
// answer that may lack somebody.
func (v *visit) departed(ctx context.Context, a integration.Answer) error {
	if !v.complete(a) {
		return nil
	}
	return v.absent(ctx, a.ID, func(all []absentee) error {
		missing := make([]string, 0, len(all))
		for i := range all {
			missing = append(missing, all[i].key)
		}
		return v.depart(ctx, missing)
	})
}

func (v *visit) depart(ctx context.Context, missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	before, err := v.o.Mirror.Facts(ctx, missing)
	if err != nil {
		return err
	}
	var facts []mirror.Fact
	for _, key := range missing {
		was := before[key]
		if was == nil {
			continue
		}
		f := mirror.Fact{Key: key, ReadAt: v.readAt.Unix(), Tenant: mirror.FactTenant{ID: was.Tenant.ID}, Person: mirror.FactPerson{ID: was.Person.ID}}
		if v.u.Kind == integration.Tenant {
			f.Membership = mirror.FactMembership{ID: was.Membership.ID, Status: mirror.MembershipLeft}
		}
		if len(was.Access) == 0 && was.Membership.Status == f.Membership.Status {
			continue // said already
		}
		facts = append(facts, f)
	}
	if len(facts) == 0 {
		return nil
	}
	outcomes, err := v.store(ctx, facts)
	if err != nil {
		return err
	}
	for i := range outcomes {
		if outcomes[i].Refused == nil && !outcomes[i].Known {
			v.sum.Departed++
		}
	}
	v.settle(facts, make([]int, len(facts)), outcomes)
	return nil
}
