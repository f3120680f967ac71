package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Operator shows plugins and their deliveries, and steers them. What it returns
// as any is encoded as JSON in the shape that the document tells. Beside errors
// of the database it returns those that NotFound, Conflict and Invalid make.
type Operator interface {
	Plugins(ctx context.Context) (list any, err error)
	Plugin(ctx context.Context, name string) (any, error)
	Pause(ctx context.Context, name, reason string) error
	Resume(ctx context.Context, name string) error
	Restart(ctx context.Context, name string) error

	// States lists what a plugin remembers, without its secrets: limit keys at
	// most that begin with prefix and come after another.
	States(ctx context.Context, name, prefix, after string, limit int) ([]State, error)
	// State returns one, of a key that has one.
	State(ctx context.Context, name, key string) (State, error)

	// Replays lists replays, newest first: of a plugin, or of all.
	Replays(ctx context.Context, name string, running bool, limit int) (list any, err error)
	Replay(ctx context.Context, id int64) (any, error)
	StartReplay(ctx context.Context, w ReplayWish) (any, error)
	// PlanReplay only counts the events.
	PlanReplay(ctx context.Context, w ReplayWish) (any, error)
	CancelReplay(ctx context.Context, id int64) (any, error)

	// Trouble lists lanes and dead letters, limit of each.
	Trouble(ctx context.Context, s Selection, limit int) (Trouble, error)
	// Count, Retry and Discard return how many they are about. When ctx ends they
	// return what they have done, which stays done, and its error.
	Count(ctx context.Context, s Selection) (Affected, error)
	Retry(ctx context.Context, s Selection) (Affected, error)
	Discard(ctx context.Context, s Selection) (Affected, error)
}

// State is what a plugin remembers for a key.
type State struct {
	Key       string          `json:"key"`
	Position  int64           `json:"position"`
	Bytes     int             `json:"bytes"`
	State     json.RawMessage `json:"state"` // without secrets
	UpdatedAt time.Time       `json:"updated_at"`
}

// ReplayWish says which events a plugin is to get again. Zero fields select all.
type ReplayWish struct {
	Plugin       string    `json:"plugin"`
	Since        time.Time `json:"since"`
	Until        time.Time `json:"until"`
	FromPosition int64     `json:"from_position"`
	ToPosition   int64     `json:"to_position"`
	Types        []string  `json:"types"`
	Tenant       string    `json:"tenant"`
	Key          string    `json:"key"`
	Rate         *int      `json:"rate"` // events in a second; 0: no limit; nil: the usual one
	DryRun       bool      `json:"dry_run"`
}

// Selection selects lanes and dead letters. Zero fields select all.
type Selection struct {
	Plugin string    `json:"plugin"`
	Key    string    `json:"key"`
	Type   string    `json:"type"` // of dead letters; lanes have none
	Tenant string    `json:"tenant"`
	Reason string    `json:"reason"` // part of the last error
	ID     int64     `json:"id"`     // of one dead letter
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// Trouble is what waits for another attempt or for an operator.
type Trouble struct {
	Lanes       any      `json:"lanes"`
	DeadLetters any      `json:"dead_letters"`
	Total       Affected `json:"total"`
}

// Affected counts what an operation is about.
type Affected struct {
	Lanes       int64 `json:"lanes"`
	DeadLetters int64 `json:"dead_letters"`
}

// NotFound is the error for something that there is not. The text is for whoever
// asked, as with Conflict and Invalid.
func NotFound(text string) error { return &failure{http.StatusNotFound, notFound, text} }

// Conflict is the error for what cannot be done as things stand.
func Conflict(text string) error { return &failure{http.StatusConflict, conflict, text} }

// Invalid is the error for a value that is not taken.
func Invalid(text string) error { return bad(badParameter, text) }
