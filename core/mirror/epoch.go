package mirror

import (
	"context"
	"fmt"

	"github.com/avhub/avhub/core/store"
)

// EpochCounter is the row of avhub_counters that Touch moves.
const EpochCounter = "mirror_epoch"

// Touch says that rows of the mirror changed in another way than by an event
// that was journaled: a rebuild, a first fill. Whoever keeps something that was
// read from the mirror learns from it, within a second, that nothing of it may
// be used any more; see package access. Call it in the very transaction that
// changes the rows, in each one if there are several.
func Touch(ctx context.Context, st *store.Store) error {
	_, err := st.SQL(ctx).Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES (?, 1)
 ON CONFLICT (name) DO UPDATE SET value = avhub_counters.value + 1`, EpochCounter)
	if err != nil {
		return fmt.Errorf("note that the mirror changed: %w", err)
	}
	return nil
}
