package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
)

const (
	// retrySoon is the Retry-After of trouble that is expected to be short.
	retrySoon = 5 * time.Second
	// appendTimeout bounds the wait for the journal; the sender waits 30 s.
	appendTimeout = 30 * time.Second
)

// ServeHTTP answers one delivery. Every answer is JSON:
// {"status","id","position"} with 200 once the event is durable, or
// {"error","reason"}. The steps are ordered so that a stranger is turned away
// before he costs much: headers, then the key, then the body, then the
// signature.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, receipt, no := s.receive(w, r)
	if no != nil {
		s.refuse(w, no)
		return
	}
	s.count(string(receipt.Outcome), "")
	writeJSON(w, http.StatusOK, struct {
		Status   journal.Outcome `json:"status"`
		ID       string          `json:"id"`
		Position int64           `json:"position"`
	}{receipt.Outcome, id, receipt.Position})
}

// receive takes a request to the journal, or says why not. It survives panics:
// a torn connection would look like a network error, and a fire-and-forget
// sender would never see the trouble. Nothing is written to w here.
func (s *Source) receive(w http.ResponseWriter, r *http.Request) (id string, receipt journal.Receipt, no *refusal) {
	defer func() {
		if v := recover(); v != nil {
			// The panic's value may quote the request; its type and the stack do not.
			s.log.Error().Str("panic", fmt.Sprintf("%T", v)).Bytes("stack", debug.Stack()).
				Msg("a webhook request met a bug; its sender gets 503")
			no = later(ReasonInternal, retrySoon, "an internal error")
		}
	}()
	if no := checkRequest(r, s.cfg.MaxBody); no != nil {
		return "", receipt, no
	}
	claimed, no := readClaim(r.Header)
	if no != nil {
		return "", receipt, no
	}
	if no := claimed.fresh(s.now(), s.cfg.MaxAge, s.cfg.MaxAhead); no != nil {
		return "", receipt, no
	}
	key, no := s.keys.get(r.Context(), claimed.keyID)
	if no != nil {
		return "", receipt, no
	}
	memory := &share{of: s.bodies}
	defer memory.release()
	body, no := readBody(w, r, s.cfg.MaxBody, memory)
	if no != nil {
		return "", receipt, no
	}
	if no := claimed.verify(key, body); no != nil {
		return "", receipt, no
	}
	// From here on the bytes are the provider's.
	ev, err := event.DecodeBody(claimed.channel, body)
	if err != nil {
		return "", receipt, s.invalid(err)
	}
	ev.Source = s.cfg.Name
	ev.ReceivedAt = s.now().UTC().Truncate(time.Microsecond)
	ev.Evidence = event.Evidence{KeyID: claimed.keyID, Signature: claimed.signature, SignedTimestamp: claimed.timestamp, Body: body}
	s.compareHeaders(r.Header, ev)
	// The event's way does not end with the connection: a sender that never
	// repeats may have hung up already.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), appendTimeout)
	defer cancel()
	receipt, err = s.journal.Append(ctx, ev)
	if err != nil {
		// While a database is down every request meets it.
		if s.journalLog.pass() {
			s.log.Error().Err(err).Msg("events cannot be journaled; senders get 503 and are asked to try again")
		}
		return "", receipt, later(ReasonJournal, retrySoon, "the event could not be made durable at the moment")
	}
	return ev.ID, receipt, nil
}

// invalid answers for a verified body that is no envelope. An *EnvelopeError
// quotes nothing of the body. The log line is throttled because such a body can
// be had without the provider's key: a recorded webhook, sent as a system
// webhook with its timestamp and the dot as part of the body, verifies.
func (s *Source) invalid(err error) *refusal {
	text := "the body is not a valid envelope"
	if ee, ok := errors.AsType[*event.EnvelopeError](err); ok {
		text = ee.Error()
		if s.envelopeLog.pass() {
			s.log.Warn().Str("envelope_reason", ee.Reason).Str("field", ee.Field).
				Msg("a verified webhook is not a valid envelope and was refused with 400")
		}
	}
	return refuse(http.StatusBadRequest, ReasonInvalidEnvelope, text)
}

// compareHeaders counts unsigned headers that contradict the signed body. The
// body is believed.
func (s *Source) compareHeaders(h http.Header, ev *event.Event) {
	compare := func(header, label, want string) {
		if got := h.Get(header); got != "" && got != want {
			s.metrics.mismatches.WithLabelValues(s.cfg.Name, label).Inc()
		}
	}
	if ev.Channel == event.ChannelSystem {
		compare(systemEvent, "type", ev.Type)
		return
	}
	compare(headerEventID, "id", ev.ID)
	compare(headerEventType, "type", ev.Type)
}

// checkRequest judges what can be told without the signature.
func checkRequest(r *http.Request, maxBody int64) *refusal {
	if r.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, ReasonMethod, "webhooks are delivered with POST")
	}
	if !isJSON(r.Header.Values("Content-Type")) {
		return refuse(http.StatusUnsupportedMediaType, ReasonMediaType, "the Content-Type must be application/json in UTF-8")
	}
	for _, e := range r.Header.Values("Content-Encoding") {
		if e != "" && !strings.EqualFold(e, "identity") {
			return refuse(http.StatusUnsupportedMediaType, ReasonEncoding, "the body must be sent without Content-Encoding")
		}
	}
	if r.ContentLength > maxBody {
		return tooLarge(maxBody)
	}
	return nil
}

func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	t, params, err := mime.ParseMediaType(contentType[0])
	if err != nil {
		return false
	}
	if t != "application/json" && (!strings.HasPrefix(t, "application/") || !strings.HasSuffix(t, "+json")) {
		return false
	}
	charset := strings.ToLower(params["charset"])
	return charset == "" || charset == "utf-8" || charset == "us-ascii"
}

func tooLarge(maxBody int64) *refusal {
	return refuse(http.StatusRequestEntityTooLarge, ReasonTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody))
}

// readBody reads the raw body. A body that breaks off gets 408 and not 400: it
// is the connection that failed, and 408 lets the sender repeat the request.
//
// The last copy of a body is made while the one before is still there, so what a
// body costs is bounded by twice its size; memory has the larger one.
func readBody(w http.ResponseWriter, r *http.Request, maxBody int64, memory *share) ([]byte, *refusal) {
	// What the client announces is not believed further than that: memory grows
	// with the bytes that really come.
	body := make([]byte, 0, max(512, min(r.ContentLength+1, freeBody)))
	in := http.MaxBytesReader(w, r.Body, maxBody)
	for {
		n, err := in.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return nil, unreadable(err, maxBody)
		}
		if len(body) == cap(body) {
			size := min(2*int64(cap(body)), maxBody+1)
			if !memory.grow(size) {
				no := later(ReasonTooBusy, retrySoon, "too many large bodies are being read at the moment")
				no.unread = true
				return nil, no
			}
			grown := make([]byte, len(body), size)
			copy(grown, body)
			body = grown
		}
	}
}

func unreadable(err error, maxBody int64) *refusal {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(maxBody)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, ReasonSlow, "the body took too long to arrive")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(http.StatusRequestTimeout, ReasonTruncated, "the body broke off before its end")
	}
	return refuse(http.StatusBadRequest, ReasonUnreadable, "the body could not be read")
}

// refuse counts and answers.
func (s *Source) refuse(w http.ResponseWriter, no *refusal) {
	outcome := "refused"
	switch no.status {
	case http.StatusServiceUnavailable:
		outcome = "unavailable"
		seconds := max(1, int(math.Ceil(no.retryAfter.Seconds())))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusRequestTimeout:
		w.Header().Set("Connection", "close")
	}
	if no.unread {
		w.Header().Set("Connection", "close")
	}
	s.count(outcome, no.reason)
	s.tally.add(no.reason)
	writeJSON(w, no.status, struct {
		Error  string `json:"error"`
		Reason Reason `json:"reason"`
	}{no.text, no.reason})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // strings and numbers only: cannot happen
		status, b = http.StatusServiceUnavailable, []byte(`{"error":"an internal error","reason":"internal_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the sender is gone: it will ask again
}
