package mirror_test

import (
	"context"
	"database/sql"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
)

// The page for users names every column of every table and every event type.
func TestThePageForUsersIsComplete(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/mirror.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	ctx := context.Background()
	b := onSQLite(t)
	for _, table := range slices.Concat(slices.Sorted(maps.Keys(kinds)), []string{"av_identity_sessions"}) {
		_, section, found := strings.Cut(text, "\n### "+table+"\n")
		if !found {
			t.Errorf("there is no section on %s", table)
			continue
		}
		section, _, _ = strings.Cut(section, "\n### ")
		err := b.SQL(ctx).Query(ctx, func(rows *sql.Rows) error {
			var column string
			if err := rows.Scan(&column); err != nil {
				return err
			}
			if !strings.Contains(section, "`"+column+"`") && column != "created_at" && column != "updated_at" && column != "synced_at" && column != "sync_state" && column != "id" {
				t.Errorf("the section on %s does not name %s", table, column)
			}
			return nil
		}, `SELECT name FROM pragma_table_info(?)`, table)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, info := range event.Catalog() {
		family, _, _ := strings.Cut(info.Type, ".")
		if !strings.Contains(text, "| `"+info.Type+"`") && !strings.Contains(text, ", `"+info.Type+"`") &&
			!strings.Contains(text, "`"+family+".*`") && !strings.Contains(text, "`"+string(info.Family)+".*`") {
			t.Errorf("the page does not say what %s does", info.Type)
		}
	}
}
