package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/hub"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// shutdownWithin is how long an orderly end may take. The hub asks for as much
// at most; what is not done by then is done after the next start.
const shutdownWithin = 20 * time.Second

func (c *cli) serveVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the hub",
		Long: "Takes events in, keeps the mirror, runs the plugins and delivers to them, until it gets\n" +
			"SIGTERM or SIGINT. Then it takes in nothing new, finishes what is in flight within 20\n" +
			"seconds and ends with exit code 0. A second signal ends it at once; nothing that was\n" +
			"accepted is lost either way.\n\n" +
			"SIGHUP has it read the configuration again and put the plugins of it in force: a changed\n" +
			"config goes to the running process, and anything else about a plugin restarts that plugin\n" +
			"alone. The log tells what was done, and what counts only after a restart of the hub. A\n" +
			"configuration with mistakes changes nothing.",
		Args: noArgs,
	}
	flags := addConfigFlags(cmd)
	flags.addLogLevel(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.serve(cmd.Context(), flags)
	}
	return cmd
}

func (c *cli) serve(ctx context.Context, flags *configFlags) (err error) {
	// From here on, as it would end the process otherwise.
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	cfg, err := c.load(flags)
	if err != nil {
		return err
	}
	if err := cfg.CheckFiles(); err != nil {
		return err
	}
	log := c.logger(cfg.Log, c.err)
	log.Info().Str("version", buildVersion()).Str("storage", cfg.Storage.RedactedURL()).Msg("avhub starts")
	for _, w := range cfg.Warnings() {
		log.Warn().Msg(clean(w.String()))
	}
	if len(cfg.Sources) == 0 {
		log.Warn().Msg("the configuration has no sources, so no events will arrive; run `avhub init` for an example")
	}
	h, err := hub.New(ctx, cfg, hub.Options{Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if err := h.Listen(ctx); err != nil {
		return explainListen(err)
	}
	stop := c.endWithin(ctx, shutdownWithin, log)
	defer stop()
	go func() {
		for {
			select {
			case <-again:
				c.reload(ctx, flags, h, log)
			case <-ctx.Done():
				return
			}
		}
	}()
	return h.Serve(ctx)
}

// reload reads the configuration again, and logs what is wrong with it.
func (c *cli) reload(ctx context.Context, flags *configFlags, h *hub.Hub, log zerolog.Logger) {
	log.Info().Msg("reading the configuration again")
	cfg, err := c.load(flags)
	if err == nil {
		for _, w := range cfg.Warnings() {
			log.Warn().Msg(clean(w.String()))
		}
		err = h.Reload(ctx, cfg)
	}
	var broken *config.Error
	switch {
	case err == nil:
		log.Info().Msg("the configuration was read again")
	case errors.As(err, &broken):
		for _, p := range broken.Problems {
			log.Error().Msg(clean(p.String()))
		}
		log.Error().Int("problems", len(broken.Problems)).Msg("the configuration has mistakes, so nothing was changed")
	default:
		for line := range strings.SplitSeq(err.Error(), "\n") {
			log.Error().Msg(clean(line))
		}
	}
}

// endWithin ends the process when an orderly end takes too long. The returned
// function calls it off.
func (c *cli) endWithin(ctx context.Context, grace time.Duration, log zerolog.Logger) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		select {
		case <-done:
		case <-time.After(grace):
			log.Error().Stringer("after", grace).Msg("the end took too long and was forced; everything accepted is journaled")
			os.Exit(exitFailed)
		}
	}()
	return func() { close(done) }
}

// explainListen says what to do about an address that cannot be had.
func explainListen(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w. Another process has this port; is a hub running already?", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w. Ports below 1024 need a privilege; use a higher one behind a proxy", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w. This machine does not have that address", err)
	}
	return err
}
