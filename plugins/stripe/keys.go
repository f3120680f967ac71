package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// keyPrefix begins each key, so that in Stripe's events our requests are told
// from those of others.
const keyPrefix = "avh1:"

// keyOf is the idempotency key of an operation:
//
//	avh1:<account>:<operation>:<tenant>:<number>:<attempt>:<parameters>
//
// The tenant is hashed, so the key holds nothing personal. number is the
// generation of what is created, or the revision of what is changed: without it
// Stripe would answer the second of two equal changes of a day with what it said
// to the first, and do nothing. The hash of the parameters keeps one key from
// standing for two requests. It has at most 255 characters.
func keyOf(account string, o op, tenant string, number int64, attempt int) string {
	who := sha256.Sum256([]byte(tenant))
	what := sha256.Sum256([]byte(o.Method + " " + o.Path + "?" + o.encoded()))
	return fmt.Sprintf(keyPrefix+"%.60s:%s:%s:%d:%d:%s", account, strings.ReplaceAll(string(o.Kind), " ", "-"), hex.EncodeToString(who[:8]),
		number, attempt, hex.EncodeToString(what[:6]))
}
