package stripefake

import (
	"regexp"
	"strings"
)

// clause is one of a search: metadata['key']:'value'.
var clause = regexp.MustCompile(`^\s*metadata\[["']([^"']+)["']\]\s*:\s*["']((?:[^"'\\]|\\.)*)["']\s*$`)

// query reads a search; every clause has to hold.
func query(text string) (func(metadata map[string]string) bool, *failure) {
	type want struct{ key, value string }
	var all []want
	for _, part := range strings.Split(text, " AND ") {
		m := clause.FindStringSubmatch(part)
		if m == nil {
			return nil, invalid("query", "We were unable to parse your search query.")
		}
		all = append(all, want{m[1], strings.NewReplacer(`\'`, `'`, `\"`, `"`, `\\`, `\`).Replace(m[2])})
	}
	return func(metadata map[string]string) bool {
		for _, w := range all {
			if metadata[w.key] != w.value {
				return false
			}
		}
		return true
	}, nil
}

func (s *Server) searchCustomers(p *params) (any, *failure) {
	fits, f := query(p.text("query"))
	if f != nil {
		return nil, f
	}
	limit, f := p.number("limit", 10)
	if f == nil {
		f = p.rest()
	}
	if f != nil {
		return nil, f
	}
	var data []any
	for _, c := range s.customers {
		if !c.Deleted && !c.found.After(s.now()) && fits(c.Metadata) && len(data) < int(limit) {
			data = append(data, s.customerJSON(c, nil))
		}
	}
	out := listJSON("/v1/customers/search", data, false)
	out["object"], out["next_page"] = "search_result", nil
	return out, nil
}
