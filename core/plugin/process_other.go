//go:build !unix

package plugin

import (
	"os"
	"syscall"
)

// There are no process groups and no death signals here: ending the process is
// all that can be done, and its children end by themselves.

func sysProcAttr(bool) *syscall.SysProcAttr { return nil }

// keepInherited has nothing to do it with here.
func keepInherited() {}

func killGroup(proc *os.Process) { _ = proc.Kill() }

func (p *process) reap() error {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return err
}
