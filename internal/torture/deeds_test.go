package torture

import (
	"syscall"
	"time"
)

// What is done to a world.
const (
	killHub      = "hubs killed"
	killPlugin   = "plugins killed"
	killDatabase = "databases killed"
	stopPlugin   = "plugins stopped"
	stopHub      = "hubs stopped"
	refuse       = "hubs away"
	cutCable     = "cables cut"
	revived      = "hubs started again" // that had ended because their database was away
	lifted       = "quarantines lifted"
)

func deeds() []string {
	return []string{killHub, killPlugin, killDatabase, stopPlugin, stopHub, refuse, cutCable, revived, lifted}
}

// act does one thing at random. The leases of a hub that is killed last for 15 s,
// in which nobody delivers what it delivered; so where several share the work, hubs
// are killed less often, and plugins more often.
func (r *rig) act() {
	h := r.hubs[r.random.IntN(len(r.hubs))]
	if !h.running() { // it is away
		return
	}
	hubs := 45
	if len(r.hubs) > 1 {
		hubs = 12
	}
	switch n := r.random.IntN(100); {
	case n < hubs:
		h.end(syscall.SIGKILL)
		r.count[killHub]++
		r.must(h.start())
	case n < 78:
		if pids := h.plugins(); len(pids) > 0 {
			_ = syscall.Kill(pids[r.random.IntN(len(pids))], syscall.SIGKILL) // it may be gone
			r.count[killPlugin]++
		}
	case n < 84 && r.database != nil:
		r.database.Kill9()
		r.count[killDatabase]++
		r.rest(r.between(0, 300*time.Millisecond))
		r.database.Start()
	case n < 90:
		r.stopOne(h)
	case n < 94:
		r.stop(h)
	case n < 97:
		h.end(syscall.SIGKILL)
		r.count[killHub]++
		r.count[refuse]++
		h.away = true
		r.later(r.between(200*time.Millisecond, 2*time.Second), func() { r.must(h.start()) })
	case r.cable != nil:
		r.count[cutCable]++
		if r.random.IntN(2) == 0 {
			r.cable.freeze()
		} else {
			r.cable.refuse()
		}
		r.later(r.length(), r.cable.open)
	}
}

// length is of what lasts: mostly short, at times beyond the limits of calls and
// leases.
func (r *rig) length() time.Duration {
	if r.duration > time.Minute && r.random.IntN(10) == 0 {
		return r.between(12*time.Second, 22*time.Second)
	}
	return r.between(100*time.Millisecond, 3*time.Second)
}

// stopOne freezes one of a hub's plugins for a while.
func (r *rig) stopOne(h *hub) {
	pids := h.plugins()
	if len(pids) == 0 {
		return
	}
	pid := pids[r.random.IntN(len(pids))]
	_ = syscall.Kill(pid, syscall.SIGSTOP) // it may be gone
	r.count[stopPlugin]++
	r.later(r.length(), func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
}

// stop freezes a hub for a while.
func (r *rig) stop(h *hub) {
	if h.stopped {
		return
	}
	process, exited := h.cmd.Process, h.exited
	_ = process.Signal(syscall.SIGSTOP) // it may have ended
	h.stopped = true
	r.count[stopHub]++
	r.later(r.length(), func() {
		select {
		case <-exited:
		default:
			_ = process.Signal(syscall.SIGCONT)
			h.stopped = false
		}
	})
}
