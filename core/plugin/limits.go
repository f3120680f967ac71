package plugin

import (
	"fmt"
	"time"
)

// Limits bound what a connector's process may take, together with its children
// as long as they stay in its process group. 0 means no limit.
type Limits struct {
	// Memory is the most bytes that the processes may hold in memory, all
	// together; pages that several of them share count for each. Beyond it they
	// are killed, which is a crash.
	Memory int64
	// CPU is how many processors they may use, all together, on average over
	// five seconds: 0.5 is half of one. Beyond it they stand still for moments.
	CPU float64
	// OpenFiles is how many descriptors each of them may have open.
	OpenFiles int
}

// any tells whether something has to be looked after while the process runs.
func (l Limits) any() bool { return l.Memory > 0 || l.CPU > 0 }

// environment tells a program written in Go what it may take, so that it
// collects garbage before it is killed for it. What the operator set stands.
func (l Limits) environment(env map[string]string) []string {
	if _, set := env["GOMEMLIMIT"]; set || l.Memory == 0 {
		return nil
	}
	return []string{fmt.Sprintf("GOMEMLIMIT=%d", l.Memory/10*9)}
}

const (
	// lookEvery is how often memory is looked at: a process that grows by 1 GB/s
	// is half a gigabyte over its limit when it is noticed.
	lookEvery = 500 * time.Millisecond
	// paceEvery is how often CPU time is: clocks of the system tick each 10 ms.
	paceEvery = 100 * time.Millisecond
	// cpuWindow is how long a process may use a whole multiple of its share.
	cpuWindow = 5 * time.Second
	// maxStill keeps a process that stands still from looking frozen.
	maxStill = time.Second
)

// budget is CPU time that may be used. It fills at a rate, up to what the window
// is worth.
type budget struct {
	rate float64
	left time.Duration
	at   time.Time
}

func newBudget(rate float64, now time.Time) *budget {
	return &budget{rate: rate, left: time.Duration(rate * float64(cpuWindow)), at: now}
}

// spend takes what was used, and returns how long to use nothing.
func (b *budget) spend(used time.Duration, now time.Time) time.Duration {
	most := time.Duration(b.rate * float64(cpuWindow))
	b.left = min(most, b.left+time.Duration(b.rate*float64(now.Sub(b.at)))) - used
	b.at = now
	if b.left >= 0 {
		return 0
	}
	return min(maxStill, time.Duration(float64(-b.left)/b.rate))
}

// sizeText is a number of bytes as people write it.
func sizeText(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// enforce holds the process to its limits until it has ended.
func (p *process) enforce(l Limits) {
	every := lookEvery
	if l.CPU > 0 {
		every = paceEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	now := time.Now()
	cpu := newBudget(l.CPU, now)
	var looked time.Time
	var pids []int
	var before time.Duration
	for {
		select {
		case <-p.exited:
			return
		case now = <-tick.C:
		}
		if now.Sub(looked) >= lookEvery {
			looked = now
			pids = p.members()
		}
		is := usageOf(pids, false)
		if l.Memory > 0 && is.Memory > l.Memory {
			p.kill(fmt.Sprintf("it took %s of memory, and its limit is %s", sizeText(is.Memory), sizeText(l.Memory)))
			return
		}
		if l.CPU > 0 {
			used := max(0, is.CPU-before) // less when one has ended that nobody waited for
			before = max(before, is.CPU)
			if pause := cpu.spend(used, time.Now()); pause > 0 {
				p.standStill(pause)
			}
		}
	}
}

// standStill stops the group for a while.
func (p *process) standStill(pause time.Duration) {
	p.signalGroup(false)
	select {
	case <-p.exited:
	case <-time.After(pause):
	}
	p.signalGroup(true)
}

// signalGroup stops the group or lets it go on, if it is still ours.
func (p *process) signalGroup(goOn bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started && !p.reaped {
		stopGroup(p.cmd.Process, goOn)
	}
}
