package mirror_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

// Pages have every row of a kind once, in the order of the keys, as Entities
// gives it, with the clock of the newest event that it knows.
func TestPagesHaveEveryRowOnceWithItsRevision(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		var events []said
		for i := range 7 {
			events = append(events, said{
				typ: "tenant.created", id: fmt.Sprintf("c%d", i), at: seconds(i), tenant: fmt.Sprintf("t%d", i),
				data: map[string]any{"tenant_id": fmt.Sprintf("t%d", i), "name": "N", "slug": "s"},
			})
		}
		late := said{
			typ: "tenant.updated", id: "u", at: seconds(90), tenant: "t3",
			data: map[string]any{"tenant_id": "t3", "name": "M", "changed_fields": []string{"name"}},
		}
		b.say(t, append(events, late)...)
		ctx := context.Background()
		var ids []string
		for after, pages := "", 0; pages < 5; pages++ {
			page, err := b.Page(ctx, event.KindOrganization, after, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range page {
				ids = append(ids, row.ID)
				same, err := b.Entities(ctx, []mirror.Ref{row.Ref})
				if err != nil || string(same[row.Ref]) != string(row.JSON) {
					t.Errorf("%s is %s in a page, %s as an entity, %v", row.ID, row.JSON, same[row.Ref], err)
				}
				want := start.Add(seconds(len(ids) - 1))
				if row.ID == "t3" {
					want = start.Add(seconds(90))
				}
				if row.Revision != want.UnixMicro() {
					t.Errorf("%s has revision %d, want %d", row.ID, row.Revision, want.UnixMicro())
				}
			}
			if len(page) < 3 {
				break
			}
			after = page[len(page)-1].ID
		}
		if want := []string{"t0", "t1", "t2", "t3", "t4", "t5", "t6"}; !slices.Equal(ids, want) {
			t.Errorf("pages have %v", ids)
		}
		if page, err := b.Page(ctx, "nothing", "", 3); err != nil || len(page) > 0 {
			t.Errorf("a kind that there is not: %v, %v", page, err)
		}
	})
}
