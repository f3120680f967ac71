package plugin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/rs/zerolog"
)

// What a connector prints is not trusted: lines may be endless, binary, or
// made to look like the hub's own.

const (
	maxLineBytes   = 64 << 10
	maxLogFields   = 64
	maxReasonBytes = 400
	maxTailBytes   = 4 << 10
)

// readLines calls f for every line of r, cut to maxLineBytes, until r ends.
func readLines(r io.Reader, f func(line []byte)) {
	br := bufio.NewReaderSize(&paced{r: r, left: readRate}, maxLineBytes)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			f(bytes.TrimRight(line, "\r\n"))
		}
		for err == bufio.ErrBufferFull {
			_, err = br.ReadSlice('\n') // the rest of a long line
		}
		if err != nil {
			return
		}
	}
}

// handshakePattern finds the line that go-plugin's server prints: core protocol
// 1, protocol, network, address, "grpc", certificate. Something that was printed
// before without a newline may stand in front of it.
var handshakePattern = regexp.MustCompile(`1\|\d+\|(unix|tcp)\|[^|]*\|grpc(\|.*)?$`)

// readStdout passes the handshake line on to w, and logs the rest.
func readStdout(r io.Reader, w *io.PipeWriter, out *gate) {
	found := false
	readLines(r, func(line []byte) {
		if !found {
			if at := handshakePattern.FindIndex(line); at != nil {
				found = true
				_, _ = w.Write(append(bytes.Clone(line[at[0]:]), '\n'))
				line = line[:at[0]]
			}
		}
		if text := printable(out.hidden.hide(line)); text != "" {
			out.event(zerolog.DebugLevel, len(text)).Str("stream", "stdout").Msg(text)
		}
	})
	_ = w.Close()
}

// stdoutLog logs what a connector prints to its redirected standard streams.
type stdoutLog struct {
	out    *gate
	stream string
}

func (s stdoutLog) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if text := printable(s.out.hidden.hide(line)); text != "" {
			s.out.event(zerolog.DebugLevel, len(text)).Str("stream", s.stream).Msg(text)
		}
	}
	return len(p), nil
}

// readStderr logs every line: those in hclog's JSON form with their level and
// fields, others as they are. tail keeps the one that tells most about an end.
func readStderr(r io.Reader, out *gate, tail *lastLine) {
	crashing := false
	readLines(r, func(line []byte) {
		line = out.hidden.hide(line)
		text := printable(line)
		if text == "" {
			return
		}
		tail.add(text, crashing || lastWords(text))
		if logJSON(line, out, tail) {
			return
		}
		// The runtime's last words; a stack follows.
		if !crashing && lastWords(text) {
			crashing = true
			tail.set(text, true)
		}
		tail.set(text, false)
		level := zerolog.InfoLevel
		if crashing {
			level = zerolog.ErrorLevel
		}
		out.event(level, len(text)).Str("stream", "stderr").Msg(text)
	})
}

func lastWords(text string) bool {
	return strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
}

// logJSON logs a line of hclog's JSON form; false if it is not one.
func logJSON(line []byte, out *gate, tail *lastLine) bool {
	if len(line) == 0 || line[0] != '{' {
		return false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(bytes.ToValidUTF8(line, []byte("\uFFFD")), &fields) != nil {
		return false
	}
	var message, levelText string
	if json.Unmarshal(fields["@message"], &message) != nil || json.Unmarshal(fields["@level"], &levelText) != nil {
		return false
	}
	level, err := zerolog.ParseLevel(levelText)
	if err != nil || level < zerolog.TraceLevel || level > zerolog.ErrorLevel {
		level = zerolog.InfoLevel
	}
	message = printable([]byte(message))
	if level == zerolog.ErrorLevel {
		tail.set(message, false)
	}
	e := out.event(level, len(line))
	if !e.Enabled() {
		return true
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		if !strings.HasPrefix(name, "@") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), maxLogFields)] {
		shown := name
		switch name {
		case zerolog.LevelFieldName, zerolog.TimestampFieldName, zerolog.MessageFieldName, "plugin", "stream":
			shown = "plugin." + name // the plain name is the hub's own
		}
		e = e.RawJSON(shown, fields[name])
	}
	e.Msg(message)
	return true
}

// printable makes text safe for a terminal: no control characters, no bytes
// that are not text.
func printable(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, string(bytes.ToValidUTF8(b, []byte("\uFFFD")))))
}

// lastLine remembers the line that best explains the end of a process, and the
// lines around it.
type lastLine struct {
	mu    sync.Mutex
	text  string
	final bool

	lines   []byte // the last of them, or those from the last words on
	closing bool   // the last words were heard
}

func (l *lastLine) set(text string, final bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.final || text == "" {
		return
	}
	if len(text) > maxReasonBytes {
		text = strings.ToValidUTF8(text[:maxReasonBytes], "") + "…"
	}
	l.text, l.final = text, final
}

func (l *lastLine) get() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// add takes a line. From the first one that is among the last words the
// beginning is kept, as what follows are the stacks of others.
func (l *lastLine) add(text string, closing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if closing && !l.closing {
		l.closing, l.lines = true, l.lines[:0]
	}
	if l.closing {
		room := maxTailBytes - len(l.lines)
		if text += "\n"; room > 0 {
			l.lines = append(l.lines, text[:min(room, len(text))]...)
		}
		return
	}
	text = text[max(0, len(text)+1-maxTailBytes):] + "\n"
	if over := len(l.lines) + len(text) - maxTailBytes; over > 0 {
		l.lines = append(l.lines[:0], l.lines[over:]...)
	}
	l.lines = append(l.lines, text...)
}

// end is what is kept of the lines.
func (l *lastLine) end() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(l.lines), ""))
}
