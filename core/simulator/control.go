package simulator

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/avhub/avhub/core/event"
)

// ControlPath is where Handler takes Commands.
const ControlPath = "/simulator/events"

const maxCommand = 1 << 20 // bytes

// Command asks the simulator for one event. It is what is POSTed to ControlPath
// as JSON, with the token as bearer token.
type Command struct {
	Type string `json:"type"`
	// Channel is "webhook" or "system"; empty: the one that today's sender uses
	// for the type, unless Set or Tenant ask for what only the other has room for.
	Channel event.Channel `json:"channel,omitempty"`
	// Tenant is the slug or id of the tenant that the event is about; empty: the
	// newest one.
	Tenant string `json:"tenant,omitempty"`
	// Set overrides members of the event's data by dotted path, such as "plan" or
	// "settings.require_mfa". In an update these are the changes; for a type
	// that is not in the catalog they are all of the data.
	Set map[string]any `json:"set,omitempty"`
	// Duplicate delivers the event twice.
	Duplicate bool `json:"duplicate,omitempty"`
	// Forge spoils the delivery.
	Forge Forge `json:"forge,omitempty"`
}

// Result is the answer to a Command.
type Result struct {
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	Channel  event.Channel   `json:"channel"`
	Status   int             `json:"status"`   // that the hub answered
	Response json.RawMessage `json:"response"` // the hub's; a string if it was not JSON
	Attempts int             `json:"attempts"`
	// Duplicate is how the second delivery fared, if one was asked for.
	Duplicate *Result `json:"duplicate,omitempty"`
}

// control answers Commands: 200 with a Result whatever the hub answered, 400
// for a command that makes no sense, 401 without the token, 502 if the hub
// gave no answer. Errors are {"error": text for people}.
func (s *Simulator) control(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(r) {
		fail(w, http.StatusUnauthorized, "the bearer token of the simulator is missing or wrong")
		return
	}
	var c Command
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCommand))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(&c); err != nil {
		fail(w, http.StatusBadRequest, "reading the command: "+err.Error())
		return
	}
	if _, err := dec.Token(); err != io.EOF {
		fail(w, http.StatusBadRequest, "reading the command: something follows the JSON object")
		return
	}
	_, env, err := s.compose(order{typ: c.Type, channel: c.Channel, tenant: c.Tenant, set: c.Set})
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	result, err := s.deliverResult(r, env, c.Forge)
	if err == nil && c.Duplicate {
		result.Duplicate, err = s.deliverResult(r, env, c.Forge)
	}
	if err != nil {
		status := http.StatusBadGateway
		if errors.Is(err, errForgery) {
			status = http.StatusBadRequest
		}
		fail(w, status, err.Error())
		return
	}
	respond(w, http.StatusOK, result)
}

func (s *Simulator) deliverResult(r *http.Request, env Envelope, forge Forge) (*Result, error) {
	d, err := s.Deliver(r.Context(), env, forge)
	if err != nil {
		return nil, err
	}
	response := json.RawMessage(d.Response)
	if !json.Valid(response) {
		if response, err = json.Marshal(string(d.Response)); err != nil {
			return nil, err
		}
	}
	return &Result{ID: d.ID, Type: d.Type, Channel: d.Channel, Status: d.Status, Response: response, Attempts: d.Attempts}, nil
}

// authorized compares hashes, so that the time it takes tells nothing about the
// token, not even its length.
func (s *Simulator) authorized(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.opts.Token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func fail(w http.ResponseWriter, status int, text string) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	respond(w, status, map[string]string{"error": text})
}

func respond(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}
