package plugin

import "time"

// Usage is what a connector takes, its children included as long as they stay in
// its process group.
type Usage struct {
	CPU       time.Duration // since the supervisor began, of earlier processes, too
	Memory    int64         // bytes in memory; pages that several share count for each
	OpenFiles int
}

// Usage returns what the connector takes now. It reports false where the system
// does not tell: on other systems than Linux.
func (s *Supervisor) Usage() (Usage, bool) {
	s.mu.Lock()
	inst := s.present
	is := Usage{CPU: s.spent}
	s.mu.Unlock()
	if !canLimit {
		return Usage{}, false
	}
	if inst != nil && inst.proc != nil {
		now := usageOf(inst.proc.members(), true)
		is.CPU, is.Memory, is.OpenFiles = is.CPU+now.CPU, now.Memory, now.OpenFiles
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// It never shrinks, though children may end whose time nobody inherits.
	s.mostCPU = max(s.mostCPU, is.CPU)
	is.CPU = s.mostCPU
	return is, true
}

// attend notes which instance there is from now on; nil: the last one has ended.
func (s *Supervisor) attend(inst *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.present; old != nil && old.proc != nil && old.proc.hasExited(0) {
		s.spent += old.proc.spent()
	}
	s.present = inst
}

// spent is the CPU time of a process that has ended, and of its children.
func (p *process) spent() time.Duration {
	if state := p.cmd.ProcessState; state != nil {
		return state.UserTime() + state.SystemTime()
	}
	return 0
}

// members are the processes of the group, none once it has ended.
func (p *process) members() []int {
	p.mu.Lock()
	gone := !p.started || p.reaped
	p.mu.Unlock()
	if gone {
		return nil
	}
	return groupMembers(p.cmd.Process.Pid)
}
