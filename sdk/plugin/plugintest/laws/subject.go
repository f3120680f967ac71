package laws

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Subject is a connector as the laws need it.
type Subject struct {
	// Start starts a life of the connector by the cheapest way there is, Process
	// as a process that Kill ends as kill -9 does. They may be the same.
	Start, Process func(ctx context.Context) (Life, error)
	// World makes a fresh outside world.
	World func(ctx context.Context) (World, error)
	// RoundTrip decodes a state into the type that the connector keeps it in, and
	// encodes it again; nil where that type is not at hand.
	RoundTrip func(state []byte) ([]byte, error)
}

// Life is one start of the connector until its end.
type Life interface {
	// Client talks to it.
	Client() pluginpb.ConnectorClient
	// Kill ends it at once, as kill -9 does, and waits until it has ended. Only
	// a life made by Subject.Process has to be able to.
	Kill()
	// Stop ends it in order. The error says that it did not end by itself.
	Stop() error
	// Log is what it has logged so far.
	Log() string
	// Leaks describes the goroutines that are left of it, where that can be seen.
	Leaks() []string
}

// World is what the connector works on, fresh and fake.
type World struct {
	// Config is the connector's configuration for this world, a JSON object.
	Config []byte
	// Look shows what is outside now, as something that JSON can say; nil where
	// nobody can look.
	Look func(ctx context.Context) (any, error)
	// Gate stands in front of the world's HTTP servers; nil if it has none.
	Gate *Gate
	// Close ends the world; it may be nil.
	Close func()
}

// Options say what to judge, and how long to try.
type Options struct {
	// Laws are the numbers of those to judge; none means all.
	Laws []int
	// Seed makes the histories.
	Seed uint64
	// Histories is how many are tried for each law; 0 means 6.
	Histories int
	// Shrink is how long to look for a shorter history that breaks a law, too; 0
	// means up to 20 s.
	Shrink time.Duration
	// Began and Done are told what is going on. Either may be nil.
	Began func(Law)
	Done  func(Result)
}

// Law is one law: its number and what it says.
type Law struct {
	Number   int    `json:"law"`
	Name     string `json:"name"`     // a word or two: "kill"
	Sentence string `json:"sentence"` // "Killed before or after any request, …"
}

// Outcome is how it went with one law.
type Outcome string

// The outcomes.
const (
	Held      Outcome = "held"
	Broken    Outcome = "broken"
	Undecided Outcome = "undecided" // it cannot apply, or cannot be seen
)

// Result is what is to say about one law.
type Result struct {
	Law
	Outcome Outcome `json:"outcome"`
	// Why says what was seen of a broken law, and why another is undecided.
	Why string `json:"why,omitempty"`
	// History is the shortest history found that breaks the law, one event a line.
	History []string `json:"history,omitempty"`
	// Log is the end of what the connector logged.
	Log []string `json:"log,omitempty"`
	// Took is in milliseconds.
	Took int64 `json:"took_ms"`
}

// Report is what is to say about a connector.
type Report struct {
	Connector string   `json:"connector"`
	Version   string   `json:"version"`
	Seed      uint64   `json:"seed"`
	OK        bool     `json:"ok"`
	Results   []Result `json:"laws"`
}

// breach is a law that was seen broken.
type breach struct{ text string }

func (b *breach) Error() string { return b.text }

func breachf(format string, args ...any) error { return &breach{fmt.Sprintf(format, args...)} }

// undecided says why a law cannot be decided.
type undecided struct{ why string }

func (u *undecided) Error() string { return u.why }

func undecidedf(format string, args ...any) error { return &undecided{fmt.Sprintf(format, args...)} }

func isBreach(err error) bool {
	var b *breach
	return errors.As(err, &b)
}

const (
	// callWithin bounds a call of Deliver, as the hub does; it is short because
	// a fake world answers at once.
	callWithin = 10 * time.Second
	// cancelWithin is law 11's second, and a quarter for a busy machine.
	cancelWithin = 1250 * time.Millisecond
	// maxAgain is how often in a row the hub takes AGAIN for an answer.
	maxAgain = 100
	// maxRetries is how often an event that was answered RETRY is tried again
	// after a fault is over.
	maxRetries = 4
)
