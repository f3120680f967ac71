package simulator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// world is what the simulated provider knows: enough that its events are
// coherent, so that a role is changed of somebody who joined before. Whoever
// uses it holds Simulator.mu.
type world struct {
	rng       *rand.Rand
	now       func() time.Time
	tenants   []*tenant // live ones, oldest first
	apps      []*application
	older     *application // that was there before the first event, with people who use it; nil: none was
	providers []*provider  // global ones
	serial    int
}

type tenant struct {
	doc        fields // as form 2 has it, and status
	owner      *person
	newcomers  []*newcomer // the owner first
	members    []*member
	invites    []*invite
	licenses   []*license
	apps       []*application // its own
	providers  []*provider
	subscribed string // id of its subscription; empty before there is one
}

func (t *tenant) id() string   { return t.doc.text("tenant_id") }
func (t *tenant) slug() string { return t.doc.text("slug") }

type person struct{ doc fields }

func (p *person) sub() string { return p.doc.text("sub") }

// newcomer is a person on the way into a tenant.
type newcomer struct {
	who          *person
	membershipID string // that an invitation promised; empty: none did
	told         bool   // a subject.created was sent
}

type member struct {
	id        string
	who       *person
	roles     []string
	appRole   role
	suspended bool
	joined    time.Time
	grants    []grant
}

// grant is a role in an application.
type grant struct {
	app  *application
	role role
}

// grant gives the member a role in an application, instead of the one before.
func (m *member) grant(app *application, r role) {
	m.revoke(app)
	m.grants = append(m.grants, grant{app, r})
}

func (m *member) revoke(app *application) {
	m.grants = slices.DeleteFunc(m.grants, func(g grant) bool { return g.app == app })
}

type invite struct {
	id, membershipID, email string
	who                     *person
	roles                   []string
	sent, expires           time.Time
}

type license struct {
	id   string
	who  *person
	kind licenseType
}

type application struct {
	doc   fields
	owner *tenant // nil: global
}

func (a *application) id() string { return a.doc.text("application_id") }

type provider struct{ doc fields }

type role struct{ id, name, slug string }

type licenseType struct{ id, name string }

var (
	appRoles     = []role{{"role_viewer", "Viewer", "viewer"}, {"role_editor", "Editor", "editor"}, {"role_manager", "Manager", "manager"}}
	licenseTypes = []licenseType{{"lt_starter", "starter"}, {"lt_pro", "pro"}, {"lt_enterprise", "enterprise"}}
	plans        = []string{"free", "starter", "pro", "enterprise"}

	companyFirst  = []string{"Amber", "Birch", "Cobalt", "Delta", "Ember", "Fjord", "Granite", "Harbor", "Iris", "Juniper", "Kestrel", "Lumen", "Maple", "Nimbus", "Orchard", "Pioneer", "Quartz", "River", "Summit", "Tidal"}
	companySecond = []string{"Analytics", "Bakery", "Cargo", "Design", "Energy", "Foods", "Games", "Health", "Insurance", "Logistics", "Media", "Optics", "Robotics", "Studios", "Travel"}
	givenNames    = []string{"Ada", "Bruno", "Chioma", "Dana", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kiri", "Leila", "Mateo", "Nora", "Omar", "Priya", "Quinn", "Rosa", "Sven", "Tala", "Uma", "Viktor", "Wanda", "Yuki", "Zoe"}
	familyNames   = []string{"Abel", "Berg", "Castro", "Demir", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jensen", "Kaya", "Lopez", "Moreau", "Novak", "Okafor", "Petrov", "Rossi", "Singh", "Tanaka", "Vargas", "Weber"}
)

func newWorld(seed uint64, now func() time.Time) *world {
	return &world{rng: rand.New(rand.NewPCG(seed, 0x61766875620001)), now: now}
}

// newID makes an id that no other run makes: a hub may remember earlier ones.
func (w *world) newID(prefix string) string {
	w.serial++
	return fmt.Sprintf("%s_%x%04x", prefix, w.now().UnixMilli(), w.serial)
}

func pickOne[T any](w *world, from []T) T { return from[w.rng.IntN(len(from))] }

func (w *world) stamp() string { return w.now().UTC().Format(timeFormat) }

// newTenant makes a tenant with an owner who is not a member yet.
func (w *world) newTenant() *tenant {
	name := pickOne(w, companyFirst) + " " + pickOne(w, companySecond)
	slug := strings.ToLower(strings.ReplaceAll(name, " ", "-"))
	if w.findTenant(slug) != nil {
		w.serial++
		name, slug = fmt.Sprintf("%s %d", name, w.serial), fmt.Sprintf("%s-%d", slug, w.serial)
	}
	owner := w.newPerson(slug)
	return &tenant{owner: owner, newcomers: []*newcomer{{who: owner}}, doc: fields{
		"tenant_id": w.newID("ten"), "name": name, "slug": slug, "plan": plans[0], "status": "active",
		"created_by_sub": owner.sub(), "created_at": w.stamp(),
		"settings": fields{
			"allow_signups": true, "require_mfa": false, "allowed_email_domains": []string{slug + ".example"},
			"session_lifetime_minutes": 720, "password_policy": "standard",
		},
	}}
}

func (w *world) newPerson(slug string) *person {
	given, family := pickOne(w, givenNames), pickOne(w, familyNames)
	sub := w.newID("usr")
	return &person{doc: fields{
		"sub": sub, "email": strings.ToLower(given+"."+family) + "@" + slug + ".example", "email_verified": true,
		"given_name": given, "family_name": family, "name": given + " " + family, "preferred_username": strings.ToLower(given[:1] + family),
		"locale": pickOne(w, []string{"en-GB", "de-DE", "fr-FR", "tr-TR", "ja-JP"}), "zoneinfo": "UTC", "subject_type": "user",
	}}
}

// newApplication makes an application of a tenant, or a global one.
func (w *world) newApplication(owner *tenant) *application {
	name := pickOne(w, []string{"Atlas", "Beacon", "Compass", "Ledger", "Mosaic", "Prism", "Relay", "Signal"})
	id := w.newID("app")
	doc := fields{
		"application_id": id, "tenant_id": nil, "name": name, "slug": strings.ToLower(name), "client_id": w.newID("cli"),
		"application_type": "web", "is_active": true, "description": name + " of the simulated provider", "created_at": w.stamp(),
		"config": fields{
			"redirect_uris": []string{"https://app.example/callback"}, "post_logout_redirect_uris": []string{"https://app.example/"},
			"access_token_ttl_seconds": 900, "refresh_token_ttl_seconds": 86400,
		},
	}
	config, _ := asObject(doc["config"])
	if owner == nil {
		config["initiate_login_uri"] = "https://app.example/login"
		doc["licensing"] = fields{"mode": "PER_SEAT", "allow_mixed": false, "default_seat_count": 5, "auto_provision_on_signup": true, "auto_grant_to_owner": true}
		return &application{doc: doc}
	}
	doc["tenant_id"], doc["created_by_sub"] = owner.id(), owner.owner.sub()
	config["allowed_scopes"] = []string{"openid", "profile", "email"}
	config["grant_types"] = []string{"authorization_code", "refresh_token"}
	config["token_endpoint_auth_method"] = "client_secret_basic"
	return &application{doc: doc, owner: owner}
}

// newProvider makes a login provider of a tenant, or a global one.
func (w *world) newProvider(owner *tenant) *provider {
	if owner == nil {
		kind := pickOne(w, []string{"google", "microsoft"})
		return &provider{doc: fields{"provider_id": strings.ToUpper(kind), "provider_type": kind, "display_name": strings.ToUpper(kind[:1]) + kind[1:], "is_enabled": true}}
	}
	issuer := "https://" + owner.slug() + ".okta.example"
	return &provider{doc: fields{
		"provider_id": w.newID("sso"), "tenant_id": owner.id(), "provider_type": "okta", "display_name": owner.doc.text("name") + " Okta",
		"is_enabled": true, "created_by_sub": owner.owner.sub(), "created_at": w.stamp(),
		"config": fields{
			"client_id": w.newID("oka"), "issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
			"userinfo_endpoint": issuer + "/userinfo", "domains": []string{owner.slug() + ".example"},
			"attribute_mapping": fields{"email": "mail", "given_name": "firstName"},
		},
	}}
}

// findTenant finds a live tenant by slug or id.
func (w *world) findTenant(name string) *tenant {
	for _, t := range w.tenants {
		if t.slug() == name || t.id() == name {
			return t
		}
	}
	return nil
}

// someTenant returns the newest live tenant and makes one if there is none.
func (w *world) someTenant() *tenant {
	if len(w.tenants) == 0 {
		w.tenants = append(w.tenants, w.newTenant())
	}
	return w.tenants[len(w.tenants)-1]
}

// mainApp returns the application that tenants use.
func (w *world) mainApp() *application {
	if len(w.apps) == 0 {
		w.apps = append(w.apps, w.newApplication(nil))
	}
	return w.apps[0]
}

// someMember returns the newest member for whom ok holds, and makes one if there
// is none.
func (w *world) someMember(t *tenant, ok func(*member) bool) *member {
	for _, m := range slices.Backward(t.members) {
		if ok(m) {
			return m
		}
	}
	m := w.join(t)
	if m.who == t.owner && !ok(m) {
		m = w.join(t)
	}
	return m
}

// newcomer returns the first newcomer for whom ok holds, and nil if there is none.
func (t *tenant) newcomer(ok func(*newcomer) bool) *newcomer {
	if i := slices.IndexFunc(t.newcomers, ok); i >= 0 {
		return t.newcomers[i]
	}
	return nil
}

// join makes the next newcomer a member: somebody who was told of, if possible.
func (w *world) join(t *tenant) *member {
	n := t.newcomer(func(n *newcomer) bool { return n.told })
	if n == nil {
		n = t.newcomer(func(*newcomer) bool { return true })
	}
	if n == nil {
		n = &newcomer{who: w.newPerson(t.slug())}
	}
	t.newcomers = remove(t.newcomers, n)
	m := &member{id: n.membershipID, who: n.who, roles: []string{"member"}, appRole: appRoles[0], joined: w.now()}
	if m.id == "" {
		m.id = w.newID("mem")
	}
	if m.who == t.owner {
		m.roles = []string{"owner"}
	}
	t.members = append(t.members, m)
	return m
}

func (w *world) someInvite(t *tenant) *invite {
	if len(t.invites) == 0 {
		p := w.newPerson(t.slug())
		t.invites = append(t.invites, &invite{
			id: w.newID("inv"), membershipID: w.newID("mem"), email: p.doc.text("email"), who: p, roles: []string{"member"},
			sent: w.now(), expires: w.now().Add(7 * 24 * time.Hour),
		})
	}
	return t.invites[len(t.invites)-1]
}

// someLicense returns the newest license, of a person if one is named, and
// makes one if there is none.
func (w *world) someLicense(t *tenant, who *person) *license {
	for _, l := range slices.Backward(t.licenses) {
		if who == nil || l.who == who {
			return l
		}
	}
	if who == nil {
		who = w.someMember(t, anyone).who
	}
	l := &license{id: w.newID("lic"), who: who, kind: licenseTypes[0]}
	t.licenses = append(t.licenses, l)
	return l
}

// after returns the element that follows v, around the end.
func after[T comparable](list []T, v T) T {
	return list[(slices.Index(list, v)+1)%len(list)]
}

func remove[T comparable](list []T, v T) []T {
	return slices.DeleteFunc(list, func(x T) bool { return x == v })
}
