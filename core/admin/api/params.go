package api

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// params are the query parameters of a request, each given once.
type params map[string]string

func parameters(query string) (params, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, bad(badParameter, "the query is not escaped as a URL is")
	}
	p := params{}
	for name, given := range values {
		switch {
		case len(given) > 1:
			return nil, bad(badParameter, fmt.Sprintf("%q is given more than once", cut(name)))
		case given[0] == "":
			return nil, bad(badParameter, fmt.Sprintf("%q is empty; leave it out to see everything", cut(name)))
		}
		p[name] = given[0]
	}
	return p, nil
}

// only refuses parameters that are not known.
func (p params) only(known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		switch {
		case slices.Contains(known, name):
		case strings.Join(known, "") == "":
			return bad(unknownParam, fmt.Sprintf("there is no parameter %q here, nor any other", cut(name)))
		default:
			return bad(unknownParam, fmt.Sprintf("there is no parameter %q here; known are %s", cut(name), strings.Join(known, ", ")))
		}
	}
	return nil
}

// with is the query with one parameter set.
func (p params) with(name, value string) string {
	values := url.Values{}
	for n, v := range p {
		values.Set(n, v)
	}
	values.Set(name, value)
	return values.Encode()
}

// cut keeps an answer short that repeats what was sent.
func cut(text string) string {
	if len(text) > 64 {
		text = text[:64] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}

// A cursor is the key of the last row of a page, behind a sum over the list that
// it belongs to. The sum keeps nothing secret: it tells a cursor that was cut or
// that another list gave, which would show a page from anywhere.
const sumSize = 8

func cursorSum(list string, filters map[string]string, after string) []byte {
	h := sha256.New()
	part := func(text string) { fmt.Fprintf(h, "%d:%s", len(text), text) }
	part(list)
	for _, name := range slices.Sorted(maps.Keys(filters)) {
		part(name)
		part(filters[name])
	}
	part(after)
	return h.Sum(nil)[:sumSize]
}

func makeCursor(list string, filters map[string]string, after string) string {
	return base64.RawURLEncoding.EncodeToString(append(cursorSum(list, filters, after), after...))
}

// openCursor returns the key behind which the page begins; empty for no cursor.
func openCursor(list string, filters map[string]string, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil && len(raw) > sumSize {
		after := string(raw[sumSize:])
		if string(cursorSum(list, filters, after)) == string(raw[:sumSize]) {
			return after, nil
		}
	}
	return "", bad(badCursor, "this is no cursor of this list; take next from the page before, and keep the filters as they were")
}
