package plugin

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// canLimit tells whether this system says what processes take, and has ways to
// bound it.
const canLimit = true

// clockTick is what /proc counts CPU time in: the kernel shows every program 100
// to a second, whatever it uses itself.
const clockTick = 10 * time.Millisecond

// procStat is what is read of /proc/PID/stat.
type procStat struct {
	group  int
	cpu    time.Duration // with that of children that were waited for
	memory int64
}

func readStat(pid int) (procStat, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, false
	}
	// The name, in parentheses, may hold spaces and parentheses.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 22 {
		return procStat{}, false
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
		return n
	}
	// Of the manual's numbers, 3 is the first here.
	ticks := number(14-3) + number(15-3) + number(16-3) + number(17-3)
	return procStat{
		group: int(number(5 - 3)), cpu: time.Duration(ticks) * clockTick, memory: number(24-3) * int64(os.Getpagesize()),
	}, true
}

// groupMembers are the processes of a group.
func groupMembers(group int) []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if stat, ok := readStat(pid); ok && stat.group == group {
			pids = append(pids, pid)
		}
	}
	return pids
}

// usageOf is what processes take together. To count their files takes longer.
func usageOf(pids []int, files bool) (is Usage) {
	for _, pid := range pids {
		stat, ok := readStat(pid)
		if !ok {
			continue
		}
		is.CPU += stat.cpu
		is.Memory += stat.memory
		if !files {
			continue
		}
		if dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd"); err == nil {
			names, _ := dir.Readdirnames(-1)
			_ = dir.Close()
			is.OpenFiles += len(names)
		}
	}
	return is
}

// limitFiles bounds the descriptors of a process, and of the children that it
// will have.
func limitFiles(pid, most int) error {
	var is unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &is); err != nil {
		return fmt.Errorf("limiting the plugin's open files: %w", err)
	}
	n := min(uint64(most), is.Max)
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
		return fmt.Errorf("limiting the plugin's open files: %w", err)
	}
	return nil
}

// stopGroup has every process of the group that proc leads stand still, or go on.
func stopGroup(proc *os.Process, goOn bool) {
	signal := syscall.SIGSTOP
	if goOn {
		signal = syscall.SIGCONT
	}
	if proc.Pid > 1 {
		_ = syscall.Kill(-proc.Pid, signal)
	}
}
