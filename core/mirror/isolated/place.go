package isolated

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/store"
)

// Ids and slugs come from outside; a slug is what somebody typed when signing
// up. In the name of a file or database they stand as they are only if they are
// lower-case letters, digits, hyphens and underscores, and short. Everything
// else is replaced, and a hash of the whole keeps two of them apart.

const (
	// nameLimit is what Postgres keeps of a name, in bytes; more would be cut
	// off silently. Files get the same.
	nameLimit = 63
	// leastPart is the room that an id needs: something to recognize, and a hash.
	leastPart  = 16
	hashLength = 10
	// candidates are tried before it is said that there is no free name.
	candidates = 20
)

// template is mirror.tenants.url taken apart around the file's or database's
// name.
type template struct {
	dialect       store.Dialect
	before        string // up to the name
	name          string // with {tenant_id} or {slug}
	after         string // the query of a Postgres URL
	part          int    // bytes that one id may take
	hub           string // place that is the hub's own, if it is of this kind
	administrator string // database to connect to for making another one
	password      string
}

// parseTemplate reads a URL that the configuration has validated.
func parseTemplate(text, hubURL string) (template, error) {
	t := template{dialect: store.SQLite, administrator: "postgres"}
	scheme, rest, _ := strings.Cut(text, "://")
	if scheme == "postgres" || scheme == "postgresql" {
		t.dialect = store.Postgres
		if path, query, ok := strings.Cut(rest, "?"); ok {
			rest, t.after = path, "?"+query
		}
	}
	slash := strings.LastIndexByte(rest, '/')
	t.before, t.name = scheme+"://"+rest[:slash+1], rest[slash+1:]
	holders := strings.Count(t.name, "{tenant_id}") + strings.Count(t.name, "{slug}")
	if holders == 0 {
		return t, fmt.Errorf("%s has neither {tenant_id} nor {slug} in the file's or database's name", config.RedactURL(text))
	}
	fixed := len(strings.NewReplacer("{tenant_id}", "", "{slug}", "").Replace(t.name))
	if t.part = (nameLimit - fixed) / holders; t.part < leastPart {
		return t, fmt.Errorf("%s leaves too little room for ids: a name may have %d bytes, and each id needs %d; shorten the rest of it",
			config.RedactURL(text), nameLimit, leastPart)
	}
	t.knowHub(hubURL)
	return t, nil
}

// knowHub notes which place the hub itself has, and what is secret.
func (t *template) knowHub(hubURL string) {
	if own, err := url.Parse(t.before + "x" + t.after); err == nil {
		t.password, _ = own.User.Password()
	}
	scheme, rest, _ := strings.Cut(hubURL, "://")
	switch {
	case scheme == "sqlite" && t.dialect == store.SQLite:
		t.hub = string(store.SQLite) + ":" + rest
	case strings.HasPrefix(scheme, "postgres") && t.dialect == store.Postgres:
		hub, err := url.Parse(hubURL)
		if err != nil {
			return // Open says so
		}
		name := strings.TrimPrefix(hub.Path, "/")
		t.hub = string(store.Postgres) + ":" + name
		if own, err := url.Parse(t.before + "x" + t.after); err == nil && own.Host == hub.Host &&
			own.Query().Get("host") == hub.Query().Get("host") && own.Query().Get("port") == hub.Query().Get("port") && name != "" {
			t.administrator = name
		}
	}
}

// candidate returns the nth place for a tenant: its name as the template wants
// it, and then, should that be taken, such with a hash of the tenant's id.
func (t template) candidate(n int, tenant, slug string) string {
	part := func(value string) string {
		if n == 0 {
			return t.safe(value)
		}
		return t.hashed(value, tenant+"\x00"+strconv.Itoa(n))
	}
	if slug == "" {
		slug = tenant // it was not told yet
	}
	name := strings.NewReplacer("{tenant_id}", part(tenant), "{slug}", part(slug)).Replace(t.name)
	if t.dialect == store.SQLite {
		name = strings.TrimPrefix(t.before, "sqlite://") + name
	}
	return string(t.dialect) + ":" + name
}

// safe returns value itself if it can stand in a name, else what is left of it
// with a hash.
func (t template) safe(value string) string {
	if len(value) <= t.part && value != "" && sanitized(value) == value {
		return value
	}
	return t.hashed(value, value)
}

func (t template) hashed(value, salt string) string {
	sum := sha256.Sum256([]byte(salt))
	left := sanitized(value)
	return left[:min(len(left), t.part-hashLength-1)] + "_" + hex.EncodeToString(sum[:])[:hashLength]
}

// sanitized replaces every byte that is not a lower-case letter, a digit, a
// hyphen or an underscore.
func sanitized(value string) string {
	out := []byte(value)
	for i, c := range out {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		case c >= 'A' && c <= 'Z':
			out[i] = c + 'a' - 'A'
		default:
			out[i] = '_'
		}
	}
	return string(out)
}

// reserved tells whether a place is the hub's own, or one that the server keeps
// for itself. A tenant could choose its slug to hit it.
func (t template) reserved(place string) bool {
	_, name, _ := strings.Cut(place, ":")
	if t.dialect == store.Postgres {
		return place == t.hub || name == "postgres" || name == "template0" || name == "template1"
	}
	_, hub, ok := strings.Cut(t.hub, ":")
	if !ok {
		return false
	}
	a, errA := filepath.Abs(name)
	b, errB := filepath.Abs(hub)
	return errA != nil || errB != nil || strings.EqualFold(a, b)
}

// holds tells whether a stored place is one of this kind of database. It is not
// after mirror.tenants.url has changed from SQLite to Postgres or back.
func (t template) holds(place string) bool {
	return strings.HasPrefix(place, string(t.dialect)+":")
}

// url returns the URL of the database at a place. It may hold a password.
func (t template) url(place string) string {
	_, name, _ := strings.Cut(place, ":")
	if t.dialect == store.SQLite {
		return "sqlite://" + name
	}
	return t.before + url.PathEscape(name) + t.after
}

// administration returns the URL to make and drop databases by.
func (t template) administration() string {
	return t.before + url.PathEscape(t.administrator) + t.after
}

var errNoName = errors.New("no free name was found for its database")
