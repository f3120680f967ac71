package source

import (
	"net/http"
	"time"
)

// Reason is the machine-readable word with which a request is turned away. The
// vocabulary is fixed, so that it can label metrics and log lines: nothing that
// a sender chose is ever part of it.
type Reason string

// The reasons. Those answered with 503 are the hub's own trouble and invite the
// sender to try again; all others are the sender's fault.
const (
	ReasonMethod          Reason = "method_not_allowed"     // 405
	ReasonMediaType       Reason = "unsupported_media_type" // 415
	ReasonEncoding        Reason = "unsupported_encoding"   // 415
	ReasonTooLarge        Reason = "body_too_large"         // 413
	ReasonTruncated       Reason = "truncated_body"         // 408
	ReasonSlow            Reason = "slow_body"              // 408
	ReasonUnreadable      Reason = "unreadable_body"        // 400
	ReasonNoSignature     Reason = "missing_signature"      // 401
	ReasonAmbiguous       Reason = "ambiguous_signature"    // 401
	ReasonMalformed       Reason = "malformed_signature"    // 401
	ReasonBadSignature    Reason = "bad_signature"          // 401
	ReasonNoKeyID         Reason = "missing_key_id"         // 401
	ReasonUnknownKey      Reason = "unknown_key"            // 401
	ReasonBadTimestamp    Reason = "bad_timestamp"          // 401
	ReasonStale           Reason = "stale_timestamp"        // 401
	ReasonFuture          Reason = "future_timestamp"       // 401
	ReasonInvalidEnvelope Reason = "invalid_envelope"       // 400
	ReasonKeySetDown      Reason = "key_set_unavailable"    // 503
	ReasonTooBusy         Reason = "too_busy"               // 503
	ReasonShuttingDown    Reason = "shutting_down"          // 503
	ReasonJournal         Reason = "journal_unavailable"    // 503
	ReasonInternal        Reason = "internal_error"         // 503
)

// refusal is the answer to a request that is turned away.
type refusal struct {
	status     int
	reason     Reason
	text       string        // for people; nothing of an unverified request
	retryAfter time.Duration // of 503
	// unread: there is more of the body, which the connection would wait for if it
	// were kept.
	unread bool
}

// refuse makes the answer to a fault of the sender.
func refuse(status int, reason Reason, text string) *refusal {
	return &refusal{status: status, reason: reason, text: text}
}

// unauthorized makes the answer to a request that nothing vouches for.
func unauthorized(reason Reason, text string) *refusal {
	return refuse(http.StatusUnauthorized, reason, text)
}

// later makes the answer to trouble of our own. It is always 503 with
// Retry-After: a 4xx would lose the event, since senders do not repeat those.
func later(reason Reason, after time.Duration, text string) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, reason: reason, text: text, retryAfter: after}
}
