package stripefake

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"
)

// keptFor is how long an answer is kept under its idempotency key.
const keptFor = 24 * time.Hour

// once answers a request under its idempotency key: the first one is worked on,
// those that follow get its answer, be it a failure.
func (s *Server) once(req *Request, fault *Fault) *answer {
	now := s.now()
	for key, a := range s.answers {
		if now.Sub(a.at) >= keptFor && !a.inFlight {
			delete(s.answers, key)
		}
	}
	if len(req.IdempotencyKey) > 255 {
		return errorAnswer(invalid("", "Idempotency keys are limited to 255 characters"))
	}
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(req.Method+" "+req.Path+"?"+req.Form.Encode())))
	if old := s.answers[req.IdempotencyKey]; old != nil {
		switch {
		case old.digest != digest:
			return errorAnswer(&failure{status: http.StatusBadRequest, Type: "idempotency_error",
				Message: "Keys for idempotent requests can only be used with the same parameters they were first used with."})
		case old.inFlight:
			return errorAnswer(&failure{status: http.StatusConflict, Type: "idempotency_error", Code: "idempotency_key_in_use",
				Message: "There is currently another in-progress request using this Idempotent Key."})
		}
		replay := *old
		replay.replayed = true
		return &replay
	}
	s.answers[req.IdempotencyKey] = &answer{digest: digest, inFlight: true}
	if fault != nil && fault.Hold != nil {
		hold := fault.Hold
		s.mu.Unlock()
		<-hold
		s.mu.Lock()
	}
	var out *answer
	if fault == nil || fault.AfterEffect {
		out = s.work(req)
	}
	if fault != nil && (fault.Saved || fault.Hold == nil) {
		seen := fault.answer()
		if fault.Saved || out == nil {
			seen.at = s.now()
			out = seen
		}
		s.store(req.IdempotencyKey, digest, out)
		return seen
	}
	if out == nil {
		out = s.work(req)
	}
	s.store(req.IdempotencyKey, digest, out)
	return out
}

func (s *Server) store(key, digest string, a *answer) {
	if a.at.IsZero() || a.status == 0 {
		delete(s.answers, key)
		return
	}
	kept := *a
	kept.digest, kept.inFlight = digest, false
	s.answers[key] = &kept
}
