package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/simulator"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// devFlags are the flags of dev.
type devFlags struct {
	dir      string
	config   string
	fresh    bool
	server   string
	admin    string
	logLevel string
	duration time.Duration
	interval time.Duration
	quiet    bool
	json     bool
}

const (
	devServer = "127.0.0.1:8080"
	devAdmin  = "127.0.0.1:8081"
)

func (c *cli) devVerb() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine, with a simulated AuthVital",
		Long: "Runs the whole product with nothing else installed: the hub on a SQLite database, an\n" +
			"AuthVital that is simulated in the same process and tells the life of some companies in\n" +
			"signed webhooks, a connector as a process of its own, and a small receiver that stands for\n" +
			"your application. Where avhub-stripe is built, it bills the companies at a simulated Stripe,\n" +
			"or, if STRIPE_API_KEY holds a test key, in Stripe's test mode; a live key is refused.\n" +
			"Where avhub-provisioner is built, each company gets a database of its own.\n" +
			"Prints a line for each thing that happens, from the sender's answer to the connector's\n" +
			"verdict, and for each change of what a company pays for or has. Where avhub-auditlog is built, it\n" +
			"keeps an audit trail of everything, and the last words tell how to verify it.\n\n" +
			"With --config the plugins of that configuration take the connector's place, together with\n" +
			"its sections mirror and features. Its sources, its database and its addresses are left\n" +
			"alone, so a configuration for production can be tried.\n\n" +
			"With --duration it ends by itself, with exit code 0 if at least one event was verified,\n" +
			"changed the mirror and was applied by the connector.",
		Example: "  avhub dev\n  avhub dev --fresh --duration 20s --json | jq 'select(.outcome == \"refused\")'",
		Args:    noArgs,
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.config, "config", "c", "", "take the plugins of this configuration `file`")
	flags.StringVar(&f.dir, "dir", devDir, "`folder` for the database and the log")
	flags.BoolVar(&f.fresh, "fresh", false, "begin anew: remove what an earlier run left in the folder")
	flags.StringVar(&f.server, "listen", devServer, "`address` for webhooks; the default gives way to a free port")
	flags.StringVar(&f.admin, "admin-listen", devAdmin, "`address` for operators, on loopback; the default gives way to a free port")
	flags.StringVar(&f.logLevel, "log-level", "info", "`level` of the hub's log: debug, info, warn or error")
	flags.DurationVar(&f.duration, "duration", 0, "end after this `time` (default: never)")
	flags.DurationVar(&f.interval, "interval", 1500*time.Millisecond, "mean `time` between two events")
	flags.BoolVar(&f.quiet, "quiet", false, "print only the summary at the end")
	flags.BoolVar(&f.json, "json", false, "print each event as a JSON object in one line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.duration < 0 || f.interval <= 0 {
			return wrongUse("--duration and --interval take positive times, such as 20s")
		}
		if f.quiet && f.json {
			return wrongUse("--quiet and --json exclude each other")
		}
		return c.dev(cmd.Context(), f, cmd.Flags().Changed)
	}
	return cmd
}

// dev sets everything up, in the order in which the parts need each other, and
// takes it down in the opposite one.
func (c *cli) dev(ctx context.Context, f devFlags, changed func(flag string) bool) (err error) {
	place := devPlace{dir: f.dir, logLevel: f.logLevel}
	stripeKey := ""
	if f.config != "" {
		place.own, err = c.devPlugins(f.config)
	} else if stripeKey, err = stripeTestKey(); err == nil {
		place.notify, err = findBundled("avhub-notify")
		if audit, missing := findBundled("avhub-auditlog"); missing == nil { // dev does without, if it has to
			place.audit = audit
		}
	}
	if err != nil {
		return err
	}
	folder := devFolder{f.dir}
	if err := folder.prepare(f.fresh); err != nil {
		return err
	}
	log, closeLog, err := c.devLog(folder, f.logLevel)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()

	// What the hub talks to outlives it, so that it can finish.
	var around sync.WaitGroup
	aroundCtx, stopAround := context.WithCancel(context.WithoutCancel(ctx))
	defer around.Wait()
	defer stopAround()
	view := newView(c, f)
	token := rand.Text()
	machine := devMachine{id: "avhub-dev", secret: rand.Text()}
	sim, err := simulator.New(simulator.Options{
		Token: token, Seed: anySeed(), Log: log, Past: devPast, APIClient: machine.id, APISecret: machine.secret,
	})
	if err != nil {
		return err
	}
	provider, err := serveLoopback(aroundCtx, &around, view.watchControl(sim.Handler()), log)
	if err != nil {
		return err
	}
	app, err := serveLoopback(aroundCtx, &around, receiver(), log)
	if err != nil {
		return err
	}
	switch {
	case place.own != nil:
	case stripeKey != "":
		place.billing, err = c.testBilling(ctx, stripeKey, folder)
	default:
		place.billing, err = startBilling(aroundCtx, &around, view.billed)
	}
	if err != nil {
		return err
	}
	if place.own == nil {
		if place.tenants, err = startTenants(aroundCtx, &around, folder, view.moved, view.provided); err != nil {
			return err
		}
	}
	place.provider, place.app = "http://"+provider, "http://"+app
	place.machine, place.clients = machine, sim.ClientIDs()
	if place.server, err = c.freePort(f.server, changed("listen")); err != nil {
		return err
	}
	if place.admin, err = c.freePort(f.admin, changed("admin-listen")); err != nil {
		return err
	}
	cfg, err := place.config()
	if err != nil {
		return err
	}
	h, err := hub.New(ctx, cfg, hub.Options{Log: log, OnAppend: view.appended, OnDelivery: func(d fanout.Delivery) {
		if place.audit == "" || d.Plugin != devAuditor { // a line has one verdict
			view.delivered(d)
		}
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if err := h.Listen(ctx); err != nil {
		return explainListen(err)
	}
	place.server, place.admin = h.PublicAddr().String(), h.AdminAddr().String()
	if err := sim.SetTarget("http://" + place.server + devWebhook); err != nil {
		return err
	}
	shown, err := place.file(cfg)
	if err != nil {
		return err
	}
	if err := folder.write(devConfig, shown); err != nil {
		return err
	}
	if err := folder.announce(control{os.Getpid(), place.provider, token, place.server, place.admin}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.retract()) }()
	if !f.quiet {
		place.header(c)
	}
	return c.play(ctx, f, h, sim, view, log, place)
}

// play runs the hub and the story until ctx or the duration ends.
func (c *cli) play(ctx context.Context, f devFlags, h *hub.Hub, sim *simulator.Simulator, view *view, log zerolog.Logger, place devPlace) error {
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	ctx, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	stop := c.endWithin(ctx, shutdownWithin, log)
	defer stop()
	began := time.Now()

	var parts sync.WaitGroup
	serving := make(chan error, 1)
	parts.Go(func() {
		err := h.Serve(ctx)
		if err != nil {
			failed(err) // there is nobody to tell the story to
		}
		serving <- err
	})
	var told error
	parts.Go(func() {
		if told = sim.Story(ctx, simulator.StoryOptions{Interval: f.interval}, view.told); told != nil {
			failed(told)
		}
	})
	shown := make(chan struct{})
	go func() { defer close(shown); view.run() }()
	parts.Wait()
	view.end()
	<-shown
	if err := errors.Join(<-serving, told); err != nil {
		return err
	}
	c.say("")
	c.say("%s", view.summary(time.Since(began)))
	if !f.quiet {
		place.farewell(c)
	}
	if f.duration > 0 && !view.whole() {
		c.say("avhub: no event came all the way: verified, in the mirror, applied by the connector. See %s", filepath.Join(place.dir, devLog))
		return errReported
	}
	return nil
}

// freePort takes the address if it can be had. A default that is taken gives
// way to a free port; an address that somebody asked for does not.
func (c *cli) freePort(address string, asked bool) (string, error) {
	ln, err := net.Listen("tcp", address)
	if err == nil {
		return address, ln.Close()
	}
	if asked || !errors.Is(err, syscall.EADDRINUSE) {
		return "", explainListen(fmt.Errorf("listening on %s: %w", address, err))
	}
	c.say("%s is taken, so another port is used", address)
	return "127.0.0.1:0", nil
}

func (c *cli) devLog(folder devFolder, level string) (zerolog.Logger, func() error, error) {
	at, err := zerolog.ParseLevel(level)
	if err != nil || at < zerolog.DebugLevel || at > zerolog.ErrorLevel {
		return zerolog.Nop(), nil, wrongUse("--log-level takes debug, info, warn or error")
	}
	// Only the last run's: nobody tidies up this folder.
	f, err := os.OpenFile(folder.path(devLog), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return zerolog.Nop(), nil, fmt.Errorf("opening the log: %w", err)
	}
	w := zerolog.ConsoleWriter{Out: f, NoColor: true, TimeFormat: time.TimeOnly}
	return zerolog.New(w).Level(at).With().Timestamp().Logger(), f.Close, nil
}

// anySeed makes each run tell of other companies, as the database may hold those
// of the run before.
func anySeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}
