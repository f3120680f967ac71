package admin

import (
	"encoding/json"
	"net/http"
)

// Refusal is the body of every answer that is an error.
type Refusal struct {
	Error  string `json:"error"`  // for people
	Reason string `json:"reason"` // for machines: a stable word
}

// Refuse answers with an error. Text and reason must hold nothing that is not
// for whoever asked.
func Refuse(w http.ResponseWriter, status int, reason, text string) {
	answer(w, status, Refusal{text, reason})
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // strings and bools only: cannot happen
		status, body = http.StatusInternalServerError, []byte(`{"error":"an internal error","reason":"internal_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client is gone: nobody to tell
}
