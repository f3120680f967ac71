package main

import (
	"io"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/rs/zerolog"
)

// logger makes the hub's log as the configuration wants it.
func (c *cli) logger(cfg config.Log, w io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil { // the configuration has been checked
		level = zerolog.InfoLevel
	}
	if cfg.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !c.colours(w), TimeFormat: time.TimeOnly}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}
