package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/avhub/avhub/core/admin"
)

// Reasons beside those of reading the mirror.
const (
	conflict      reason = "conflict"               // 409
	tokenRequired reason = "token_required"         // 403
	wrongMedia    reason = "unsupported_media_type" // 415
	tooLarge      reason = "too_large"              // 413
	wrongMethod   reason = "method_not_allowed"     // 405
)

// maxBody bounds what is read of a request.
const maxBody = 64 << 10

// call is a request for an operation.
type call struct {
	a    *API
	args []string // of the path, in its order
	params
	body   []byte
	header http.Header // of the answer
}

// operation is one thing that operators can do.
type operation struct {
	method string
	path   string // below Root; {…} takes one part
	id     string // in the document
	about  string
	params []parameterDoc
	takes  string // the schema of the body; empty: none
	gives  string // the schema of the answer
	more   []string
	do     func(ctx context.Context, c *call) (any, error)
}

// created is an answer with 201.
type created struct{ of any }

// findOperation returns the operation for a path and method, and what the path
// names. Without one of that method it returns those that there are.
func findOperation(method, path string) (op *operation, args, methods []string) {
	for i := range operations {
		o := &operations[i]
		got, ok := o.match(path)
		if !ok {
			continue
		}
		if o.method == method || o.method == http.MethodGet && method == http.MethodHead {
			return o, got, nil
		}
		if methods = append(methods, o.method); o.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	return nil, nil, methods
}

// match compares the parts of a path as it was sent.
func (o *operation) match(path string) (args []string, ok bool) {
	want, got := strings.Split(o.path, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	for i, part := range want {
		if !strings.HasPrefix(part, "{") {
			if part != got[i] {
				return nil, false
			}
			continue
		}
		text, err := url.PathUnescape(got[i])
		if err != nil || text == "" {
			return nil, false
		}
		args = append(args, text)
	}
	return args, true
}

// operate answers a request for an operation.
func (a *API) operate(w http.ResponseWriter, r *http.Request, op *operation, args []string) {
	given, err := a.perform(w, r, op, args)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	status := http.StatusOK
	if made, ok := given.(created); ok {
		status, given = http.StatusCreated, made.of
	}
	body, err := encode(given)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	if op.method == http.MethodGet {
		write(w, r, body)
		return
	}
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	a.log.Info().Str("method", op.method).Str("path", Root+op.path).Strs("of", args).Str("from", from).Msg("an operator changed something over the API")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone: nobody to tell
}

func (a *API) perform(w http.ResponseWriter, r *http.Request, op *operation, args []string) (any, error) {
	c := &call{a: a, args: args, header: w.Header()}
	var err error
	if c.params, err = parameters(r.URL.RawQuery); err != nil {
		return nil, err
	}
	known := []string{}
	for _, p := range op.params {
		known = append(known, p.name)
	}
	if err := c.only(known...); err != nil {
		return nil, err
	}
	for _, text := range args {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			return nil, NotFound("there is nothing of this name")
		}
	}
	for name, text := range c.params {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			return nil, Invalid(fmt.Sprintf("%q is no text", cut(name)))
		}
	}
	if op.method != http.MethodGet {
		if c.body, err = readBody(w, r, op); err != nil {
			return nil, err
		}
	}
	ctx, done, err := a.turn(r.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	return op.do(ctx, c)
}

// readBody reads what a change takes. Whoever changes something has shown a token
// and, with a body, its type: a page in an operator's browser can make it send
// neither without asking first.
func readBody(w http.ResponseWriter, r *http.Request, op *operation) ([]byte, error) {
	if !admin.Entitled(r.Context()) {
		return nil, &failure{http.StatusForbidden, tokenRequired, "without admin.token nothing can be changed here; set one, or use the command"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		return nil, &failure{http.StatusRequestEntityTooLarge, tooLarge, "the body is larger than " + strconv.Itoa(maxBody) + " bytes"}
	}
	if err != nil {
		return nil, Invalid("the body could not be read to its end")
	}
	if op.takes == "" && len(body) > 0 {
		return nil, Invalid("this takes no body")
	}
	if op.method == http.MethodDelete {
		return nil, nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, &failure{http.StatusUnsupportedMediaType, wrongMedia, "say Content-Type: application/json"}
	}
	return body, nil
}

// into reads the body; an empty one sets nothing.
func (c *call) into(v any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	if !utf8.Valid(c.body) || bytes.Contains(c.body, []byte(`\u0000`)) {
		return Invalid("the body has a character that is none")
	}
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("there is more behind it")
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return Invalid(fmt.Sprintf("%q does not take a %s", cut(kind.Field), cut(kind.Value)))
	}
	return Invalid("the body is not what this takes: " + cut(strings.TrimPrefix(err.Error(), "json: ")))
}

// number reads a parameter that is a number.
func (c *call) number(name string, least, most, absent int64) (int64, error) {
	text, ok := c.params[name]
	if !ok {
		return absent, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, Invalid(fmt.Sprintf("%s is a number from %d to %d", name, least, most))
	}
	return n, nil
}

func (c *call) time(name string) (time.Time, error) {
	text, ok := c.params[name]
	if !ok {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, Invalid(name + " is a time such as 2026-01-31T08:00:00Z")
	}
	return at, nil
}

func (c *call) flag(name string) (bool, error) {
	switch c.params[name] {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, Invalid(name + " is true or false")
}

// numberOf reads the number of a replay out of a path.
func numberOf(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, NotFound("there is no such replay; their ids are numbers")
	}
	return id, nil
}

// notHere refuses a method that a path does not take.
func (a *API) notHere(w http.ResponseWriter, r *http.Request, methods ...string) {
	w.Header().Set("Allow", strings.Join(slices.Compact(methods), ", "))
	a.refuse(w, r, &failure{http.StatusMethodNotAllowed, wrongMethod, "only " + strings.Join(methods, " and ") + " are answered here"})
}
