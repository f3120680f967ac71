package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxExpanded bounds what all ${…} of a file bring in together, in bytes.
const maxExpanded = 4 << 20

var (
	errTooLarge   = errors.New("it is larger than 1 MiB")
	errNotRegular = errors.New("it is no regular file")
)

// isVariableName says whether s can name an environment variable.
func isVariableName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// expander replaces ${VAR} and ${file:/path} in text. What it puts in is never
// looked at again, so a secret may hold any characters.
type expander struct {
	env   map[string]string
	named map[string]bool // variables that the file refers to
	done  map[*yaml.Node]*expansion
	size  int
}

type expansion struct {
	text     string
	expanded bool
	failure  *failure
}

// failure is why a text cannot be expanded. It names variables and files, never
// their content.
type failure struct{ summary, detail string }

func newExpander(env map[string]string) *expander {
	return &expander{env: env, named: map[string]bool{}, done: map[*yaml.Node]*expansion{}}
}

// text expands a scalar once, however many aliases repeat it.
func (x *expander) text(n *yaml.Node) (string, bool, *failure) {
	e := x.done[n]
	if e == nil {
		e = &expansion{}
		e.text, e.expanded, e.failure = x.expand(n.Value)
		x.done[n] = e
	}
	return e.text, e.expanded, e.failure
}

func (x *expander) expand(text string) (out string, expanded bool, failed *failure) {
	if !strings.Contains(text, "${") {
		return text, false, nil
	}
	var b strings.Builder
	for text != "" {
		plain, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			break
		}
		if strings.HasSuffix(plain, "$") { // $${ stands for ${
			b.WriteString(plain + "{")
			text = rest
			continue
		}
		b.WriteString(plain)
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", false, &failure{"a ${ without its }", "write ${NAME} or ${file:/path}, and $${ for the characters themselves"}
		}
		value, failed := x.lookup(name)
		if failed != nil {
			return "", false, failed
		}
		if x.size += len(value); x.size > maxExpanded {
			return "", false, &failure{"the values of ${…} are too large together", "the limit is 4 MiB for the whole file"}
		}
		b.WriteString(value)
		expanded = true
		text = after
	}
	return b.String(), expanded, nil
}

func (x *expander) lookup(name string) (string, *failure) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		return readSecret(path)
	}
	if !isVariableName(name) {
		return "", &failure{"what stands within ${…} is neither the name of a variable nor file:/path",
			"write ${NAME} or ${file:/path}, and $${ for the characters themselves"}
	}
	x.named[name] = true
	value, ok := x.env[name]
	if !ok {
		return "", &failure{fmt.Sprintf("the environment variable %s is not set", name),
			fmt.Sprintf("set %s where the hub is started, or write $${%s} for the characters themselves", name, name)}
	}
	if !utf8.ValidString(value) {
		return "", &failure{fmt.Sprintf("the environment variable %s holds bytes that are no text", name), "give it text in UTF-8"}
	}
	return value, nil
}

// readSecret reads a file such as orchestrators mount for secrets, without the
// newline that editors leave at its end.
func readSecret(path string) (string, *failure) {
	text, err := readRegular(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &failure{fmt.Sprintf("the file %q of ${file:…} does not exist", path), "create it, or correct the path; a relative one begins at the working directory"}
	case errors.Is(err, fs.ErrPermission):
		return "", &failure{fmt.Sprintf("the file %q of ${file:…} may not be read", path), "let the user that runs the hub read it"}
	case err != nil:
		return "", &failure{fmt.Sprintf("the file %q of ${file:…} cannot be read", path), reason(err)}
	case !utf8.Valid(text):
		return "", &failure{fmt.Sprintf("the file %q of ${file:…} holds bytes that are no text", path), "give it text in UTF-8"}
	}
	if trimmed, ok := strings.CutSuffix(string(text), "\n"); ok {
		return strings.TrimSuffix(trimmed, "\r"), nil
	}
	return string(text), nil
}

// readRegular reads a whole file of at most limit bytes. It refuses what would
// block or never end, such as pipes and devices.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errTooLarge
	}
	return text, err
}

// reason is the cause of a file error without the path, which stands before it.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
