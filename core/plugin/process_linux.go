package plugin

import (
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sysProcAttr puts the process into a group of its own, and lets it die with
// the hub even when it does not watch its standard input.
func sysProcAttr(deathSignal bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if deathSignal {
		attr.Pdeathsig = syscall.SIGKILL
	}
	return attr
}

// keepInherited closes, for all programs that this one will start, the files that
// it was itself started with beyond the standard three: they are nobody's
// business. What Go opens is closed for them anyway.
func keepInherited() {
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) // before Linux 5.11 there is none
}

// killGroup ends every process of the group that proc leads.
func killGroup(proc *os.Process) {
	// To kill, 0 means the caller's own group, and -1 everybody.
	if proc.Pid > 1 {
		_ = syscall.Kill(-proc.Pid, syscall.SIGKILL)
	}
}

// reap waits for the end of the process, ends what is left of its group, and
// only then gives its number back: until then it cannot be another group's.
func (p *process) reap() error {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	killGroup(p.cmd.Process)
	err := p.cmd.Wait()
	p.reaped = true
	return err
}
