// Package api answers questions about the mirror over HTTP: lists with filters,
// page by page, and single rows with what belongs to them. Which there are it
// takes from core/mirror/ask, and so does the OpenAPI document that describes it.
//
// It also shows plugins and steers them, through an Operator. Who may ask is for the
// admin listener to decide, which serves it; changes are for those who have shown a
// token.
package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/admin"
	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/rs/zerolog"
)

// Root is the path below which everything is.
const Root = "/api/v1/"

// The limits. The API shares the database with the hub's own work, which must
// not wait for whoever asks here.
const (
	defaultLimit = 50
	maxLimit     = 500
	// atOnce requests work on the database; more wait for patience, and then get
	// 503.
	atOnce   = 2
	patience = 2 * time.Second
	// longest is how long one request may work.
	longest = 10 * time.Second
)

// reason is a stable word for why there is no answer. Beside these there are
// those of ask.InputError.
type reason = string

const (
	notFound      reason = "not_found"           // 404
	badParameter  reason = "bad_value"           // 400
	unknownParam  reason = "unknown_parameter"   // 400
	badCursor     reason = "bad_cursor"          // 400
	tooBusy       reason = "too_busy"            // 503
	tooSlow       reason = "too_slow"            // 503
	storageAbsent reason = "storage_unavailable" // 503
)

// failure is an answer that is an error.
type failure struct {
	status int
	reason reason
	text   string
}

func (f *failure) Error() string { return f.text }

func bad(why reason, text string) error { return &failure{http.StatusBadRequest, why, text} }

// API is the http.Handler.
type API struct {
	asker    *ask.Asker
	operator Operator
	log      zerolog.Logger
	turns    chan struct{}
	doc      []byte

	patience, longest time.Duration
}

// New returns the handler of all paths below Root.
func New(asker *ask.Asker, operator Operator, log zerolog.Logger) *API {
	return &API{asker: asker, operator: operator, log: log, turns: make(chan struct{}, atOnce), doc: Document(), patience: patience, longest: longest}
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _ := strings.CutPrefix(r.URL.EscapedPath(), Root)
	op, args, methods := findOperation(r.Method, path)
	switch reads := r.Method == http.MethodGet || r.Method == http.MethodHead; {
	case op != nil:
		a.operate(w, r, op, args)
		return
	case methods != nil:
		a.notHere(w, r, methods...)
		return
	case !reads:
		a.notHere(w, r, http.MethodGet, http.MethodHead)
		return
	}
	body, err := a.answer(w, r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	write(w, r, body)
}

// answer returns the JSON that answers the request.
func (a *API) answer(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// The path as it was sent: what is escaped in it belongs to an id.
	path, below := strings.CutPrefix(r.URL.EscapedPath(), Root)
	name, id, single := strings.Cut(path, "/")
	params, err := parameters(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	if below && path == documentPath {
		return a.doc, params.only("")
	}
	res := resource(name)
	switch {
	case !below || res == nil:
		return nil, &failure{http.StatusNotFound, notFound, "there is nothing here; " + Root + documentPath + " tells what there is"}
	case single && strings.Contains(id, "/"):
		return nil, &failure{http.StatusNotFound, notFound, "there is nothing here; a / in an id is written as %2F"}
	case single:
		id, err := url.PathUnescape(id)
		if err != nil { // net/http has refused it before
			return nil, bad(badParameter, "the id is not escaped as a path is")
		}
		return a.one(r.Context(), res, id, params)
	}
	return a.list(r.Context(), w.Header(), res, params)
}

func resource(path string) *ask.Resource {
	for _, r := range ask.Resources() {
		if r.Path == path {
			return r
		}
	}
	return nil
}

func (a *API) list(ctx context.Context, header http.Header, r *ask.Resource, p params) ([]byte, error) {
	known := []string{"limit", "cursor"}
	filters := map[string]string{}
	for _, f := range r.Filters {
		known = append(known, f.Name)
		if value, ok := p[f.Name]; ok {
			filters[f.Name] = value
		}
	}
	if err := p.only(known...); err != nil {
		return nil, err
	}
	limit := defaultLimit
	if text, ok := p["limit"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			return nil, bad(badParameter, "limit is a number from 1 to "+strconv.Itoa(maxLimit))
		}
		limit = n
	}
	after, err := openCursor(r.Path, filters, p["cursor"])
	if err != nil {
		return nil, err
	}
	ctx, done, err := a.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := a.asker.List(ctx, r, filters, after, limit)
	if err != nil {
		return nil, err
	}
	page := page{Data: found.Rows}
	if page.Data == nil {
		page.Data = []ask.Row{}
	}
	if found.More {
		next := makeCursor(r.Path, filters, found.Rows[len(found.Rows)-1].Key())
		page.Next = &next
		header.Set("Link", "<"+Root+r.Path+"?"+p.with("cursor", next)+`>; rel="next"`)
	}
	return encode(page)
}

// page is the answer to a list.
type page struct {
	Data []ask.Row `json:"data"`
	Next *string   `json:"next"` // the cursor of the page after this one
}

func (a *API) one(ctx context.Context, r *ask.Resource, id string, p params) ([]byte, error) {
	known, with := []string{}, []string{}
	if len(r.Relations) > 0 {
		known = append(known, "with")
		if text, ok := p["with"]; ok {
			with = append(with, text)
		}
	}
	if err := p.only(known...); err != nil {
		return nil, err
	}
	ctx, done, err := a.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	record, err := a.asker.Get(ctx, r, id, with...)
	if err != nil {
		return nil, err
	}
	return encode(record)
}

// turn waits until the request may work on the database, and gives it an end.
func (a *API) turn(ctx context.Context) (context.Context, func(), error) {
	wait := time.NewTimer(a.patience)
	defer wait.Stop()
	select {
	case a.turns <- struct{}{}:
	case <-wait.C:
		return nil, nil, &failure{http.StatusServiceUnavailable, tooBusy, "too many requests are being answered; try again in a moment"}
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, a.longest)
	return ctx, func() { cancel(); <-a.turns }, nil
}

// refuse answers with what went wrong. What went wrong in the database is for the
// log alone.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var fail *failure
	var input *ask.InputError
	switch {
	case errors.As(err, &fail):
	case errors.As(err, &input):
		fail = &failure{http.StatusBadRequest, string(input.Reason), input.Error()}
	case errors.Is(err, ask.ErrNotFound):
		fail = &failure{http.StatusNotFound, notFound, "the mirror has nothing with this id"}
	case r.Context().Err() != nil: // nobody listens any more
		fail = &failure{http.StatusServiceUnavailable, tooSlow, "the request was given up"}
	case errors.Is(err, context.DeadlineExceeded):
		a.log.Warn().Err(err).Msg("a request to the API took too long and was given up")
		fail = &failure{http.StatusServiceUnavailable, tooSlow, "this took too long; ask for less, or try again later"}
	default:
		a.log.Error().Err(err).Msg("a request to the API could not be answered")
		fail = &failure{http.StatusServiceUnavailable, storageAbsent, "the database did not answer; the hub's log has the cause"}
	}
	if fail.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	admin.Refuse(w, fail.status, fail.reason, fail.text)
}
