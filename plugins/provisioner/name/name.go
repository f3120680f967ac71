// Package name makes the names of tenants' resources. Slugs are written by
// strangers, so a name holds nothing of them but letters, digits and
// underscores, and two tenants never share one.
package name

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// MaxSlug is how many characters of a slug a name keeps. With a prefix of
// twelve, the longest name has 62 bytes; Postgres cuts at 63 without an error.
const MaxSlug = 40

// Of is PREFIX_SLUG_HASH. The prefix has no underscore, so names of different
// prefixes differ; the hash is the tenant's, so names of different tenants do.
func Of(prefix, slug, tenant string) string {
	return prefix + "_" + plain(slug) + "_" + Hash(tenant)
}

// Hash is eight characters that stand for a tenant's id.
func Hash(tenant string) string {
	sum := sha256.Sum256([]byte(tenant))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// plain keeps ASCII letters and digits, and writes one underscore for whatever
// stands between them.
func plain(slug string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(slug) {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			gap = true
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte('_')
		}
		gap = false
		if b.WriteRune(r); b.Len() >= MaxSlug {
			break
		}
	}
	out := strings.Trim(b.String()[:min(b.Len(), MaxSlug)], "_")
	if out == "" {
		return "tenant"
	}
	return out
}

// Safe tells whether a text could be a name that Of has made.
func Safe(text string) bool {
	if text == "" || len(text) > 63 {
		return false
	}
	for _, r := range text {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return false
		}
	}
	return true
}
