package config

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/avhub/avhub/sdk/schema"
)

// isLoopback says whether a host can only be reached from the same machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// listenAddress is host:port, taken apart.
type listenAddress struct {
	host string
	port uint16
}

func parseListen(text string) (a listenAddress, ok bool) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return a, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || !isHost(host) {
		return a, false
	}
	return listenAddress{host: host, port: uint16(n)}, true
}

// isHost takes an address, a name of letters, digits, dots and hyphens, or
// nothing.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	for _, c := range []byte(s) {
		word := c == '-' || c == '.' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !word {
			return false
		}
	}
	return len(s) < 254
}

// everywhere says whether the address takes every interface.
func (a listenAddress) everywhere() bool {
	addr, err := netip.ParseAddr(a.host)
	return a.host == "" || err == nil && addr.Unmap().IsUnspecified()
}

// clashes says whether two listeners cannot both have their address. Port 0 is
// a free one, another each time.
func (a listenAddress) clashes(b listenAddress) bool {
	if a.port != b.port || a.port == 0 {
		return false
	}
	same := strings.EqualFold(a.host, b.host)
	localhost := isLoopback(a.host) && isLoopback(b.host) && (strings.EqualFold(a.host, "localhost") || strings.EqualFold(b.host, "localhost"))
	return same || localhost || a.everywhere() || b.everywhere()
}

// RedactURL replaces what is secret in a URL: the password, and parameters
// whose names sound like secrets. A URL that cannot be taken apart safely is
// redacted as a whole; text that is no URL at all stays.
func RedactURL(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !strings.ContainsAny(rest, "@?") {
		return text
	}
	if _, err := url.Parse(text); err != nil {
		return scheme + "://" + schema.RedactedText
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	authority, path, hasPath := strings.Cut(rest, "/")
	if strings.Contains(path, "@") || strings.Contains(query, "@") {
		// A password with a / or ? that should have been escaped: no telling where it ends.
		return scheme + "://" + schema.RedactedText
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if user, password, ok := strings.Cut(authority[:at], ":"); ok && password != "" {
			authority = user + ":" + schema.RedactedText + authority[at:]
		}
	}
	out := scheme + "://" + authority
	if hasPath {
		out += "/" + path
	}
	if hasQuery {
		out += "?" + redactQuery(query)
	}
	return out
}

func redactQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if value != "" && (err != nil || soundsSecret(plain)) {
			pairs[i] = name + "=" + schema.RedactedText
		}
	}
	return strings.Join(pairs, "&")
}

// soundsSecret says whether a name is one that people give to secrets. It hides
// rather too much than too little.
func soundsSecret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range [...]string{"key", "token", "secret", "password", "passwd", "passphrase", "pwd", "credential", "private", "dsn"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
