package plugin

import (
	"io"
	"log/slog"
)

// logTimeFormat is hclog's: microseconds and a zone.
const logTimeFormat = "2006-01-02T15:04:05.000000Z07:00"

// newLogger returns a logger that writes one JSON line for each record under
// the keys of hclog (@level, @message, @timestamp), which is what a hub reads
// from a connector's standard error. slog's own keys would lose the level.
//
// Every level is written: the hub decides what it keeps.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: slog.LevelDebug - 4,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration {
				return slog.String(a.Key, a.Value.Duration().String())
			}
			if len(groups) > 0 {
				return a
			}
			switch {
			case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
				return slog.String("@timestamp", a.Value.Time().Format(logTimeFormat))
			case a.Key == slog.LevelKey:
				if level, ok := a.Value.Any().(slog.Level); ok {
					return slog.String("@level", levelName(level))
				}
			case a.Key == slog.MessageKey && a.Value.Kind() == slog.KindString:
				return slog.String("@message", a.Value.String())
			}
			return a
		},
	}))
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "trace"
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	default:
		return "error"
	}
}
