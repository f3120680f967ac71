package mirror_test

import (
	"context"
	"slices"
	"testing"

	"github.com/avhub/avhub/core/mirror"
)

// Facts that one mirror keeps say the same in another one, in any order and
// twice: what is over stays over.
func TestKeptFactsSayTheSameInAnotherMirror(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		b.fill(t, factAbout(nil))
		b.fill(t, factAbout(func(f *mirror.Fact) { f.Access = nil })) // in the same second
		b.fill(t, factAbout(func(f *mirror.Fact) { f.Key, f.Tenant.ID = "authvital/tenant/t2/m1", "t2" }))
		want := b.dump(ctx, t)

		facts, err := mirror.KeptFacts(ctx, b.Store, mirror.FactSpan{Limit: 10})
		if err != nil || len(facts) != 3 {
			t.Fatalf("%d facts, %v", len(facts), err)
		}
		some, err := mirror.KeptFacts(ctx, b.Store, mirror.FactSpan{Tenant: "t1", After: facts[0].ID, Until: facts[2].ID, Limit: 10})
		if err != nil || len(some) != 1 || some[0].ID != facts[1].ID || !slices.Equal(some[0].Gone, []string{"a1"}) || some[0].ReadAt != readAt+1 {
			t.Errorf("%+v, %v", some, err)
		}
		for _, table := range []string{"av_identities", "av_organizations", "av_applications", "av_memberships", "av_app_access"} {
			if _, err := b.SQL(ctx).Exec(ctx, "DELETE FROM "+table); err != nil {
				t.Fatal(err)
			}
		}
		slices.Reverse(facts)
		facts = append(facts, mirror.KeptFact{ID: 4}, facts[2]) // one that cannot be used
		err = b.InTx(ctx, func(ctx context.Context) error {
			if err := b.TakeTurn(ctx); err != nil {
				return err
			}
			return b.ApplyFacts(ctx, facts)
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := compare(want, b.dump(ctx, t)); diff != "" {
			t.Error(diff)
		}
		if n, err := b.Read().BackfillFact.Query().Count(ctx); err != nil || n != 3 {
			t.Errorf("%d facts, %v", n, err)
		}
	})
}
