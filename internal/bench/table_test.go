package bench

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"
	"time"
)

// BenchmarkHub prints the table of figures. It is one benchmark, because a
// ratio needs both sides in one run.
func BenchmarkHub(b *testing.B) {
	t := &table{}
	for _, part := range []struct {
		name string
		run  func(*testing.B, *table)
	}{{"accept", benchAccept}, {"deliver", benchDeliver}, {"latency", benchLatency}, {"tenant", benchBadTenant}, {"hang", benchHangingPlugin}, {"replay", benchReplay}} {
		b.Run(part.name, func(b *testing.B) {
			part.run(b, t)
			b.ReportMetric(0, "ns/op") // the table is the result
		})
	}
	t.print()
}

type table struct{ rows [][]string }

// ratio adds a figure with its baseline and their ratio.
func (t *table) ratio(name string, figure, baseline float64, unit, goal string) {
	t.add(name, fmt.Sprintf("%.0f %s", figure, unit), fmt.Sprintf("%.0f %s", baseline, unit), fmt.Sprintf("%.2f", figure/baseline), goal)
}

func (t *table) plain(name, figure, baseline, goal string) {
	t.add(name, figure, baseline, "", goal)
}

// add takes the place of an earlier row of the same name: a short part is run
// more than once.
func (t *table) add(row ...string) {
	t.rows = slices.DeleteFunc(t.rows, func(r []string) bool { return r[0] == row[0] })
	t.rows = append(t.rows, row)
}

func (t *table) print() {
	fmt.Printf("\n%d cores, %s %s/%s\n\n", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tMEASURED\tBASELINE\tRATIO\tGOAL")
	for _, r := range t.rows {
		for i, cell := range r {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
	fmt.Println()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func percentile(values []time.Duration, p float64) time.Duration {
	slices.Sort(values)
	return values[min(int(p*float64(len(values))), len(values)-1)]
}
