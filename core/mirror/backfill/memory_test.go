package backfill_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror/backfill"
	"github.com/avhub/avhub/core/mirror/backfill/integration"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

// vast answers with so many members of one tenant, without holding them.
type vast struct {
	members int
	name    int    // bytes of each given name
	padding int    // bytes of each that nobody needs
	sent    *int64 // bytes
	during  func() // called now and then while it is sent; may be nil
}

func (v vast) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: req}
	if strings.HasSuffix(req.URL.Path, "/token") {
		resp.Body = io.NopCloser(strings.NewReader(`{"access_token":"token"}`))
		return resp, nil
	}
	r, w := io.Pipe()
	resp.Body = r
	go func() {
		name, padding := strings.Repeat("n", max(v.name, 1)), strings.Repeat("x", v.padding)
		n, _ := fmt.Fprint(w, `{"tenantId":"t1","tenantName":"Fjord","memberships":[`)
		*v.sent += int64(n)
		for i := range v.members {
			comma := ","
			if i == 0 {
				comma = ""
			}
			n, err := fmt.Fprintf(w, `%s{"id":"mem_%08d","status":"ACTIVE","joinedAt":"2025-02-03T04:05:06.000Z","user":{"id":"usr_%08d","email":"person.%d@fjord.example","givenName":"%s","familyName":"Family"},`+
				`"roles":[{"id":"tr","name":"Member","slug":"member"},{"id":"r1","name":"Editor","slug":"editor","applicationId":"app_1","applicationName":"Ledger"}],"padding":"%s"}`, comma, i, i, i, name, padding)
			if *v.sent += int64(n); err != nil {
				return
			}
			if i%(v.members/20) == 0 && v.during != nil {
				v.during()
			}
		}
		fmt.Fprintf(w, `],"totalCount":%d}`, v.members)
		_ = w.Close()
	}()
	return resp, nil
}

// fill reads all members of a vast tenant.
func (b *bench) fill(t testing.TB, v vast) (sent int64) {
	t.Helper()
	v.sent = &sent
	sum := b.run(t, func(o *backfill.Options) {
		o.Tenants = []string{"t1"}
		o.Client = integration.New(integration.Options{BaseURL: "http://provider", ClientID: "id", ClientSecret: "s", Transport: v})
	})
	if sum.Members != int64(v.members) || len(sum.Problems) > 0 {
		t.Fatalf("%d of %d members, %+v", sum.Members, v.members, sum.Problems)
	}
	return sent
}

// memoryLimit is how much the heap may grow beyond what is there before.
const memoryLimit = 16 << 20 // bytes

// heap is what is in use.
func heap() uint64 {
	runtime.GC() // twice: what has a finalizer goes with the second one
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// An answer that is larger than the memory that may be used is read, twice: as
// all new, and as all known.
func TestLaw10_AVastTenantIsReadInBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	// Not parallel: other tests' memory would be counted.
	b := newBench(t, storetest.SQLite(t))
	for _, what := range []string{"new", "known"} {
		before, peak := heap(), uint64(0)
		sent := b.fill(t, vast{members: manyMembers, padding: manyPadding, during: func() { peak = max(peak, heap()) }})
		if sent < memoryLimit {
			t.Fatalf("the answer has only %d bytes, so holding all of it would not be noticed", sent)
		}
		grown := int64(peak) - int64(before)
		t.Logf("%s: %d members in %.1f MB; the heap grew by %.1f MB", what, manyMembers, float64(sent)/(1<<20), float64(grown)/(1<<20))
		if grown > memoryLimit {
			t.Errorf("%s: the heap grew by %d bytes, at most %d are allowed", what, grown, memoryLimit)
		}
	}
	if n, err := b.Read().Membership.Query().Count(t.Context()); err != nil || n != manyMembers {
		t.Errorf("%d memberships, %v", n, err)
	}
}

// Members may be as large as they may be: then fewer of them wait to be written.
func TestLaw10_VastMembersAreReadInBoundedMemory(t *testing.T) {
	b := newBench(t, storetest.SQLite(t))
	before, peak := heap(), uint64(0)
	sent := b.fill(t, vast{members: 80, name: 900 << 10, during: func() { peak = max(peak, heap()) }})
	if grown := int64(peak) - int64(before); sent < 2*memoryLimit || grown > memoryLimit {
		t.Errorf("80 members in %d bytes: the heap grew by %d bytes, at most %d are allowed", sent, grown, memoryLimit)
	}
}

func BenchmarkBackfill(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": pgtest.URL} {
		b.Run(name, func(b *testing.B) {
			const members = 10_000
			for b.Loop() {
				b.StopTimer()
				bench := newBench(b, url(b))
				b.StartTimer()
				bench.fill(b, vast{members: members})
			}
			b.ReportMetric(float64(members)*float64(b.N)/b.Elapsed().Seconds(), "members/s")
		})
	}
}
