package fanout

import (
	"context"
	"database/sql"
	"maps"
	"slices"
)

// books is what the database says of deliveries.
type books struct {
	cursors []cursorRow // by partition
	floors  []floor     // of former divisions
	lanes   map[string]*Lane
	letters map[int64]*DeadLetter
	states  map[string]keyState
}

type cursorRow struct {
	position, epoch int64
	state, hash     string
}

// settled tells whether a hub that starts now would take the event as settled.
func (b *books) settled(f *fact) bool {
	if f.position <= b.states[f.key].position {
		return true
	}
	if lane := b.lanes[f.key]; lane != nil {
		return f.position < lane.Head
	}
	for _, past := range b.floors {
		key := f.tenant
		if past.KeyedBy == bySubject {
			key = f.subject
		}
		if f.position <= past.Positions[Slot(key)%past.Partitions] {
			return true
		}
	}
	return f.position <= b.cursors[Slot(f.key)%len(b.cursors)].position
}

func (w *world) readBooks() (*books, error) {
	b := &books{cursors: make([]cursorRow, w.partitions), lanes: map[string]*Lane{}, letters: map[int64]*DeadLetter{}, states: map[string]keyState{}}
	ctx, db := context.Background(), w.st.ReadSQL()
	err := db.Query(ctx, func(rows *sql.Rows) error {
		var partition int
		var c cursorRow
		var raw []byte
		if err := rows.Scan(&partition, &c.position, &c.epoch, &c.state, &c.hash, &raw); err != nil {
			return err
		}
		b.cursors[partition] = c
		floors, err := decodeFloors(raw)
		b.floors = append(b.floors, floors...)
		return err
	}, `SELECT partition, position, epoch, state, config_hash, floors FROM avhub_cursors WHERE plugin = 'p'`)
	if err != nil {
		return nil, err
	}
	lanes, err := readLanes(ctx, db, `plugin = 'p'`)
	if err != nil {
		return nil, err
	}
	for _, l := range lanes {
		b.lanes[l.Key] = l
	}
	letters, err := readLetters(ctx, db, func(*DeadLetter) bool { return true }, `plugin = 'p'`)
	if err != nil {
		return nil, err
	}
	for _, d := range letters {
		b.letters[d.Position] = d
	}
	err = db.Query(ctx, func(rows *sql.Rows) error {
		var id string
		var s keyState
		if err := rows.Scan(&id, &s.position, &s.data); err != nil {
			return err
		}
		b.states[id[len("p/"):]] = s
		return nil
	}, `SELECT id, position, state FROM avhub_plugin_states`)
	return b, err
}

// look reads the books and holds them against what happened, if somebody has
// written in them since.
func (w *world) look() {
	if !w.written {
		return
	}
	w.written = false
	before := w.books
	now, err := w.readBooks()
	if err != nil {
		w.t.Fatal(err)
	}
	w.books = now
	for i, c := range now.cursors {
		if before == nil || len(before.cursors) != len(now.cursors) || w.divided {
			break
		}
		switch was := before.cursors[i]; {
		case c.epoch < was.epoch:
			w.fail("the epoch of partition %d went back from %d to %d", i, was.epoch, c.epoch)
		case c.position < was.position:
			w.fail("the cursor of partition %d went back from %d to %d", i, was.position, c.position)
		case c.position > int64(len(w.facts)):
			w.fail("the cursor of partition %d stands at %d, beyond the journal", i, c.position)
		}
	}
	if before != nil && !w.divided {
		for key, s := range before.states {
			if now.states[key].position < s.position {
				w.fail("the state of %s went back from %d to %d", key, s.position, now.states[key].position)
			}
		}
	}
	w.divided = false
	for _, f := range w.facts {
		if !f.wanted {
			continue
		}
		is := now.settled(f)
		if is && f.fate == "" && f.discard {
			f.fate = "discarded"
			if is := w.failing[f.key]; is != nil && is.parked == f.position {
				delete(w.letters, f.position)
			}
			if is := w.failing[f.key]; is == nil || is.parked <= f.position {
				delete(w.failing, f.key)
			}
		}
		switch {
		case is && f.fate == "":
			w.fail("event %d of %s counts as settled, but no verdict on it was committed", f.position, f.key)
		case f.booked && !is:
			w.fail("event %d of %s was settled, and is not any more", f.position, f.key)
		}
		f.booked = is
	}
	for _, key := range slices.Sorted(maps.Keys(now.states)) {
		s := now.states[key]
		if string(s.data) != w.states[key] {
			w.fail("the state of %s is %q, the last committed one was %q", key, s.data, w.states[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.states)) {
		s := w.states[key]
		if _, ok := now.states[key]; !ok {
			w.fail("the state %q of %s is not there", s, key)
		}
	}
	w.lookAtTrouble()
}

// lookAtHubs holds what the owner has in memory against the books. Between two
// steps both agree, unless a step is to be repeated.
func (w *world) lookAtHubs() {
	for _, h := range w.hubs {
		lanes := 0
		for key := range w.books.lanes {
			if Slot(key)%w.partitions == h.partition {
				lanes++
			}
		}
		if h.owns() && h.taking == nil && !h.failed && h.c.lanes != lanes {
			w.fail("%s counts %d lanes, there are %d", h.name, h.c.lanes, lanes)
		}
	}
}

func (w *world) lookAtTrouble() {
	for _, position := range slices.Sorted(maps.Keys(w.letters)) {
		retry := w.letters[position]
		d, f := w.books.letters[position], w.facts[position-1]
		switch {
		case d == nil:
			w.fail("the dead letter of event %d is not there", position)
		case d.Key != f.key || d.EventID != f.id || d.event.ID != f.id || d.Attempts < 1 || len(d.History) == 0 || d.Reason == "":
			w.fail("the dead letter of event %d says %+v", position, d)
		case d.Retry != retry:
			w.fail("the dead letter of event %d is to be delivered again: %v, want %v", position, d.Retry, retry)
		}
	}
	for position := range w.books.letters {
		if _, ok := w.letters[position]; !ok {
			w.fail("event %d has a dead letter, but was not given up", position)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.books.lanes)) {
		lane := w.books.lanes[key]
		is := w.failing[key]
		if is == nil {
			is = &failing{}
		}
		if f := w.firstOpen(lane); lane.Attempts > 0 && (f == nil || f.position <= w.books.states[key].position) {
			w.fail("the lane of %s failed at %d, which is settled", key, lane.Head)
		}
		if lane.Attempts < is.least || lane.Attempts > is.most {
			w.fail("the lane of %s has %d attempts, want %d to %d", key, lane.Attempts, is.least, is.most)
		}
	}
}

// settledAll tells whether nothing is left to do.
func (w *world) settledAll() bool {
	for partition, c := range w.books.cursors {
		if c.position < int64(len(w.facts)) || len(w.hubs[partition].calls) > 0 {
			return false
		}
	}
	for _, retry := range w.letters {
		if retry {
			return false
		}
	}
	return len(w.books.lanes) == 0 && w.lookAtReplays()
}

// rest lets everything come to its end, with a plugin that applies all, and
// looks at what is left.
func (w *world) rest() {
	w.fault, w.hold, w.down, w.paused = noFault, false, false, false
	if err := Resume(context.Background(), w.st, "p"); err != nil {
		w.fail("cannot resume: %v", err)
	}
	w.lookAtPause()
	w.hash++
	for _, h := range w.hubs {
		h.drop()
	}
	for partition := range w.partitions {
		w.hubs[partition].start(partition)
	}
	for turn := 0; !w.settledAll(); turn++ {
		if turn > 40+8*len(w.facts) {
			list, err := Replays(context.Background(), w.st, "p", false, 0)
			w.fail("it does not come to rest: replays %+v %v", list, err)
		}
		w.now = w.now.Add(modelWaits[2])
		w.decide()
		for _, h := range w.hubs[:w.partitions] {
			h.work()
			if h.c == nil {
				w.fail("%s ended, and nobody told it to", h.name)
			}
			for _, call := range slices.Clone(h.calls) {
				if !call.answered {
					h.say(call, w.answer(call, op{how: "applied", state: true}))
				}
				h.take()
			}
		}
		w.look()
	}
	for _, f := range w.facts {
		f.never = false
		if f.wanted && (f.fate == "" || !f.booked) {
			w.fail("nobody knows what became of event %d of %s", f.position, f.key)
		}
	}
}

// decide is an operator who looks after the keys that are parked.
func (w *world) decide() {
	lanes := slices.Sorted(maps.Keys(w.books.lanes))
	for n, key := range lanes {
		switch lane := w.books.lanes[key]; {
		case lane.Parked == 0 || lane.Discard > 0:
		case w.tight && w.facts[lane.Parked-1].huge:
			w.operate(op{do: "discard lane", n: n})
		default:
			if _, ok := w.letters[lane.Parked]; ok {
				w.operate(op{do: "retry letter", n: slices.Index(slices.Sorted(maps.Keys(w.books.letters)), lane.Parked)})
			}
		}
	}
	w.look()
}
