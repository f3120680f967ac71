package access

import (
	"hash/maphash"
	"sync/atomic"
)

// stamps remember when things last changed, so that what was read from them
// before is known to be stale. They have a fixed size: things share a stamp
// where their hashes do, and then one is taken for stale with the other, never
// for fresh.
//
// The order of steps makes it right without locks. A reader notes now() first
// and reads the database then. A writer stamps after its commit. If the reader's
// number is below the stamp, what it read does not count; if not, it read after
// the commit. Between begin and end, while a commit is on its way, nothing that
// depends on what it changes counts at all, so that nobody who saw the commit
// elsewhere gets an older answer here.
type stamps struct {
	seed  maphash.Seed
	clock atomic.Uint64
	all   stamp // of everything
	slots [1 << 14]stamp
}

type stamp struct {
	changed atomic.Uint64
	pending atomic.Int64
}

// tag names the stamp of a thing.
type tag uint32

// kind of a thing that decisions depend on.
type kind string

const (
	kindIdentity     kind = "identity"
	kindOrganization kind = "organization"
	kindMembership   kind = "membership"
	kindSlug         kind = "slug" // of an organization
)

func newStamps() *stamps { return &stamps{seed: maphash.MakeSeed()} }

func (s *stamps) now() uint64 { return s.clock.Load() }

func (s *stamps) tag(k kind, id string) tag {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(string(k)) // a hash never fails
	_ = h.WriteByte('/')
	_, _ = h.WriteString(id)
	return tag(h.Sum64() % uint64(len(s.slots)))
}

// fresh tells whether nothing of tags has changed after since, or may be
// changing.
func (s *stamps) fresh(since uint64, tags []tag) bool {
	if !s.all.before(since) {
		return false
	}
	for _, t := range tags {
		if !s.slots[t].before(since) {
			return false
		}
	}
	return true
}

func (s *stamp) before(since uint64) bool {
	return s.pending.Load() == 0 && s.changed.Load() <= since
}

// touched is what a commit changes.
type touched struct {
	everything bool
	tags       []tag
}

// begin says that a commit may change something from now on.
func (s *stamps) begin(t touched) {
	for _, st := range s.each(t) {
		st.pending.Add(1)
	}
}

// end says that the commit is done.
func (s *stamps) end(t touched) {
	s.change(t)
	for _, st := range s.each(t) {
		st.pending.Add(-1)
	}
}

// change says that something has been changed by now.
func (s *stamps) change(t touched) {
	at := s.clock.Add(1)
	for _, st := range s.each(t) {
		for {
			was := st.changed.Load()
			if was >= at || st.changed.CompareAndSwap(was, at) {
				break
			}
		}
	}
}

func (s *stamps) each(t touched) []*stamp {
	if t.everything {
		return []*stamp{&s.all}
	}
	list := make([]*stamp, len(t.tags))
	for i, tag := range t.tags {
		list[i] = &s.slots[tag]
	}
	return list
}
