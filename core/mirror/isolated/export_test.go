package isolated

import (
	"context"
	"time"

	"github.com/avhub/avhub/core/event"
)

// Sizes makes transactions small, so that there are many between which a test
// can crash.
func (d *Databases) Sizes(dispatch, group int) { d.sizes = sizes{dispatch, group} }

// Dispatch runs the dispatcher's next transaction.
func (d *Databases) Dispatch(ctx context.Context) (bool, error) { return d.dispatch(ctx) }

// Feed feeds a tenant that is behind, whatever its schedule says. Without keep,
// what it did is not noted in the hub's database, as if the hub had crashed
// before. It tells whether the tenant was behind.
func (d *Databases) Feed(ctx context.Context, tenant string, keep bool) (behind bool, err error) {
	row, ok, err := d.row(ctx, tenant)
	if err != nil || !ok || row.State != "" || !row.due() {
		return false, err
	}
	f := d.feed(ctx, row)
	if keep {
		r := &runner{Databases: d, done: []fed{f}}
		if err := r.store(ctx); err != nil {
			return true, err
		}
	}
	return true, f.err
}

// Place is the place that the nth choice for a tenant would be, without its kind.
func (d *Databases) Place(n int, tenant, slug string) string {
	return d.place.candidate(n, tenant, slug)
}

// Reserved tells whether no tenant may have a place.
func (d *Databases) Reserved(place string) bool { return d.place.reserved(place) }

// URL is that of the database at a place.
func (d *Databases) URL(place string) string { return d.place.url(place) }

// Open is the number of databases that are open.
func (d *Databases) Open() int { return d.pool.size() }

// Mirrored are the tables that a rebuild empties.
func Mirrored() []string { return mirrored() }

// Backoff is the wait after so many failures.
func Backoff(attempts int) time.Duration { return backoff(attempts) }

// Home, Global and Homeless are the rules of what belongs where.
func Home(ev *event.Event) string { return home(ev) }
