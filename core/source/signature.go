package source

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
)

// The headers of the two webhook channels. Channel, key id and timestamp are
// read from them before anything is verified; id and type are only compared.
const (
	headerSignature = "X-AuthVital-Signature"
	headerKeyID     = "X-AuthVital-Key-Id"
	headerTimestamp = "X-AuthVital-Timestamp"
	headerEventID   = "X-AuthVital-Event-Id"
	headerEventType = "X-AuthVital-Event-Type"

	systemSignature = "X-Webhook-Signature"
	systemKeyID     = "X-Webhook-Key-Id"
	systemEvent     = "X-Webhook-Event"
)

// claim is what a request's headers say about its signature: not yet believed.
type claim struct {
	channel   event.Channel
	keyID     string
	signature []byte
	timestamp string // as sent, since it is part of the signed bytes; webhook only
}

// readClaim reads the signature headers. Exactly one channel's signature, once,
// must be there: a request that says two things says nothing.
func readClaim(h http.Header) (claim, *refusal) {
	web, sys := h.Values(headerSignature), h.Values(systemSignature)
	var c claim
	var signature, keyID []string
	switch {
	case len(web) == 0 && len(sys) == 0:
		return c, unauthorized(ReasonNoSignature, "the request carries no signature header")
	case len(web) > 0 && len(sys) > 0:
		return c, unauthorized(ReasonAmbiguous, "the request carries signature headers of both channels")
	case len(web) > 0:
		c.channel, signature, keyID = event.ChannelWebhook, web, h.Values(headerKeyID)
	default:
		c.channel, signature, keyID = event.ChannelSystem, sys, h.Values(systemKeyID)
	}
	timestamp := h.Values(headerTimestamp)
	if len(signature) > 1 || len(keyID) > 1 || (c.channel == event.ChannelWebhook && len(timestamp) > 1) {
		return c, unauthorized(ReasonAmbiguous, "a signature, key id or timestamp header is repeated")
	}
	if signature[0] == "" {
		return c, unauthorized(ReasonNoSignature, "the signature header is empty")
	}
	if len(keyID) == 0 || keyID[0] == "" {
		return c, unauthorized(ReasonNoKeyID, "the request carries no key id header")
	}
	if len(keyID[0]) > maxKeyID {
		return c, unauthorized(ReasonUnknownKey, "the key id is longer than any that is accepted")
	}
	c.keyID = keyID[0]
	sig, err := base64.StdEncoding.Strict().DecodeString(signature[0])
	if err != nil || len(sig) < minKeyBits/8 || len(sig) > maxKeyBits/8 {
		return c, unauthorized(ReasonMalformed, "the signature is not standard base64 of an RSA signature")
	}
	c.signature = sig
	if c.channel == event.ChannelWebhook {
		if len(timestamp) == 0 || timestamp[0] == "" {
			return c, unauthorized(ReasonBadTimestamp, "the request carries no timestamp header")
		}
		c.timestamp = timestamp[0]
	}
	return c, nil
}

// fresh judges the signed timestamp of an application webhook: Unix seconds in
// decimal digits, within the window around now, whose ends belong to it. It
// comes before the signature because it is cheaper: a forged timestamp that
// passes here fails there.
func (c claim) fresh(now time.Time, maxAge, maxAhead time.Duration) *refusal {
	if c.channel != event.ChannelWebhook {
		return nil
	}
	// Eleven digits last until the year 5138.
	if len(c.timestamp) > 11 || strings.Trim(c.timestamp, "0123456789") != "" {
		return unauthorized(ReasonBadTimestamp, "the timestamp header is not Unix seconds in decimal digits")
	}
	seconds, err := strconv.ParseInt(c.timestamp, 10, 64)
	if err != nil {
		return unauthorized(ReasonBadTimestamp, "the timestamp header is not Unix seconds in decimal digits")
	}
	// Both sides in whole seconds, as the sender counts: an age of 300.9 s is one
	// of 300 s, and the ends of the window are exact.
	age := time.Duration(now.Unix()-seconds) * time.Second
	switch {
	case age > maxAge:
		return unauthorized(ReasonStale, "the signed timestamp is too old; compare both clocks")
	case -age > maxAhead:
		return unauthorized(ReasonFuture, "the signed timestamp lies in the future; compare both clocks")
	}
	return nil
}

// verify checks the signature over the raw body: RSASSA-PKCS1-v1_5 with
// SHA-256, whatever any header may say.
func (c claim) verify(key *rsa.PublicKey, body []byte) *refusal {
	if len(c.signature) != key.Size() {
		return unauthorized(ReasonMalformed, "the signature is not as long as the key's modulus")
	}
	h := sha256.New()
	if c.channel == event.ChannelWebhook {
		h.Write([]byte(c.timestamp))
		h.Write([]byte{'.'})
	}
	h.Write(body)
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, h.Sum(nil), c.signature); err != nil {
		return unauthorized(ReasonBadSignature, "the signature does not fit the received bytes")
	}
	return nil
}
