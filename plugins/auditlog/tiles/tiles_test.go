package tiles

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// written is a log as x/mod computes it, laid out in files.
type written struct {
	files   fstest.MapFS
	entries [][]byte
	hashes  []tlog.Hash
}

func (w *written) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = w.hashes[x]
		}
		return out, nil
	})
}

func write(t testing.TB, size int64) *written {
	t.Helper()
	w := &written{files: fstest.MapFS{}}
	for i := range size {
		entry := fmt.Appendf(nil, `{"v":1,"event_id":"evt_%d"}`, i)
		w.entries = append(w.entries, entry)
		stored, err := tlog.StoredHashes(i, entry, w.reader())
		if err != nil {
			t.Fatal(err)
		}
		w.hashes = append(w.hashes, stored...)
	}
	for _, tile := range tlog.NewTiles(height, 0, size) {
		data, err := tlog.ReadTileData(tile, w.reader())
		if err != nil {
			t.Fatal(err)
		}
		w.files[tilePath(tile.L, tile.N, tile.W)] = &fstest.MapFile{Data: data}
	}
	for n := int64(0); n*width < size; n++ {
		var bundle []byte
		end := min(size, (n+1)*width)
		for _, entry := range w.entries[n*width : end] {
			bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
			bundle = append(bundle, entry...)
		}
		w.files[BundlePath(n, int(end-n*width))] = &fstest.MapFile{Data: bundle}
	}
	return w
}

func (w *written) head(t testing.TB, size int64) Head {
	t.Helper()
	root, err := tlog.TreeHash(size, w.reader())
	if err != nil {
		t.Fatal(err)
	}
	return Head{Origin: "test", Size: size, Root: root}
}

var sizes = []int64{0, 1, 2, 3, 255, 256, 257, 511, 512, 1000, 65535, 65536, 65537, 66100, 70000}

func TestWhatXModWroteIsProved(t *testing.T) {
	for _, size := range sizes {
		w := write(t, size)
		seen := int64(0)
		err := Dir{w.files}.Scan(t.Context(), w.head(t, size), func(i int64, entry []byte) error {
			if i != seen || string(entry) != string(w.entries[i]) {
				t.Fatalf("of %d: entry %d after %d: %s", size, i, seen, entry)
			}
			seen++
			return nil
		})
		if err != nil || seen != size {
			t.Errorf("a trail of %d: %d entries, %v", size, seen, err)
		}
	}
}

func TestAnyFlippedByteIsFound(t *testing.T) {
	const size = 66100
	w := write(t, size)
	head := w.head(t, size)
	names := make([]string, 0, len(w.files))
	for name := range w.files {
		names = append(names, name)
	}
	slices.Sort(names)
	for range 60 {
		name := names[mathrand.IntN(len(names))]
		if mathrand.IntN(3) == 0 { // tiles above the leaves are few
			for !strings.HasPrefix(name, "tile/1") && !strings.HasPrefix(name, "tile/2") {
				name = names[mathrand.IntN(len(names))]
			}
		}
		data := w.files[name].Data
		at := mathrand.IntN(len(data))
		data[at] ^= 0x10
		err := Dir{w.files}.Scan(t.Context(), head, nil)
		var damage *Damage
		if !errors.As(err, &damage) || damage.Index < 0 || damage.Index > size {
			t.Errorf("byte %d of %s was changed: %v", at, name, err)
		}
		data[at] ^= 0x10
	}
	if err := (Dir{w.files}).Scan(t.Context(), head, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if mathrand.IntN(10) > 0 {
			continue
		}
		gone := w.files[name]
		delete(w.files, name)
		if err := (Dir{w.files}).Scan(t.Context(), head, nil); err == nil {
			t.Errorf("%s is missing, and nobody noticed", name)
		}
		w.files[name] = gone
	}
}

func TestAnEntryIsProvedAndAnotherIsNot(t *testing.T) {
	const size = 1000
	w := write(t, size)
	head := w.head(t, size)
	d := Dir{w.files}
	for _, i := range []int64{0, 255, 256, 767, 768, 999} {
		entry, proof, err := d.Prove(head, i)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, size, head.Root, i, tlog.RecordHash(entry)); err != nil {
			t.Error(err)
		}
		if err := tlog.CheckRecord(proof, size, head.Root, i, tlog.RecordHash([]byte("another"))); err == nil {
			t.Errorf("the proof of entry %d proves anything", i)
		}
	}
	if _, _, err := d.Prove(head, size); err == nil {
		t.Error("an entry that is not there was proved")
	}
}

func TestHeadsThatDoNotGoOnFromEachOtherAreAFork(t *testing.T) {
	const size = 3000
	w := write(t, size)
	d := Dir{w.files}
	now := w.head(t, size)
	for _, old := range []int64{0, 1, 256, 2999, 3000} {
		if err := d.Consistent(w.head(t, old), now); err != nil {
			t.Errorf("from %d to %d: %v", old, size, err)
		}
		bad := w.head(t, old)
		bad.Root[3] ^= 1
		if err := d.Consistent(bad, now); old > 0 && !errors.Is(err, ErrFork) {
			t.Errorf("from a false head of %d: %v", old, err)
		}
	}
	if err := d.Consistent(now, w.head(t, 2000)); !errors.Is(err, ErrFork) {
		t.Errorf("back from %d to 2000: %v", size, err)
	}
}

func TestACheckpointTellsWhoSigned(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "example.org/audit")
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := note.NewSigner(skey)
	ours, _ := note.NewVerifier(vkey)
	_, other, _ := note.GenerateKey(rand.Reader, "example.org/audit")
	others, _ := note.NewVerifier(other)
	w := write(t, 5)
	head := w.head(t, 5)
	raw, err := note.Sign(&note.Note{Text: fmt.Sprintf("example.org/audit\n5\n%s\n", head.Root)}, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCheckpoint(raw, ours)
	if err != nil || c.Size != 5 || c.Root != head.Root || len(c.Signers) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := OpenCheckpoint(raw, others); err != nil || len(c.Signers) != 0 || c.Unknown != 1 {
		t.Errorf("with another key: %+v, %v", c, err)
	}
	forged := slices.Clone(raw)
	forged[len("example.org/audit\n")] = '4'
	if _, err := OpenCheckpoint(forged, ours); !errors.Is(err, ErrSignature) {
		t.Errorf("a changed size: %v", err)
	}
	for _, bad := range []string{"", "x", "a\n1\n", "a\n01\nAAAA\n\n", "a\n-1\nAAAA\n\n", "\n1\nAAAA\n\n"} {
		if _, err := OpenCheckpoint([]byte(bad), ours); !errors.Is(err, ErrHead) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add("o\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHead(text)
		if err != nil {
			return
		}
		if again := fmt.Sprintf("%s\n%d\n%s\n%s", h.Origin, h.Size, h.Root, h.Rest); again != text {
			t.Errorf("%q was read as %q", text, again)
		}
	})
}
