//go:build unix && !linux

package plugin

import (
	"os"
	"syscall"
)

// sysProcAttr puts the process into a group of its own. There is no death
// signal here: ending an orphan is left to its standard input.
func sysProcAttr(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// keepInherited has nothing to do it with here.
func keepInherited() {}

// killGroup ends every process of the group that proc leads.
func killGroup(proc *os.Process) {
	// To kill, 0 means the caller's own group, and -1 everybody.
	if proc.Pid > 1 {
		_ = syscall.Kill(-proc.Pid, syscall.SIGKILL)
	}
}

// reap waits for the end of the process and ends what is left of its group.
func (p *process) reap() error {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	// A group keeps its number while it has members; without members this does
	// nothing.
	killGroup(p.cmd.Process)
	p.reaped = true
	return err
}
