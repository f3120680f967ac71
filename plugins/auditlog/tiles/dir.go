package tiles

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// height of a tile: 256 hashes at most.
	height = 8
	width  = 1 << height
	// largest is what an entry may have: its length is told in two bytes.
	largest = 1<<16 - 1
)

// Dir is a trail's folder of files: os.DirFS, an archive, or a memory.
type Dir struct{ FS fs.FS }

// Damage is a place where the files are not what the head commits to.
type Damage struct {
	File  string // that is damaged, or the one of two that is suspected
	Index int64  // of the first entry that it concerns
	What  string
	// Missing: the file is not there.
	Missing bool
}

func (d *Damage) Error() string {
	return fmt.Sprintf("entry %d: %s: %s", d.Index, d.File, d.What)
}

// Checkpoint returns the bytes of the latest checkpoint.
func (d Dir) Checkpoint() ([]byte, error) {
	raw, err := d.read("checkpoint", 64<<10)
	if err != nil {
		return nil, fmt.Errorf("read the trail's checkpoint: %w", err)
	}
	return raw, nil
}

// read bounds what it reads: the files come from a stranger.
func (d Dir) read(name string, limit int64) ([]byte, error) {
	f, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return data, nil
}

// number is how the n-th of many files is named: groups of three digits.
func number(n int64) string {
	name := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	return name
}

// tilePath is a tile's file; partial ones say how many hashes they hold.
func tilePath(level int, n int64, w int) string {
	return partial(path.Join("tile", fmt.Sprint(level), number(n)), w)
}

// BundlePath is the file of the entries from n × 256 on.
func BundlePath(n int64, w int) string {
	return partial(path.Join("tile", "entries", number(n)), w)
}

func partial(name string, w int) string {
	if w == width {
		return name
	}
	return fmt.Sprintf("%s.p/%d", name, w)
}

// readFull reads a file, or the full one in place of a partial: whoever writes
// the log may have removed the partial ones.
func (d Dir) readFull(name string, limit int64) ([]byte, string, error) {
	data, err := d.read(name, limit)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, name, err
	}
	full, _, ok := strings.Cut(name, ".p/")
	if !ok {
		return nil, name, err
	}
	data, again := d.read(full, limit)
	if errors.Is(again, fs.ErrNotExist) {
		return nil, name, err
	}
	return data, full, again
}

// tile returns w hashes.
func (d Dir) tile(level int, n int64, w int) ([]byte, string, error) {
	data, name, err := d.readFull(tilePath(level, n, w), width*tlog.HashSize)
	if err != nil {
		return nil, name, err
	}
	if len(data) < w*tlog.HashSize || len(data)%tlog.HashSize != 0 {
		return nil, name, fmt.Errorf("%s has %d bytes, %d are needed", name, len(data), w*tlog.HashSize)
	}
	return data[:w*tlog.HashSize], name, nil
}

// bundle returns the w entries from n × 256 on; with an error, those before it.
func (d Dir) bundle(n int64, w int) ([][]byte, string, error) {
	data, name, err := d.readFull(BundlePath(n, w), width*(largest+2))
	if err != nil {
		return nil, name, err
	}
	entries := make([][]byte, 0, w)
	for len(entries) < w {
		if len(data) < 2 {
			return entries, name, fmt.Errorf("%s ends after %d entries of %d", name, len(entries), w)
		}
		size := int(binary.BigEndian.Uint16(data))
		if data = data[2:]; len(data) < size {
			return entries, name, fmt.Errorf("%s ends within entry %d", name, n*width+int64(len(entries)))
		}
		entries = append(entries, data[:size:size])
		data = data[size:]
	}
	return entries, name, nil
}

// Entry returns entry i of a tree. It is not checked against a head; see Prove.
func (d Dir) Entry(h Head, i int64) ([]byte, error) {
	if i < 0 || i >= h.Size {
		return nil, fmt.Errorf("there is no entry %d in a trail of %d", i, h.Size)
	}
	n := i / width
	entries, _, err := d.bundle(n, int(min(h.Size-n*width, width)))
	if err != nil {
		return nil, fmt.Errorf("read entry %d: %w", i, err)
	}
	return entries[i%width], nil
}

// Hashes gives the hashes of a tree, each of them checked against its root.
func (d Dir) Hashes(h Head) tlog.HashReader {
	return tlog.TileHashReader(h.Tree(), reader{d})
}

type reader struct{ Dir }

func (reader) Height() int                     { return height }
func (reader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, _, err := r.tile(t.L, t.N, t.W)
		if err != nil {
			return nil, err
		}
		out[i] = data
	}
	return out, nil
}
