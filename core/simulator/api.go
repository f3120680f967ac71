package simulator

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The integration API: who is a member where, for machines with a token.

// givenToken is a token that the API gave out.
type givenToken struct {
	hash  [sha256.Size]byte
	until time.Time
}

const (
	tokenLife = 10 * time.Minute
	maxGiven  = 64 // tokens that are remembered; the oldest go first
)

// giveToken exchanges the machine's credentials for a token.
func (s *Simulator) giveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxCommand)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "the form cannot be read")
		return
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		refuse(w, http.StatusBadRequest, "grant_type must be client_credentials")
		return
	}
	if !same(r.PostForm.Get("client_id"), s.opts.APIClient) || !same(r.PostForm.Get("client_secret"), s.opts.APISecret) {
		refuse(w, http.StatusUnauthorized, "there is no machine with this client id and secret")
		return
	}
	text := rand.Text()
	s.mu.Lock()
	if len(s.given) == maxGiven {
		s.given = s.given[1:]
	}
	s.given = append(s.given, givenToken{sha256.Sum256([]byte(text)), s.opts.Now().Add(tokenLife)})
	s.mu.Unlock()
	respond(w, http.StatusOK, fields{"access_token": text, "token_type": "Bearer", "expires_in": int(tokenLife.Seconds()), "scope": "integration"})
}

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// refusal is why the API does not answer.
type refusal struct {
	status  int
	message string
}

func refuse(w http.ResponseWriter, status int, message string) {
	respond(w, status, fields{"message": message, "statusCode": status})
}

// withToken answers who shows a token that has not expired.
func (s *Simulator) withToken(answer func(*world, *http.Request) (fields, *refusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		hash := sha256.Sum256([]byte(text))
		s.mu.Lock()
		known := strings.EqualFold(scheme, "Bearer") && slices.ContainsFunc(s.given, func(g givenToken) bool {
			return subtle.ConstantTimeCompare(g.hash[:], hash[:]) == 1 && s.opts.Now().Before(g.until)
		})
		var told fields
		var no *refusal
		if known {
			told, no = answer(s.world, r)
		}
		s.mu.Unlock()
		switch {
		case !known:
			refuse(w, http.StatusUnauthorized, "the token is missing, unknown or has expired")
		case no != nil:
			refuse(w, no.status, no.message)
		default:
			respond(w, http.StatusOK, told)
		}
	}
}

// The states of a membership.
const (
	stateActive    = "ACTIVE"
	stateInvited   = "INVITED"
	stateSuspended = "SUSPENDED"
)

func (w *world) tenantMembers(r *http.Request) (fields, *refusal) {
	q := r.URL.Query()
	state := q.Get("status")
	if state != "" && state != stateActive && state != stateInvited && state != stateSuspended {
		return nil, &refusal{http.StatusBadRequest, "status must be ACTIVE, INVITED or SUSPENDED"}
	}
	i := slices.IndexFunc(w.tenants, func(t *tenant) bool { return t.id() == q.Get("tenantId") })
	if i < 0 {
		return nil, &refusal{http.StatusNotFound, "there is no such tenant"}
	}
	t := w.tenants[i]
	list := []fields{}
	for _, m := range t.members {
		is := m.membership()
		if q.Get("includeRoles") == "true" {
			is["roles"] = w.allRoles(m)
		}
		list = append(list, is)
	}
	for _, i := range t.invites {
		list = append(list, membership(i.membershipID, stateInvited, i.sent, i.who))
	}
	if state != "" {
		list = slices.DeleteFunc(list, func(f fields) bool { return f["status"] != state })
	}
	return fields{
		"tenantId": t.id(), "tenantName": t.doc.text("name"), "tenantSlug": t.slug(), "initiateLoginUri": nil,
		"memberships": list, "totalCount": len(list),
	}, nil
}

func (w *world) applicationMembers(r *http.Request) (fields, *refusal) {
	asked := r.URL.Query().Get("clientId")
	apps := w.allApps()
	i := slices.IndexFunc(apps, func(a *application) bool { return a.doc.text("client_id") == asked })
	if i < 0 {
		return nil, &refusal{http.StatusNotFound, "there is no application with this client id"}
	}
	app := apps[i]
	list := []fields{}
	for _, t := range w.tenants {
		for _, m := range t.members {
			for _, g := range m.grants {
				if g.app != app {
					continue
				}
				list = append(list, m.membership().with(fields{
					"tenant": fields{"id": t.id(), "name": t.doc.text("name"), "slug": t.slug(), "initiateLoginUri": nil},
					"roles":  []fields{g.role.told()},
				}))
			}
		}
	}
	return fields{
		"applicationId": app.id(), "applicationName": app.doc.text("name"), "clientId": asked,
		"memberships": list, "totalCount": len(list),
	}, nil
}

// allApps are the live applications.
func (w *world) allApps() []*application {
	all := slices.Clone(w.apps)
	if w.older != nil {
		all = append(all, w.older)
	}
	for _, t := range w.tenants {
		all = append(all, t.apps...)
	}
	return all
}

func (m *member) membership() fields {
	state := stateActive
	if m.suspended {
		state = stateSuspended
	}
	return membership(m.id, state, m.joined, m.who)
}

func membership(id, state string, since time.Time, who *person) fields {
	return fields{
		"id": id, "status": state, "joinedAt": since.UTC().Format(timeFormat), "createdAt": since.UTC().Format(timeFormat),
		"user": fields{
			"id": who.sub(), "email": who.doc.text("email"),
			"givenName": who.doc.text("given_name"), "familyName": who.doc.text("family_name"),
		},
	}
}

// allRoles are a member's roles in the tenant and in applications.
func (w *world) allRoles(m *member) []fields {
	roles := []fields{}
	for _, slug := range m.roles {
		roles = append(roles, fields{
			"id": "role_tenant_" + slug, "name": strings.ToUpper(slug[:1]) + slug[1:], "slug": slug,
			"applicationId": nil, "applicationName": nil,
		})
	}
	apps := w.allApps()
	for _, g := range m.grants {
		if slices.Contains(apps, g.app) {
			roles = append(roles, g.role.told().with(fields{"applicationId": g.app.id(), "applicationName": g.app.doc.text("name")}))
		}
	}
	return roles
}

func (r role) told() fields { return fields{"id": r.id, "name": r.name, "slug": r.slug} }
