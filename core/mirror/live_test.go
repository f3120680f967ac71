package mirror

import "testing"

// What one database writes differently is the same value, and nothing else is.
func TestJSONIsComparedByWhatItMeans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`{"a":1,"b":[true,null]}`, `{"b": [true, null], "a": 1}`, true},
		{`1.50e1`, `15.0`, true},
		{`0.05`, `5e-2`, true},
		{`-0`, `0.0`, true},
		{`1e400`, `10e399`, true},
		{`1e1000000000000000000000`, `10e999999999999999999999`, true},
		{`1e1000000000`, `1e1000000001`, false},
		{`12345678901234567890123`, `12345678901234567890124`, false},
		{`1`, `-1`, false},
		{`1`, `"1"`, false},
		{`"a\u00e5"`, `"aå"`, true},
		{`"a"`, `"A"`, false},
		{`[1,2]`, `[2,1]`, false},
		{`{"a":null}`, `{}`, false},
		{`{"a":null}`, `{"b":null}`, false},
		{`{}`, `junk`, false},
		{`{}`, `{} {}`, false},
		{`{}`, ``, false},
	} {
		if got := sameJSON([]byte(c.a), []byte(c.b)); got != c.same {
			t.Errorf("%s and %s: same %v", c.a, c.b, got)
		}
		if got := sameJSON([]byte(c.b), []byte(c.a)); got != c.same {
			t.Errorf("%s and %s: same %v", c.b, c.a, got)
		}
	}
}
