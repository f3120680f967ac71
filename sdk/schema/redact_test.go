package schema_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/schema"
)

type upper string

func (u *upper) UnmarshalText(text []byte) error {
	*u = upper(text)
	return fmt.Errorf("upper does not take %q", text)
}

type vault struct {
	Token  string            `json:"token" secret:"true" enum:"x|y"`
	Number int               `json:"number" secret:"true" min:"1000000"`
	Time   time.Duration     `json:"time" secret:"true"`
	Size   schema.ByteSize   `json:"size" secret:"true"`
	Own    upper             `json:"own" secret:"true"`
	Raw    json.RawMessage   `json:"raw" secret:"true"`
	Map    map[string]string `json:"map" secret:"true"`
	List   []string          `json:"list" secret:"true" pattern:"^z$"`
	Deep   struct {
		Inner string   `json:"inner"`
		Any   any      `json:"any"`
		Short []string `json:"short" max:"1"`
	} `json:"deep" secret:"true"`
	Open string `json:"open"`
}

func TestRedactedHidesSecretsAndKeepsTheShape(t *testing.T) {
	t.Parallel()
	v := vault{Token: "t", Number: 5, Time: time.Second, Size: 1, Raw: json.RawMessage(`{"a":["s"],"n":7}`),
		Map: map[string]string{"k": "v", "e": ""}, List: []string{"s"}, Open: "seen"}
	v.Deep.Inner, v.Deep.Any = "s", map[string]any{"x": 1, "y": nil}
	got := schema.Redacted(&v)
	r := schema.RedactedText
	want := map[string]any{
		"token": r, "number": r, "time": r, "size": r, "own": "", "raw": map[string]any{"a": []any{r}, "n": r},
		"map": map[string]any{"k": r, "e": ""}, "list": []any{r}, "open": "seen",
		"deep": map[string]any{"inner": r, "any": map[string]any{"x": r, "y": nil}, "short": nil},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestRedactedWritesValuesAsDocumentsDo(t *testing.T) {
	t.Parallel()
	type inner struct {
		A int `json:"a,omitempty"`
	}
	type state struct {
		inner
		T     time.Time       `json:"t"`
		D     time.Duration   `json:"d"`
		H     time.Duration   `json:"h"`
		B     schema.ByteSize `json:"b"`
		By    []byte          `json:"by"`
		M     map[int]string  `json:"m"`
		P     *inner          `json:"p"`
		Plain string
		Skip  string `json:"-"`
		F     float64
		U     uint8
		N     json.Number
	}
	got := schema.Redacted(state{T: time.Unix(0, 0).UTC(), D: 5 * time.Minute, H: time.Hour + time.Second, B: schema.MiB,
		By: []byte("hi"), M: map[int]string{1: "x"}, Plain: "p", Skip: "s", F: 1.5, U: 2, N: "3"})
	want := map[string]any{"t": "1970-01-01T00:00:00Z", "d": "5m", "h": "1h0m1s", "b": "1MiB", "by": "aGk=",
		"m": map[string]any{"1": "x"}, "p": nil, "Plain": "p", "F": 1.5, "U": uint64(2), "N": json.Number("3")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	type ring struct{ Next *ring }
	r := &ring{}
	r.Next = r
	if text := fmt.Sprint(schema.Redacted(r)); !strings.Contains(text, "nested too deeply") {
		t.Errorf("a ring became %.80s", text)
	}
}

const canary = "c4n4ry"

// canaries puts the canary at every place of a document that has its keys.
func canaries() []any {
	text := canary + "-value"
	return []any{text, []any{text}, map[string]any{"inner": text}, map[string]any{"any": text}, []any{[]any{text}},
		map[string]any{"short": []any{text, text}}, json.Number("1" + strings.Repeat("9", 400)), 777111, map[string]any{"k": []any{text}}}
}

func TestLaw11_NoProblemTellsASecret(t *testing.T) {
	t.Parallel()
	told := 0
	for _, key := range []string{"token", "number", "time", "size", "own", "raw", "map", "list", "deep", "unknown"} {
		for _, value := range canaries() {
			var into vault
			for _, problem := range schema.Decode(map[string]any{key: value, "Number": 777111}, &into) {
				told++
				if s := problem.String(); strings.Contains(s, canary) || strings.Contains(s, "999") || strings.Contains(s, "777") {
					t.Errorf("%s tells the secret: %s", key, s)
				}
			}
		}
	}
	if told < 50 {
		t.Errorf("only %d problems were looked at", told)
	}
}

// FuzzDecode holds that any document is read without a panic and that the text
// below its keys is never quoted, secret or not.
func FuzzDecode(f *testing.F) {
	f.Add(`{"token":"@","map":{"a":1},"list":["@"],"deep":{"any":[{}]}}`)
	f.Add(`{"api_key":"@","plans":{"a":{"price":"@","tags":["@"]}},"since":"","body":"1MB","rate":"1e3","port":70000}`)
	f.Fuzz(func(t *testing.T, text string) {
		var doc any
		if json.Unmarshal([]byte(text), &doc) != nil {
			return
		}
		doc = planted(doc)
		var v vault
		var b billing
		problems := append(schema.Decode(doc, &v), schema.Decode(doc, &b)...)
		for _, problem := range problems {
			if problem.Path.String() == "since" { // time.Time's own words
				continue
			}
			if strings.Contains(problem.String(), canary) {
				t.Fatalf("tells a value: %s", problem)
			}
		}
		if strings.Contains(fmt.Sprint(schema.Redacted(v)), canary) && v.Open == "" {
			t.Fatalf("redacted shows a secret: %v", schema.Redacted(v))
		}
	})
}

// planted is doc with every text replaced by one that holds the canary.
func planted(doc any) any {
	switch doc := doc.(type) {
	case string:
		return doc + canary
	case []any:
		for i := range doc {
			doc[i] = planted(doc[i])
		}
	case map[string]any:
		for key := range doc {
			doc[key] = planted(doc[key])
		}
	}
	return doc
}

func TestByteSizeReadsAndWrites(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]schema.ByteSize{"0": 0, "12": 12, "1b": 1, "1KiB": 1024, "3 MiB": 3 << 20, "2gib": 2 << 30, "1TiB": 1 << 40,
		"1kb": 1000, "5MB": 5e6, "1GB": 1e9, "1TB": 1e12} {
		if got, err := schema.ParseByteSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "+1", "1.5MiB", "1 M", "1iB", "1MiBMiB", "99999999999999999999", "8388608TiB", " 1", "0x10"} {
		if got, err := schema.ParseByteSize(text); err == nil {
			t.Errorf("%q was taken as %d", text, got)
		}
	}
	for size, want := range map[schema.ByteSize]string{0: "0B", 1500: "1500B", 1024: "1KiB", 3 << 20: "3MiB", 1 << 40: "1TiB"} {
		if size.String() != want {
			t.Errorf("%d is written %s", int64(size), size)
		}
		if back, err := schema.ParseByteSize(size.String()); err != nil || back != size {
			t.Errorf("%s reads back as %d, %v", size, back, err)
		}
	}
}
