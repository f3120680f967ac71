package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/entry"
	"github.com/avhub/avhub/plugins/auditlog/trail"
)

// Requests that change the trail, or tell in it what was done.
const (
	Erase    = "erase"
	Hold     = "hold"
	Release  = "release"
	Disclose = "disclose"
)

// Everybody is the subject of a hold that is on the whole trail.
const Everybody = "*"

// Request is what an operator wants done.
type Request struct {
	Do string `json:"do"`
	// Subject is "identity:usr_1", "address:ines@example.com", or for a hold also
	// Everybody.
	Subject string `json:"subject,omitempty"`
	// Reason is told in the entry: the legal basis, or the case.
	Reason string `json:"reason"`
	// By is the user account of whoever asks.
	By string `json:"by"`
	// What tells what was read, for Disclose.
	What string `json:"what,omitempty"`
}

// Done is what came of a request.
type Done struct {
	Index  int64    `json:"index"`            // of its entry
	Owners []string `json:"owners,omitempty"` // whose keys are gone
}

// ErrHeld: a legal hold forbids it.
var ErrHeld = errors.New("there is a legal hold")

// ErrRequest: a request is not understood.
var ErrRequest = errors.New("this cannot be done")

const maxReason = 1000 // characters

// Do does what an operator wants, and returns when the entry that tells it is
// durable.
func (l *Ledger) Do(ctx context.Context, r Request) (Done, error) {
	if err := r.check(); err != nil {
		return Done{}, err
	}
	subject := l.vault.Owner(r.Subject)
	switch r.Do {
	case Hold:
		index, err := l.tell(ctx, entry.Held, r.By, map[string]any{"subject": subject, "reason": r.Reason})
		return Done{Index: index}, err
	case Release:
		l.mu.Lock()
		_, held := l.held[subject]
		l.mu.Unlock()
		if !held {
			return Done{}, fmt.Errorf("%w: there is no hold on %s", ErrRequest, subject)
		}
		index, err := l.tell(ctx, entry.Released, r.By, map[string]any{"subject": subject, "reason": r.Reason})
		return Done{Index: index}, err
	case Disclose:
		index, err := l.tell(ctx, entry.Disclosed, r.By, map[string]any{"what": r.What, "reason": r.Reason})
		return Done{Index: index}, err
	default:
		return l.erase(ctx, subject, r)
	}
}

func (r Request) check() error {
	kind, id, _ := strings.Cut(r.Subject, ":")
	switch {
	case r.Do != Erase && r.Do != Hold && r.Do != Release && r.Do != Disclose:
		return fmt.Errorf("%w: there is no request %q", ErrRequest, r.Do)
	case strings.TrimSpace(r.Reason) == "":
		return fmt.Errorf("%w: it needs a reason, which the trail will tell", ErrRequest)
	case len(r.Reason) > maxReason || len(r.Subject) > maxReason || len(r.What) > maxReason:
		return fmt.Errorf("%w: a reason or a subject has at most %d bytes", ErrRequest, maxReason)
	case r.Do == Disclose:
		return nil
	case r.Subject == Everybody && r.Do != Erase:
		return nil
	case (kind != "identity" && kind != "address") || id == "":
		return fmt.Errorf("%w: %q is nobody: write identity:ID, or address:E-MAIL for somebody who only was invited", ErrRequest, r.Subject)
	}
	return nil
}

// erase destroys keys. The entry comes after them: an erasure that a crash cut
// short is asked for again, and one that is told was done.
func (l *Ledger) erase(ctx context.Context, subject string, r Request) (Done, error) {
	l.mu.Lock()
	for _, who := range []string{subject, Everybody} {
		if why, held := l.held[who]; held {
			l.mu.Unlock()
			return Done{}, fmt.Errorf("erase %s: %w on %s (%s): end it with `release` first", subject, ErrHeld, who, why)
		}
	}
	l.mu.Unlock()
	owners, err := l.vault.Erase(subject)
	if err != nil {
		return Done{}, fmt.Errorf("erase %s: %w", subject, err)
	}
	index, err := l.tell(ctx, entry.Erased, r.By, map[string]any{"subject": subject, "owners": owners, "reason": r.Reason})
	return Done{Index: index, Owners: owners}, err
}

// Opened tells under which configuration the trail is written, if that is not
// the one of the time before.
func (l *Ledger) Opened(ctx context.Context, config string) error {
	l.mu.Lock()
	same := l.config == config
	l.mu.Unlock()
	if same {
		return nil
	}
	_, err := l.tell(ctx, entry.Opened, "", map[string]any{"config": config, "origin": l.Origin(), "key": l.PublicKey()})
	return err
}

// Heartbeat tells how much there is by now, so that silence is told from loss.
func (l *Ledger) Heartbeat(ctx context.Context) error {
	l.mu.Lock()
	note := map[string]any{"entries": l.entries, "events": l.events, "streams": len(l.seqs)}
	l.mu.Unlock()
	_, err := l.tell(ctx, entry.Heartbeat, "", note)
	return err
}

// tell adds an entry of the trail's own.
func (l *Ledger) tell(ctx context.Context, kind, by string, note map[string]any) (int64, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	e := entry.Entry{V: entry.Version, Kind: kind, OccurredAt: &now, Actor: &entry.Actor{Kind: "system", AssertedBy: "none"}}
	if by != "" {
		e.Actor = &entry.Actor{ID: by, Kind: "person", AssertedBy: "operator"}
	}
	var err error
	if e.Note, err = json.Marshal(note); err != nil {
		return 0, fmt.Errorf("tell %s in the trail: %w", kind, err)
	}
	data, err := e.Encode()
	if err != nil {
		return 0, err
	}
	r, err := l.trail.Add(ctx, "", data)
	if err != nil {
		return 0, fmt.Errorf("tell %s in the trail: %w", kind, err)
	}
	l.found(r.Index, data)
	return r.Index, nil
}

// InUse tells whether the error is that somebody else writes to the trail; here:
// this very process.
func InUse(err error) (inUse, here bool) {
	return errors.Is(err, trail.ErrInUse), errors.Is(err, trail.ErrInUseHere)
}
