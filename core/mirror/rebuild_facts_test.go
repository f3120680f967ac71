package mirror_test

import (
	"context"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

// What a first fill has read is in no event, and yet it is part of what the
// mirror is proved against and built anew from.
func TestARebuildKnowsWhatFirstFillsHaveRead(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		j := withJournal(t, b, mirror.Options{})
		j.fill(t, factAbout(nil))
		j.wantClean(t) // before the first event
		j.journal(t, []*event.Event{
			about(3, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "new@a.example"}).event(t),
			tenant.event(t),
		})
		j.fill(t, factAbout(func(f *mirror.Fact) {
			f.ReadAt += 60
			f.Access, f.Person.Email = nil, "late@fact.example"
		}))
		j.wantClean(t)
		want := j.dump(ctx, t)

		j.empty(t)
		if _, err := j.Rebuild(ctx, j.log, mirror.RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
		if diff := compare(want, j.dump(ctx, t)); diff != "" {
			t.Errorf("built anew:\n%s", diff)
		}
		expect(t, j.row(t, "av_identities", "p1"), data{"email": "new@a.example", "has_app_access": false, "given_name": "Ines"})
		j.wantClean(t)
	})
}
