package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

// greedy is what the connector of these tests does to take more than its share.
func (c conn) greedy(ctx context.Context, ev plugin.Event, st *state) error {
	what, arg, _ := strings.Cut(ev.Type, "=")
	n, _ := strconv.Atoi(arg)
	switch what {
	case "hold":
		hold(n << 20)
		<-ctx.Done()
		return ctx.Err()
	case "child-hold", "child-spin":
		// Of its own group, and another mode of this same binary.
		mode := map[string]string{"child-hold": "hog", "child-spin": "spinner"}[what]
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{modeVar + "=" + mode}
		if err := cmd.Start(); err != nil {
			return err
		}
		return plugin.Skip(strconv.Itoa(cmd.Process.Pid))
	case "deaf-child":
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{modeVar + "=deaf-child"}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = out.Read(make([]byte, 5)) // it ignores them from now on
		}
		return errors.Join(plugin.Skip(strconv.Itoa(cmd.Process.Pid)), err)
	case "echo":
		return plugin.Skip(strconv.Itoa(len(ev.Raw)))
	case "remember":
		st.Text = strings.Repeat("r", n)
	case "spin":
		for range runtime.GOMAXPROCS(0) {
			go spin(ctx)
		}
		<-ctx.Done()
		return plugin.Skip("spun")
	case "files":
		opened := 0
		for ; opened < n; opened++ {
			// Not closed: the files are what is counted.
			if _, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
				return plugin.Skip(fmt.Sprintf("%d %s", opened, err))
			}
		}
		return plugin.Skip(fmt.Sprintf("%d", opened))
	case "environment":
		return plugin.Skip(os.Getenv(arg))
	case "flood":
		// As fast as a pipe takes it.
		line := []byte(strings.Repeat(strings.Repeat("f", 99)+"\n", 1000))
		for ctx.Err() == nil {
			_, _ = syscall.Write(2, line)
		}
		_, _ = syscall.Write(2, []byte("{\"@level\":\"error\",\"@message\":\"after the flood\"}\n"))
		return nil
	case "endless":
		junk := make([]byte, 1<<20) // zeros: no text, and no end of the line
		for range n {
			_, _ = syscall.Write(2, junk)
		}
		return nil
	case "say":
		_, _ = syscall.Write(2, []byte(arg+"\n"))
		fmt.Println(arg)
		return nil
	case "blow":
		go func() { panic(arg) }()
		select {}
	}
	return nil
}

// hold takes memory and touches it.
func hold(n int) {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	kept = b
}

var kept []byte

func spin(ctx context.Context) {
	for until := time.Now().Add(time.Minute); ; {
		for range 1_000_000 {
			_ = ctx
		}
		if ctx.Err() != nil || time.Now().After(until) {
			return
		}
	}
}
