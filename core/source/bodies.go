package source

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// freeBody is what each request may read without asking: webhooks are smaller than
// that as a rule, and so are not turned away because of others with large bodies.
// How many there are is bounded by the listener.
const freeBody = 16 << 10

// Bodies bounds the memory of bodies that are larger than usual, from the first
// byte that is read until the journal has answered. One serves all sources of a hub.
type Bodies struct {
	limit int64
	used  atomic.Int64
}

// NewBodies bounds large bodies to limit bytes in all, and to one of maxBody at
// least. reg may be nil.
func NewBodies(limit, maxBody int64, reg prometheus.Registerer) *Bodies {
	b := &Bodies{limit: max(limit, 2*maxBody)} // reading copies once
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "avhub_source_body_bytes", Help: "Memory of bodies that are being read or wait for the journal, beyond the first 16 KiB of each.",
		}, func() float64 { return float64(b.used.Load()) }))
	}
	return b
}

// share is what one request has of a Bodies.
type share struct {
	of   *Bodies
	held int64
}

// grow makes the share one of a buffer of size bytes, and reports whether there is
// room. A nil Bodies has always room.
func (s *share) grow(size int64) bool {
	more := max(size-freeBody, 0) - s.held
	if s.of == nil || more <= 0 {
		return true
	}
	if s.of.used.Add(more) > s.of.limit {
		s.of.used.Add(-more)
		return false
	}
	s.held += more
	return true
}

func (s *share) release() {
	if s.of != nil {
		s.of.used.Add(-s.held)
		s.held = 0
	}
}
