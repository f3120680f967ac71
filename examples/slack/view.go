package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

// viewWords names what a template can show.
const viewWords = ".Tenant, .Person, .App, .Event (.ID .Type .TenantID .ApplicationID .Subject .Source .Time .Late .Replay), " +
	".Organization, .Identity, .Application, .Data, .Changes (.Field .Before .After) and .Changed \"field\"; the README lists them"

// view is what a template sees.
type view struct {
	Event eventView
	// Tenant, Person and App are names for people, as good as they are known.
	Tenant, Person, App string
	// The mirror's rows as they stand now; empty if there is none.
	Organization plugin.Organization
	Identity     plugin.Identity
	Application  plugin.Application
	// Data is what the provider sent.
	Data map[string]any
	// Changes are what the event changed about its own subject.
	Changes []change
}

type eventView struct {
	ID, Type, TenantID, ApplicationID, Subject, Source string
	Time                                               time.Time
	// Late: newer events had already overruled all that it says.
	Late bool
	// Replay: an operator asked for it to be told again.
	Replay bool
}

type change struct{ Field, Before, After string }

// Changed is what the event did to a field; nil if nothing.
func (v view) Changed(field string) *change {
	for i := range v.Changes {
		if v.Changes[i].Field == field {
			return &v.Changes[i]
		}
	}
	return nil
}

// viewOf shows an event. What is not there is empty: a message about a tenant
// that is gone is a message, too.
func viewOf(ev plugin.Event) (view, error) {
	v := view{Event: eventView{
		ID: ev.ID, Type: ev.Type, TenantID: ev.TenantID, ApplicationID: ev.ApplicationID, Subject: ev.Subject,
		Source: ev.Source, Time: ev.OccurredAt, Late: ev.Superseded, Replay: ev.Replay,
	}}
	dec := json.NewDecoder(bytes.NewReader(ev.Raw))
	dec.UseNumber()
	if err := dec.Decode(&v.Data); err != nil {
		return v, plugin.Reject(errors.New("the event's data is no JSON object"))
	}
	if err := wellTyped(ev); err != nil {
		return v, err
	}
	for name, value := range v.Data {
		v.Data[name] = numbers(value)
	}
	var err error
	if v.Organization, err = row[plugin.Organization](ev); err != nil {
		return v, err
	}
	if v.Application, err = row[plugin.Application](ev); err != nil {
		return v, err
	}
	if v.Identity, err = row[plugin.Identity](ev); err != nil {
		return v, err
	}
	for _, c := range ev.Changes {
		if c.Entity+":"+c.ID == ev.Subject {
			v.Changes = append(v.Changes, change{c.Field, inWordsJSON(c.Before), inWordsJSON(c.After)})
		}
	}
	v.Tenant = cmp.Or(v.Organization.Name, v.ifType("tenant.", "name"), v.Organization.Slug,
		v.text("tenant_slug"), v.ifType("tenant.", "slug"), ev.TenantID)
	v.Person = cmp.Or(v.Identity.DisplayName, strings.TrimSpace(v.Identity.GivenName+" "+v.Identity.FamilyName),
		v.ifType("subject.", "name"), strings.TrimSpace(v.text("given_name")+" "+v.text("family_name")), v.Identity.Email, v.text("email"),
		v.text("user_email"), v.Identity.Sub, v.text("sub"), v.text("user_id"))
	v.App = cmp.Or(v.Application.Name, v.text("application_name"), v.ifType("application.", "name"), v.Application.Slug,
		v.text("application_slug"), v.text("application_id"), ev.ApplicationID)
	return v, nil
}

// wellTyped rejects data whose members do not have the types that the provider
// documents: it would be told as if it meant something.
func wellTyped(ev plugin.Event) error {
	family, rest, _ := strings.Cut(ev.Type, ".")
	if family == "tenant" && strings.HasPrefix(rest, "app.") {
		family = "tenant.app"
	}
	if reads := reading[family]; reads != nil {
		return reads(ev)
	}
	return nil
}

// reading has the form of data, by family of types.
var reading = map[string]func(plugin.Event) error{
	"subject":     as[plugin.SubjectData],
	"member":      as[plugin.MemberData],
	"app_access":  as[plugin.AppAccessData],
	"invite":      as[plugin.InviteData],
	"license":     as[plugin.LicenseData],
	"tenant":      as[plugin.TenantData],
	"tenant.app":  as[plugin.TenantAppData],
	"application": as[plugin.ApplicationData],
	"sso":         as[plugin.SSOProviderData],
}

func as[T any](ev plugin.Event) error {
	_, err := plugin.Data[T](ev)
	return err
}

// row is a row of the mirror, empty if there is none.
func row[T any](ev plugin.Event) (T, error) {
	v, err := plugin.Data[T](ev)
	if errors.Is(err, plugin.ErrNoEntity) {
		return v, nil
	}
	return v, err
}

// text is a member of the data, if it is text.
func (v view) text(name string) string {
	s, _ := v.Data[name].(string)
	return s
}

// ifType is text of the data, for types that begin so.
func (v view) ifType(prefix, name string) string {
	if strings.HasPrefix(v.Event.Type, prefix) && !strings.HasPrefix(v.Event.Type, "tenant.app.") {
		return v.text(name)
	}
	return ""
}

// numbers makes ordinary numbers of json.Number, which templates can compare.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i)
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = numbers(v[name])
		}
	}
	return v
}

// inWordsJSON is a JSON value for people: text without its quotes, and nothing
// for null.
func inWordsJSON(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if string(raw) == "null" {
		return ""
	}
	return string(raw)
}
