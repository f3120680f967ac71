package resource

import (
	"context"
	"errors"
)

// ErrNotOwned says that something of the name is there, and is not ours.
var ErrNotOwned = errors.New("not_owned: something of this name exists and does not carry our mark")

// ErrGone says that a resource which was to be changed is not there.
var ErrGone = errors.New("the resource is not there any more")

// ErrChanged says that a resource's mark is not the one that its end was decided
// by.
var ErrChanged = errors.New("the resource has changed in the meantime")

// ErrLater says that an outside asked to be tried later; no attempt is counted.
var ErrLater = errors.New("asked to be tried later")

// Observed is what a driver sees of a resource.
type Observed struct {
	Exists bool // at least a part of it does
	Whole  bool // every part does
	Marked bool
	Mark   Mark // of the whole; zero: it is not marked
	// Open tells whether it can be used now. A resource that is closed, but still
	// in use, is open.
	Open bool
	// References say where it is. They hold no secret.
	References map[string]string
}

// Found is a marked resource.
type Found struct {
	Name string
	Mark Mark
}

// May is what Put is allowed beyond changing what is ours.
type May struct {
	Create bool
	Adopt  bool // take over what is not marked
}

// Driver makes resources of one kind. Names are made by package name. Every
// method can be repeated after it was cut off anywhere. Calls for one name
// exclude each other, also those of other processes.
type Driver interface {
	Observe(ctx context.Context, name string) (Observed, error)
	// Put makes what is missing, opens or closes the resource as the mark's phase
	// says, and marks it. ErrNotOwned, ErrGone: nothing was changed.
	Put(ctx context.Context, name string, m Mark, may May) error
	// Destroy deletes a resource for ever, if it still carries this very mark.
	Destroy(ctx context.Context, name string, was Mark) error
	// List finds all that carries a mark of an owner, and whose name ends so.
	List(ctx context.Context, owner, suffix string) ([]Found, error)
	// Check changes nothing.
	Check(ctx context.Context) error
	Close()
}
