package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// guard decides who may ask.
type guard struct {
	token bool // one is configured
	// The digest has one length whatever the token's is, so that comparing takes
	// the same time for every guess.
	digest [sha256.Size]byte
	log    zerolog.Logger
	warned *atomic.Int64 // Unix seconds of the last line about wrong tokens
}

func newGuard(token string, log zerolog.Logger) guard {
	return guard{token: token != "", digest: sha256.Sum256([]byte(token)), log: log, warned: new(atomic.Int64)}
}

// host tells whether a request may be served under the name it was sent to.
func (g guard) host(r *http.Request) bool { return g.token || loopback(r.Host) }

// authorized tells whether a request shows the token, and answers it if not.
func (g guard) authorized(w http.ResponseWriter, r *http.Request) bool {
	given := r.Header.Values("Authorization")
	if len(given) == 1 {
		scheme, token, _ := strings.Cut(given[0], " ")
		digest := sha256.Sum256([]byte(token))
		if strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(digest[:], g.digest[:]) == 1 {
			return true
		}
	}
	if len(given) > 0 {
		g.warn(r)
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="avhub"`)
	Refuse(w, http.StatusUnauthorized, "unauthorized", "show admin.token as: Authorization: Bearer TOKEN")
	return false
}

// warn tells of a wrong token, once a minute at most: whoever can reach the port
// must not be able to fill the disk. What was shown instead is not logged, as it
// may be the right token of something else.
func (g guard) warn(r *http.Request) {
	now, last := time.Now().Unix(), g.warned.Load()
	if now-last < 60 || !g.warned.CompareAndSwap(last, now) {
		return
	}
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	g.log.Warn().Str("from", from).Msg("a request to the admin listener came with a wrong token and got 401")
}

// loopback tells whether a Host header names this machine: localhost or a
// loopback address, with or without a port.
func loopback(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		name = host[1 : len(host)-1]
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}
