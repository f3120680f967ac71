package stripefake

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// params are the parameters of a request that are not yet read, so that what
// nobody reads can be refused as Stripe refuses it.
type params struct {
	form url.Values
	read map[string]bool
}

func newParams(form url.Values) *params { return &params{form, map[string]bool{}} }

func (p *params) has(name string) bool {
	p.read[name] = true
	return p.form.Has(name)
}

func (p *params) text(name string) string {
	p.read[name] = true
	return p.form.Get(name)
}

func (p *params) flag(name string) bool { return p.text(name) == "true" }

func (p *params) number(name string, otherwise int64) (int64, *failure) {
	text := p.text(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, invalid(name, "Invalid integer: %s", text)
	}
	return n, nil
}

// list are the values of name[] or name[0], name[1], …
func (p *params) list(name string) []string {
	out := p.form[name+"[]"]
	p.read[name+"[]"] = true
	for i := 0; ; i++ {
		key := name + "[" + strconv.Itoa(i) + "]"
		if !p.form.Has(key) {
			return out
		}
		out = append(out, p.text(key))
	}
}

// members of name[key] by key.
func (p *params) members(name string) map[string]string {
	out := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(p.form)) {
		rest, ok := strings.CutPrefix(key, name+"[")
		if member, ok2 := strings.CutSuffix(rest, "]"); ok && ok2 && !strings.Contains(member, "[") {
			out[member] = p.text(key)
		}
	}
	return out
}

// objects of name[0][key], name[1][key], …
func (p *params) objects(name string) []map[string]string {
	var out []map[string]string
	for i := 0; ; i++ {
		one := p.members(name + "[" + strconv.Itoa(i) + "]")
		if len(one) == 0 {
			return out
		}
		out = append(out, one)
	}
}

// rest refuses what nobody has read.
func (p *params) rest() *failure {
	for _, key := range slices.Sorted(maps.Keys(p.form)) {
		if !p.read[key] {
			return &failure{status: 400, Type: "invalid_request_error", Code: "parameter_unknown", Param: key, Message: "Received unknown parameter: " + key, unsaved: true}
		}
	}
	return nil
}

// setMetadata does what Stripe does with metadata: an empty value removes a key.
func setMetadata(into map[string]string, set map[string]string) {
	for k, v := range set {
		if v == "" {
			delete(into, k)
		} else {
			into[k] = v
		}
	}
}
