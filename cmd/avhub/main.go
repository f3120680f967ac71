// Command avhub runs the hub, and is how operators look at it and work with it.
//
// A verb is a thin call into a room of core; what it does is said there. Verbs
// that read or change data work on the database, so they work while hubs run.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is stamped by the build.
var version string

// Exit codes of every verb.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // unknown verb, flag or argument
)

// cli is one run of the command: where it reads and writes.
type cli struct {
	in       *os.File
	out, err io.Writer // results; messages for people
	environ  []string
}

func main() {
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}
	os.Exit(c.run(c.untilSignal(context.Background()), os.Args[1:]))
}

// untilSignal returns a context that ends with the first signal, which asks to
// end in order. The second one ends the process at once. Both come through one
// channel, so that none is lost however close they follow each other.
func (c *cli) untilSignal(ctx context.Context) context.Context {
	ctx, end := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		end()
		<-signals
		c.say("avhub: ended at once by a second signal")
		os.Exit(exitFailed)
	}()
	return ctx
}

func (c *cli) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	return c.report(cmd, err)
}
