// Command auditlog is a connector that keeps an audit trail which anyone can
// check: append-only, signed, verifiable with no hub and no network. The same
// binary is the auditor's tool.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/entry"
	"github.com/avhub/avhub/plugins/auditlog/ledger"
	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"github.com/avhub/avhub/sdk/plugin"
	"golang.org/x/mod/sumdb/tlog"
)

// version is set by the build.
var version = "dev"

type config struct {
	Dir       string        `json:"dir" doc:"Folder of the trail, on a disk of this machine. It is made at the first start." required:"true" example:"/var/lib/avhub/audit"`
	Origin    string        `json:"origin" doc:"Name of a new trail, which stands in every checkpoint and proof: letters, digits and ./_-. Without one it is made up. A trail keeps the name that it has." pattern:"^([A-Za-z0-9][A-Za-z0-9./_-]{0,99})?$" example:"audit.example.com/hub"`
	Interval  time.Duration `json:"interval" doc:"How often a checkpoint is signed while entries come." default:"1s" min:"100ms" max:"1m"`
	Ack       string        `json:"ack" doc:"When an event counts as delivered: durable, as soon as its entry would survive a crash; published, when a signed checkpoint has it." enum:"durable|published" default:"durable"`
	Heartbeat time.Duration `json:"heartbeat" doc:"How often an entry tells how many there are, so that silence is told from loss." default:"1h" min:"1m" max:"24h"`
	SaveTo    string        `json:"save_to" doc:"Folder, best on another machine's disk, in which a checkpoint is saved at each start, heartbeat and end. A trail that does not go on from the latest one there is refused." example:"/mnt/elsewhere/audit-checkpoints"`
}

// state is what the hub remembers for a stream, apart from the trail's folder:
// a trail that was rolled back to a copy of before does not fit it.
type state struct {
	Seq    int64  `json:"seq,omitempty"`   // last place in the stream
	Index  int64  `json:"index,omitempty"` // of the entry there
	Origin string `json:"origin,omitempty"`
	Size   int64  `json:"size,omitempty"` // of the last head that was seen
	Root   []byte `json:"root,omitempty"`
}

func connectorPlugin() plugin.Plugin[config, state] {
	return plugin.Plugin[config, state]{Info: plugin.Info{
		Name: "auditlog", Version: version, Summary: "keeps an audit trail that anyone can check, with no hub and no network",
		Events: []string{"*"}, Order: plugin.PerTenant, Notifies: true,
	}, Open: open}
}

// connector writes one trail. Where a configuration takes the place of another,
// the trail is still in use by the one before: it is opened with the first event
// then.
type connector struct {
	cfg  config
	log  *slog.Logger
	ctx  context.Context // of what runs beside
	stop context.CancelFunc

	mu     sync.Mutex
	ledger *ledger.Ledger
	side   sync.WaitGroup
}

const (
	againEvery = 50 * time.Millisecond
	closeWait  = 30 * time.Second
)

func open(ctx context.Context, cfg config, log *slog.Logger) (plugin.Connector[state], error) {
	c := &connector{cfg: cfg, log: log}
	c.ctx, c.stop = context.WithCancel(context.Background())
	_, err := c.begin(ctx)
	if _, here := ledger.InUse(err); err != nil && !here {
		c.stop()
		return nil, err
	}
	return c, nil
}

// begin opens the trail if it is not.
func (c *connector) begin(ctx context.Context) (*ledger.Ledger, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ledger != nil {
		return c.ledger, nil
	}
	l, err := ledger.Open(ctx, c.cfg.Dir, ledger.Options{Origin: c.cfg.Origin, Interval: c.cfg.Interval, Log: c.log})
	if err != nil {
		return nil, err
	}
	if c.cfg.SaveTo != "" {
		if err := l.HoldAgainst(ctx, c.cfg.SaveTo); err != nil {
			return nil, errors.Join(err, l.Close(ctx))
		}
	}
	shown, err := json.Marshal(map[string]any{"interval": c.cfg.Interval.String(), "ack": c.cfg.Ack, "heartbeat": c.cfg.Heartbeat.String(), "save_to": c.cfg.SaveTo})
	if err == nil {
		err = l.Opened(ctx, string(shown))
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(ctx))
	}
	c.ledger = l
	c.side.Go(func() { l.ServeRequests(c.ctx) })
	c.side.Go(func() { c.beat(l) })
	c.save(l)
	c.log.Info("the trail is open", "origin", l.Origin(), "entries", l.Size(), "key", l.PublicKey())
	return l, nil
}

// opened waits for the connector of before to let go of the trail.
func (c *connector) opened(ctx context.Context) (*ledger.Ledger, error) {
	for {
		l, err := c.begin(ctx)
		if _, here := ledger.InUse(err); !here {
			return l, err
		}
		select {
		case <-time.After(againEvery):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (c *connector) beat(l *ledger.Ledger) {
	ticker := time.NewTicker(c.cfg.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		if err := l.Heartbeat(c.ctx); err != nil {
			c.log.Error("a heartbeat was not written", "error", err)
		}
		c.save(l)
	}
}

// save keeps a checkpoint elsewhere. Where that cannot be done now, the trail
// goes on: it is as good as before, and the next time may be better.
func (c *connector) save(l *ledger.Ledger) {
	if c.cfg.SaveTo == "" {
		return
	}
	if err := l.Save(c.cfg.SaveTo); err != nil {
		c.log.Error("the checkpoint was not saved elsewhere", "folder", c.cfg.SaveTo, "error", err)
	}
}

// Deliver makes an entry of an event.
func (c *connector) Deliver(ctx context.Context, ev plugin.Event, st *state) error {
	l, err := c.opened(ctx)
	if err != nil {
		return err
	}
	if st.Origin != "" {
		err := l.Extends(ctx, st.head(), st.Index)
		if errors.Is(err, ledger.ErrRolledBack) {
			return plugin.Halt(fmt.Errorf("%w; nothing is written to it. Put the folder back as it was, or, if it is lost, begin a new trail in another folder and reset this connector", err))
		}
		if err != nil {
			return fmt.Errorf("compare the trail with what the hub remembers: %w", err)
		}
	}
	r, err := l.Record(ctx, ev, st.Seq)
	if errors.Is(err, entry.ErrTooLarge) {
		return plugin.Reject(err) // it never fits
	}
	if err != nil {
		return err
	}
	if c.cfg.Ack == "published" {
		if err := l.Published(ctx, r.Index); err != nil {
			return err
		}
	}
	if r.Seq > st.Seq {
		st.Seq, st.Index = r.Seq, r.Index
	}
	if head := l.Head(); head.Size > st.Size || st.Origin == "" {
		st.Origin, st.Size, st.Root = head.Origin, head.Size, head.Root[:]
		if st.Origin == "" { // before the first checkpoint
			st.Origin = l.Origin()
		}
	}
	return nil
}

// head is the one that the hub remembers.
func (st *state) head() tiles.Head {
	h := tiles.Head{Origin: st.Origin, Size: st.Size}
	if len(st.Root) == tlog.HashSize {
		copy(h.Root[:], st.Root)
	}
	return h
}

// Check tells whether the trail can be written to.
func (c *connector) Check(ctx context.Context) error {
	_, err := c.opened(ctx)
	return err
}

// Close brings what was acknowledged under a checkpoint.
func (c *connector) Close() error {
	c.stop()
	c.mu.Lock()
	l := c.ledger
	c.mu.Unlock()
	c.side.Wait()
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	err := l.Close(ctx)
	c.save(l)
	return err
}

func main() { os.Exit(run()) }
