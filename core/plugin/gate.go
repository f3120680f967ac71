package plugin

import (
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	// A line costs one, and one more for each KiB of it.
	gateRate  = 200  // for each second
	gateBurst = 2000 // at once
	// gateTells is how often what was left out is told.
	gateTells = 5 * time.Second
	// readRate is how much is read in a second of what a connector prints, after a
	// burst of as much. One that prints more waits: a hub that reads as fast as it
	// can does little else.
	readRate = 8 << 20
)

// gate is what a connector's lines go through on their way to the hub's log: it
// hides secrets, and keeps a flood from filling a disk. Warnings and errors have
// a share of their own, so that a flood of others does not hide them.
type gate struct {
	log     zerolog.Logger
	hidden  *mask
	dropped *atomic.Int64
	now     func() time.Time

	mu      sync.Mutex
	usual   bucket
	grave   bucket
	leftOut int64 // since it was told last
	told    time.Time
}

type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) take(cost float64, now time.Time) bool {
	b.left = min(gateBurst, b.left+gateRate*now.Sub(b.at).Seconds())
	b.at = now
	if b.left < cost {
		return false
	}
	b.left -= cost
	return true
}

func newGate(opts Options) *gate {
	g := &gate{log: opts.Log, hidden: opts.timing.hidden, dropped: opts.timing.dropped, now: time.Now}
	if g.hidden == nil {
		g.hidden = &mask{}
	}
	if g.dropped == nil {
		g.dropped = &atomic.Int64{}
	}
	full := bucket{gateBurst, g.now()}
	g.usual, g.grave = full, full
	return g
}

// event begins an entry of the log for a line of so many bytes; nil if it is
// left out. Nothing is spent on a level that is not logged.
func (g *gate) event(level zerolog.Level, size int) *zerolog.Event {
	e := g.log.WithLevel(level)
	if !e.Enabled() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	share := &g.usual
	if level >= zerolog.WarnLevel {
		share = &g.grave
	}
	ok := share.take(1+float64(size>>10), now)
	if !ok {
		g.leftOut++
		g.dropped.Add(1)
		e.Discard()
		e = nil
	}
	if g.leftOut > 0 && now.Sub(g.told) >= gateTells {
		g.tell(now)
	}
	return e
}

// end tells what has not been told yet.
func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leftOut > 0 {
		g.tell(g.now())
	}
}

// tell says how much was left out. The caller holds the lock.
func (g *gate) tell(now time.Time) {
	g.log.Warn().Int64("lines", g.leftOut).Msg("the plugin writes more than is logged; lines were left out")
	g.leftOut, g.told = 0, now
}

// paced reads no more than readRate. What it reads from blocks whoever writes.
type paced struct {
	r    io.Reader
	left int
	at   time.Time
}

func (p *paced) Read(b []byte) (int, error) {
	now := time.Now()
	p.left = min(readRate, p.left+int(min(time.Second, now.Sub(p.at)).Seconds()*readRate))
	p.at = now
	if p.left <= 0 {
		time.Sleep(time.Duration(1-p.left) * time.Second / readRate)
	}
	n, err := p.r.Read(b)
	p.left -= n
	return n, err
}

// minSecretBytes is the shortest secret that is hidden: shorter ones are part of
// ordinary text, and are no secrets worth the name.
const minSecretBytes = 6

const redacted = "(redacted)"

// mask hides secrets in what a connector prints. An author's own library may do
// so as well; a stack that the runtime prints goes through none.
type mask struct {
	mu    sync.Mutex
	known map[string]bool
	r     atomic.Pointer[strings.Replacer]
}

// add hides more values from now on. Those of an earlier configuration stay
// hidden, as the process may still quote them.
func (m *mask) add(values []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[string]bool{}
	}
	for _, v := range values {
		if len(v) < minSecretBytes {
			continue
		}
		m.known[v] = true
		m.known[url.QueryEscape(v)] = true
		m.known[url.PathEscape(v)] = true
		for _, line := range strings.Split(v, "\n") { // such as a key's, in PEM
			if len(line) >= minSecretBytes {
				m.known[line] = true
			}
		}
		if text, err := json.Marshal(v); err == nil {
			m.known[string(text[1:len(text)-1])] = true
		}
	}
	// Longer ones first: one may be part of another.
	words := make([]string, 0, len(m.known))
	for w := range m.known {
		words = append(words, w)
	}
	slices.SortFunc(words, func(a, b string) int {
		if d := len(b) - len(a); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var pairs []string
	for _, w := range words {
		pairs = append(pairs, w, redacted)
	}
	if len(pairs) > 0 {
		m.r.Store(strings.NewReplacer(pairs...))
	}
}

func (m *mask) hide(line []byte) []byte {
	if r := m.r.Load(); r != nil {
		return []byte(r.Replace(string(line)))
	}
	return line
}

// Hide strikes values out of everything that the connector prints from now on:
// secrets of its configuration and its environment. Values of fewer than six
// characters are left. It may be called at any time.
func (s *Supervisor) Hide(values ...string) { s.hidden.add(values) }
