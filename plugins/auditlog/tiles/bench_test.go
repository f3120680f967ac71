package tiles

import (
	"os"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// onDisk is a log of a million entries, in files.
func onDisk(b *testing.B, size int64) (Dir, Head) {
	b.Helper()
	w := write(b, size)
	dir := b.TempDir()
	if err := os.CopyFS(dir, w.files); err != nil {
		b.Fatal(err)
	}
	return Dir{os.DirFS(dir)}, w.head(b, size)
}

func BenchmarkAMillion(b *testing.B) {
	const size = 1_000_000
	d, head := onDisk(b, size)
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			if err := d.Scan(b.Context(), head, nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
	})
	b.Run("prove and check", func(b *testing.B) {
		i := int64(0)
		for b.Loop() {
			i = (i + 7919) % size
			entry, proof, err := d.Prove(head, i)
			if err != nil {
				b.Fatal(err)
			}
			if err := tlog.CheckRecord(proof, head.Size, head.Root, i, tlog.RecordHash(entry)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
