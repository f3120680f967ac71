package tiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// Scan goes through all entries of a tree in order, and proves them: it hashes
// every entry, compares with every tile on the way up, and with the root. What
// visit was told is only proved when Scan returns nil. Damage is returned as a
// *Damage, the first there is; visit may be nil, and ends the scan by an error.
//
// Files are read and hashed in parallel; visit is called by one goroutine.
func (d Dir) Scan(ctx context.Context, h Head, visit func(i int64, entry []byte) error) error {
	ctx, stop := context.WithCancel(ctx)
	parts := d.parts(ctx, h.Size)
	defer func() { // nothing reads the files any more after the end
		stop()
		for range parts {
		}
	}()
	up := climb{dir: d, size: h.Size}
	for part := range parts {
		if part.damage != nil {
			return part.damage
		}
		if err := up.add(0, part.sum, part.n); err != nil {
			return err
		}
		for i, entry := range part.entries {
			if visit == nil {
				break
			}
			if err := visit(part.n*width+int64(i), entry); err != nil {
				return err
			}
		}
		up.tail = part.leaves
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	root, err := up.root(h)
	if err != nil {
		return err
	}
	if root != h.Root {
		return &Damage{File: "checkpoint", Index: h.Size, What: fmt.Sprintf(
			"the entries have the root %s, the checkpoint says %s: the trail was written anew, or the checkpoint is of another", root, h.Root)}
	}
	return nil
}

// part is one bundle of entries with its hashes.
type part struct {
	n       int64
	entries [][]byte
	leaves  []tlog.Hash
	sum     tlog.Hash // of a full bundle
	damage  error
	done    chan struct{}
}

// parts yields the bundles of a tree in order, read ahead by a few.
func (d Dir) parts(ctx context.Context, size int64) <-chan *part {
	out := make(chan *part)
	ahead := make(chan *part, 4*runtime.GOMAXPROCS(0))
	work := make(chan *part)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for p := range work {
				p.damage = d.load(p, int(min(size-p.n*width, width)))
				close(p.done)
			}
		})
	}
	go func() {
		defer close(ahead)
		defer close(work)
		for n := int64(0); n*width < size; n++ {
			p := &part{n: n, done: make(chan struct{})}
			select {
			case ahead <- p:
			case <-ctx.Done():
				return
			}
			work <- p // a worker is always there to take it
		}
	}()
	go func() {
		defer close(out)
		defer workers.Wait()
		for p := range ahead {
			<-p.done
			select {
			case out <- p:
			case <-ctx.Done():
				for p := range ahead {
					<-p.done
				}
				return
			}
		}
	}()
	return out
}

// load reads a bundle and compares it with the tile of its hashes.
func (d Dir) load(p *part, w int) error {
	entries, file, err := d.bundle(p.n, w)
	if err != nil && len(entries) > 0 {
		// Which entry is gone is told by the hashes of those that are there.
		if tile, _, missing := d.tile(0, p.n, w); missing == nil {
			i := 0
			for i < len(entries) && tlog.RecordHash(entries[i]) == hashAt(tile, i) {
				i++
			}
			return &Damage{File: file, Index: p.n*width + int64(i), What: err.Error()}
		}
	}
	if err != nil {
		return &Damage{File: file, Index: p.n * width, What: missing(err), Missing: errors.Is(err, fs.ErrNotExist)}
	}
	tile, tileFile, err := d.tile(0, p.n, w)
	if err != nil {
		return &Damage{File: tileFile, Index: p.n * width, What: missing(err), Missing: errors.Is(err, fs.ErrNotExist)}
	}
	p.entries, p.leaves = entries, make([]tlog.Hash, w)
	for i, entry := range entries {
		p.leaves[i] = tlog.RecordHash(entry)
		if p.leaves[i] != hashAt(tile, i) {
			return &Damage{File: file, Index: p.n*width + int64(i), What: "the entry does not have the hash that " + tileFile + " says"}
		}
	}
	if w == width {
		p.sum = fold(p.leaves)
	}
	return nil
}

func missing(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "the file is missing"
	}
	return err.Error()
}

func hashAt(tile []byte, i int) (h tlog.Hash) {
	copy(h[:], tile[i*tlog.HashSize:])
	return h
}

// fold is the root of a perfect tree.
func fold(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return tlog.NodeHash(fold(hashes[:half]), fold(hashes[half:]))
}

// climb keeps what is above the bundles, and compares it with the tiles there.
type climb struct {
	dir  Dir
	size int64
	// levels[l] are the hashes of tiles of level l+1 that are not full yet.
	levels [][]tlog.Hash
	tail   []tlog.Hash // leaves of the last bundle
}

// add takes the hash of a full tile of a level.
func (c *climb) add(level int, sum tlog.Hash, n int64) error {
	if level == 0 && (n+1)*width > c.size {
		return nil // a partial bundle has no hash above it
	}
	if len(c.levels) == level {
		c.levels = append(c.levels, nil)
	}
	c.levels[level] = append(c.levels[level], sum)
	full := c.levels[level]
	last := n+1 == c.size>>(height*(level+1))
	if len(full) < width && !last {
		return nil
	}
	above := n / width
	tile, file, err := c.dir.tile(level+1, above, len(full))
	first := above << (height * (level + 2))
	if err != nil {
		return &Damage{File: file, Index: first, What: missing(err), Missing: errors.Is(err, fs.ErrNotExist)}
	}
	for i, h := range full {
		if hashAt(tile, i) != h {
			return &Damage{File: file, Index: first + int64(i)<<(height*(level+1)), What: "a hash in the tile is not that of the entries below it"}
		}
	}
	if len(full) < width {
		return nil
	}
	sum = fold(full)
	c.levels[level] = full[:0]
	return c.add(level+1, sum, above)
}

// root joins what is left on the right edge: from the lowest level up.
func (c *climb) root(h Head) (tlog.Hash, error) {
	if h.Size == 0 {
		return tlog.TreeHash(0, nil)
	}
	edge := c.tail
	if h.Size%width == 0 {
		edge = nil
	}
	var right tlog.Hash
	have := false
	join := func(hashes []tlog.Hash) {
		// Perfect subtrees of a level, largest first, by the bits of the count.
		for n := len(hashes); n > 0; {
			size := n & -n
			sum := fold(hashes[n-size : n])
			if have {
				right = tlog.NodeHash(sum, right)
			} else {
				right, have = sum, true
			}
			n -= size
		}
	}
	join(edge)
	for _, level := range c.levels {
		join(level)
	}
	if !have {
		return tlog.Hash{}, errors.New("compute the root: there is nothing")
	}
	return right, nil
}
