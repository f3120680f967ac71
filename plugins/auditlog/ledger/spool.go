package ledger

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// While a connector writes, others cannot. What an operator wants then goes
// through files: NAME.request, which the connector takes up, and NAME.answer.
const spool = "requests"

// answer is what the connector says.
type answer struct {
	Done
	Error string `json:"error,omitempty"`
}

const (
	lookEvery  = 200 * time.Millisecond
	maxRequest = 64 << 10 // bytes
)

// Ask has a request done: by this process if nobody writes to the trail, else by
// whoever does.
func Ask(ctx context.Context, dir string, r Request) (Done, error) {
	if err := r.check(); err != nil {
		return Done{}, err
	}
	if _, err := os.Stat(filepath.Join(dir, signerFile)); err != nil {
		return Done{}, fmt.Errorf("%s is no trail that can be written to: %w", dir, err)
	}
	l, err := Open(ctx, dir, Options{Interval: 100 * time.Millisecond})
	if inUse, _ := InUse(err); inUse {
		return throughSpool(ctx, dir, r)
	}
	if err != nil {
		return Done{}, err
	}
	done, err := l.Do(ctx, r)
	return done, errors.Join(err, l.Close(ctx))
}

func throughSpool(ctx context.Context, dir string, r Request) (Done, error) {
	folder := filepath.Join(dir, spool)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Done{}, fmt.Errorf("ask the connector: %w", err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return Done{}, fmt.Errorf("ask the connector: %w", err)
	}
	name := filepath.Join(folder, rand.Text())
	if err := writeFile(name+".request", text, 0o600); err != nil {
		return Done{}, fmt.Errorf("ask the connector: %w", err)
	}
	ticker := time.NewTicker(lookEvery / 2)
	defer ticker.Stop()
	for {
		text, err := os.ReadFile(name + ".answer")
		if err == nil {
			var a answer
			if err := errors.Join(json.Unmarshal(text, &a), os.Remove(name+".answer")); err != nil {
				return Done{}, fmt.Errorf("read the connector's answer: %w", err)
			}
			if a.Error != "" {
				return Done{}, errors.New(a.Error)
			}
			return a.Done, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return Done{}, fmt.Errorf("read the connector's answer: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if os.Remove(name+".request") == nil {
				return Done{}, fmt.Errorf("the connector that writes to %s did not take the request, which was taken back: %w", dir, ctx.Err())
			}
			return Done{}, fmt.Errorf("the connector that writes to %s has the request and did not answer in time; look with `history --kind` whether it was done: %w", dir, ctx.Err())
		}
	}
}

// ServeRequests takes up requests until ctx ends.
func (l *Ledger) ServeRequests(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		names, _ := filepath.Glob(filepath.Join(l.dir, spool, "*.request"))
		for _, name := range names {
			l.serve(ctx, name)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// serve does one request. It is taken out of the folder first, so that it is not
// done twice; whoever asked learns when the answer does not come.
func (l *Ledger) serve(ctx context.Context, name string) {
	info, err := os.Lstat(name)
	if err != nil {
		return // taken back
	}
	var text []byte
	if info.Mode().IsRegular() && info.Size() <= maxRequest {
		text, _ = os.ReadFile(name)
	}
	if err := os.Remove(name); err != nil {
		return
	}
	var r Request
	var a answer
	if err = json.Unmarshal(text, &r); err != nil {
		err = fmt.Errorf("%w: the request is not readable", ErrRequest)
	} else {
		a.Done, err = l.Do(ctx, r)
	}
	if err != nil {
		a.Error = err.Error()
		l.log.Warn("an operator's request was not done", "request", r.Do, "error", err)
	} else {
		l.log.Info("an operator's request was done", "request", r.Do, "by", r.By, "entry", a.Index)
	}
	out, err := json.Marshal(a)
	if err == nil {
		err = writeFile(strings.TrimSuffix(name, ".request")+".answer", out, 0o600)
	}
	if err != nil {
		l.log.Error("answer an operator's request", "error", err)
	}
}
