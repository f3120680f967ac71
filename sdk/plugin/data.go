package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// ErrNoEntity says that the row which Data was asked for did not come with the
// event: it is gone, or it was never there.
var ErrNoEntity = errors.New("the mirror has no such row")

// Data reads the event as T.
//
// For Identity, Organization, Application, SSOProvider, Membership, AppAccess,
// License, Subscription and Invitation it returns the mirror's row as it stood
// when the event was handed out: the subject's own, or else that of the event's
// tenant or application, or the one that the event tells of. If there is no such
// row, the error is ErrNoEntity (by errors.Is).
//
// Any other T is decoded from the data that the provider sent: SubjectData,
// MemberData and their like, or a struct of the author's.
//
// Every error of Data is of the kind that trying again does not cure, so it
// carries the verdict Reject: a Deliver that just returns it gives up this one
// event, visibly, and holds up nothing.
func Data[T any](ev Event) (T, error) {
	var v T
	kind := entityKind(&v)
	if kind == "" {
		if err := json.Unmarshal(ev.Raw, &v); err != nil {
			var zero T
			return zero, Reject(fmt.Errorf("reading the data of %s as %v: %w", ev.Type, reflect.TypeFor[T](), jsonProblem(err)))
		}
		return v, nil
	}
	row := ev.entity(kind)
	if row == nil || len(row.JSON) == 0 {
		return v, Reject(fmt.Errorf("reading the %s of %s: %w", kind, ev.Type, ErrNoEntity))
	}
	if err := json.Unmarshal(row.JSON, &v); err != nil {
		var zero T
		return zero, Reject(fmt.Errorf("reading the %s of %s: %w", kind, ev.Type, jsonProblem(err)))
	}
	return v, nil
}

func entityKind(v any) string {
	switch v.(type) {
	case *Identity:
		return "identity"
	case *Organization:
		return "organization"
	case *Application:
		return "application"
	case *SSOProvider:
		return "sso_provider"
	case *Membership:
		return "membership"
	case *AppAccess:
		return "app_access"
	case *License:
		return "license"
	case *Subscription:
		return "subscription"
	case *Invitation:
		return "invitation"
	default:
		return ""
	}
}

// entity picks the row of a kind that the event is most about.
func (ev Event) entity(kind string) *Entity {
	var named, first *Entity
	for i := range ev.Entities {
		e := &ev.Entities[i]
		if e.Kind != kind {
			continue
		}
		if e.Kind+":"+e.ID == ev.Subject {
			return e
		}
		ofTenant := kind == "organization" && e.ID == ev.TenantID
		ofApplication := kind == "application" && e.ID == ev.ApplicationID
		if named == nil && (ofTenant || ofApplication) {
			named = e
		}
		if first == nil {
			first = e
		}
	}
	if named != nil {
		return named
	}
	return first
}

// jsonProblem says where decoding failed without repeating the value, which
// may be personal.
func jsonProblem(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("field %q must be %v", wrong.Field, wrong.Type)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not valid JSON at byte %d", syntax.Offset)
	}
	return errors.New("a value does not have the form that its field needs")
}
