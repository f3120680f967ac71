package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEncodingIsReadable(t *testing.T) {
	t.Parallel()
	m := newModels(rules{}).identities
	one, two := clock{1772409600000000, "evt_1"}, clock{1772409600000001, `e"2`}
	s := state{
		alive: two, first: one,
		registers: []register{
			{field: "email", at: one, value: []byte(`"a@x.example"`)},
			{field: "groups", at: two, value: []byte(`["a,]","\"}"]`)},
			{field: `odd"\`, at: two, value: []byte(`{"a":[1,{"b":null}]}`)},
			{field: "tenant_id", at: one, value: null, scope: "t1"},
		},
		clears: []clearing{{field: "tenant_id", scope: "t2", at: two}},
	}
	const want = `{"v":1,"clocks":[[1772409600000000,"evt_1"],[1772409600000001,"e\"2"]],"deleted":-1,"alive":1,"first":0,` +
		`"fields":{"email":[0,"a@x.example"],"groups":[1,["a,]","\"}"]],"odd\"\\":[1,{"a":[1,{"b":null}]}],"tenant_id":[0,null,"t1"]},` +
		`"left":[["tenant_id","t2",1]]}`
	got := s.encode()
	if string(got) != want {
		t.Fatalf("encoding:\n got  %s\n want %s", got, want)
	}
	if !json.Valid(got) {
		t.Error("the encoding is not JSON")
	}
	back, err := decodeState(m, got)
	if err != nil || fmt.Sprint(back) != fmt.Sprint(s) {
		t.Errorf("read back: %v %v, want %v", back, err, s)
	}
}

func TestEncodingsThatAreNotOursAreRefused(t *testing.T) {
	t.Parallel()
	m := newModels(rules{}).identities
	ours := (&state{alive: clock{1, "e"}, registers: []register{{field: "email", at: clock{1, "e"}, value: []byte(`"x"`)}}}).encode()
	var bad []string
	for i := 1; i < len(ours); i++ {
		bad = append(bad, string(ours[:i]))
	}
	bad = append(bad, " ", "null", "{}", string(ours)+" ",
		strings.Replace(string(ours), `"v":1`, `"v":2`, 1),
		strings.Replace(string(ours), `"alive":0`, `"alive":1`, 1),
		strings.Replace(string(ours), `"alive":0`, `"alive":-2`, 1),
		strings.Replace(string(ours), `[1,"e"]`, `[1234567890123456789,"e"]`, 1),
		strings.Replace(string(ours), `"email":[0,"x"]`, `"email":[0,]`, 1),
		strings.Replace(string(ours), `"email":[0,"x"]`, `"name":[0,"x"],"email":[0,"x"]`, 1),
		strings.Replace(string(ours), `"email":[0,"x"]`, `"email":[0,"x"],"email":[0,"y"]`, 1))
	for _, b := range bad {
		if s, err := decodeState(m, []byte(b)); !errors.Is(err, errUnreadable) {
			t.Errorf("%s is read as %v, %v", b, s, err)
		}
	}
	if s, err := decodeState(m, nil); err != nil || fmt.Sprint(s) != fmt.Sprint(state{}) {
		t.Errorf("nothing is read as %v, %v; want the empty state", s, err)
	}
}

func TestATombstoneIsReadWithoutTheRest(t *testing.T) {
	t.Parallel()
	m := newModels(rules{}).organizations
	for _, s := range []state{
		{alive: clock{2, "b"}},
		{deleted: clock{1, `a"\\`}, alive: clock{2, "b"}, registers: []register{{field: "name", at: clock{2, "b"}, value: []byte(`"x"`)}}},
		{deleted: clock{3, "c"}, first: clock{1, "a"}, clears: []clearing{{field: "groups", scope: "t", at: clock{4, "d"}}}},
	} {
		encoded := s.encode()
		whole, err := decodeState(m, encoded)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeTombstone(encoded); err != nil || got != whole.deleted || got != s.deleted {
			t.Errorf("%s is read as %v (%v), want %v", encoded, got, err, s.deleted)
		}
	}
	if got, err := decodeTombstone(nil); err != nil || !got.isZero() {
		t.Errorf("nothing is read as %v, %v", got, err)
	}
	for _, bad := range []string{"junk", "{}", `{"v":2,"clocks":[],"deleted":-1,"alive":-1`, `{"v":1,"clocks":[],"deleted":0,"alive":-1`, `{"v":1,"clocks":[],"deleted":-1`} {
		if got, err := decodeTombstone([]byte(bad)); !errors.Is(err, errUnreadable) {
			t.Errorf("%s is read as %v, %v", bad, got, err)
		}
	}
}

// Whatever is in the column, reading it neither panics nor hangs, and what is
// accepted is read again as the same.
func FuzzDecodeState(f *testing.F) {
	models := newModels(rules{markDeleted: true})
	m := models.identities
	f.Add([]byte(`{"v":1,"clocks":[[1,"e"]],"deleted":-1,"alive":0,"first":0,"fields":{"email":[0,"x"],"tenant_id":[0,null,"t"]},"left":[["groups","t",0]]}`))
	f.Add([]byte(`{"v":1,"clocks":[[1,"e"]],"deleted":-1,"alive":0,"first":0,"fields":{"":[0,0],"no_such_field":[0,"x"]},"left":[["no_such_field","t",0]]}`))
	f.Add([]byte(`{"v":1,"clocks":[`))
	f.Add([]byte(`{"v":1,"clocks":[],"deleted":-1,"alive":-1,"first":-1,"fields":{"a":[0,{"x":["`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(m, b)
		if err != nil {
			return
		}
		for _, m := range models.list {
			m.project(&s, clock{})
		}
		if deleted, err := decodeTombstone(b); err != nil || deleted != s.deleted {
			t.Errorf("the tombstone is read as %v (%v), want %v", deleted, err, s.deleted)
		}
		once := s.encode()
		again, err := decodeState(m, once)
		if err != nil {
			return // accepted although somebody broke a value by hand
		}
		if got := again.encode(); string(got) != string(once) {
			t.Errorf("read again:\n got  %s\n want %s", got, once)
		}
	})
}

// Events of two sources that use one id at one microsecond end the same in
// either order.
func TestLaw3_EqualClocksEndTheSameInEitherOrder(t *testing.T) {
	t.Parallel()
	at := clock{1, "e"}
	say := func(value, scope string) *effect {
		return &effect{model: newModels(rules{}).identities, at: at, alive: true, set: []register{{field: "tenant_id", at: at, value: []byte(value), scope: scope}}}
	}
	for _, pair := range [][2]*effect{
		{say(`"a"`, "t"), say(`"b"`, "t")},
		{say(`"a"`, "s"), say(`"a"`, "t")},
		{say(`null`, "s"), say(`"a"`, "t")},
	} {
		var one, other state
		one.merge(pair[0])
		one.merge(pair[1])
		other.merge(pair[1])
		_, stands := other.merge(pair[0])
		if string(one.encode()) != string(other.encode()) {
			t.Errorf("%s\n%s", one.encode(), other.encode())
		}
		if !stands {
			t.Error("what has an equal clock did not lose to anything newer")
		}
	}
}

func TestStringsAreWrittenAsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		written := appendString(nil, s)
		var back string
		if err := json.Unmarshal(written, &back); err != nil || back != s {
			t.Fatalf("%q is written %s and read as %q (%v)", s, written, back, err)
		}
		if got := unquote(written); got != s {
			t.Fatalf("unquote(%s) = %q", written, got)
		}
	})
}

func TestCanonicalWritings(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{ "b" : 1, "a" : [ 1 , 2 ] }`:            `{"a":[1,2],"b":1}`,
		`"\u00e9<\/"`:                             `"é</"`,
		`{"x":"<&>","n":12345678901234567890.10}`: `{"n":12345678901234567890.10,"x":"<&>"}`,
		`1e3`:   `1e3`,
		`null`:  `null`,
		`true`:  `true`,
		`[]`:    `[]`,
		`"a\n"`: `"a\u000a"`,
	} {
		if got := string(canonical([]byte(in))); got != want {
			t.Errorf("canonical(%s) = %s, want %s", in, got, want)
		}
	}
}
