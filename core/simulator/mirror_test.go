package simulator_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/internal/storetest"
)

// Whoever watches the story for some minutes finds something in every table that
// events fill, and nothing that the mirror could not apply.
func TestTheStoryFillsEveryTableOfTheMirror(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tell(t, b.Simulator, 50*time.Microsecond, 60)
	st := storetest.Open(t, storetest.SQLite(t))
	m := mirror.New(st, mirror.Options{})
	ctx := context.Background()
	events := b.journal.all()
	if err := st.InTx(ctx, func(ctx context.Context) error { return m.Apply(ctx, events) }); err != nil {
		t.Fatal(err)
	}
	grants := map[bool]bool{}
	for _, ev := range events {
		if ev.Failed != "" {
			t.Errorf("%s: %s", ev.Type, ev.Failed)
		}
		if ev.Type == event.TypeTenantAppGranted {
			d, err := ev.TenantAppData()
			if err != nil {
				t.Fatal(err)
			}
			grants[d.IsSubscription()] = true
		}
	}
	if len(grants) < 2 {
		t.Error("tenant.app.granted comes in one form only")
	}
	for _, table := range []string{
		"av_identities", "av_organizations", "av_applications", "av_sso_providers", "av_memberships", "av_app_access",
		"av_licenses", "av_subscriptions", "av_invitations",
	} {
		rows := 0
		err := st.ReadSQL().Query(ctx, func(r *sql.Rows) error { return r.Scan(&rows) }, "SELECT count(*) FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		if rows == 0 {
			t.Errorf("%s is empty", table)
		}
	}
}
