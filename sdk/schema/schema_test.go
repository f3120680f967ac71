package schema_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

type plan struct {
	Price string   `json:"price" doc:"Price of the plan." required:"true" pattern:"^price_[a-z0-9]+$" example:"price_123"`
	Seats int      `json:"seats" default:"5" min:"1" max:"1000"`
	Tags  []string `json:"tags" enum:"a|b"`
}

type common struct {
	Region string `json:"region" doc:"Where the data lives." enum:"eu|us" default:"eu"`
}

type billing struct {
	common
	APIKey  string            `json:"api_key" doc:"Key of the billing account." required:"true" secret:"true"`
	Headers map[string]string `json:"headers" doc:"Sent along." secret:"true"`
	URLs    []string          `json:"urls" default:"[\"https://a.example\"]" min:"1" max:"3"`
	Timeout time.Duration     `json:"timeout" doc:"How long one call may take." default:"10s" min:"100ms" max:"1m"`
	Body    schema.ByteSize   `json:"body" default:"1MiB" max:"16MiB"`
	Rate    float64           `json:"rate" default:"0.5" min:"0" max:"1"`
	Level   int8              `json:"level" enum:"1|2|3" default:"1"`
	Port    *uint16           `json:"port"`
	Plans   map[string]plan   `json:"plans"`
	Retry   struct {
		On    bool `json:"on" default:"true"`
		Times uint `json:"times" default:"3"`
	} `json:"retry" doc:"When calls fail."`
	Since  time.Time       `json:"since" example:"2026-01-02T03:04:05Z"`
	Extra  map[string]any  `json:"extra" doc:"Free words | and pipes."`
	Raw    json.RawMessage `json:"raw"`
	hidden int
}

func document(t *testing.T, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var doc any
	if err := decoder.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDecodeFillsEveryNotationAndTheDefaults(t *testing.T) {
	t.Parallel()
	got := billing{hidden: 1, Level: 3}
	problems := schema.Decode(document(t, `{
		"api_key": "k", "port": 443, "plans": {"pro": {"price": "price_1", "seats": 7.0, "tags": ["a"]}},
		"since": "2026-01-02T03:04:05Z", "body": "2MB", "timeout": "30s", "raw": {"x": 1}, "extra": {"n": 12345678901234567890}
	}`), &got)
	if len(problems) > 0 {
		t.Fatalf("a right document was refused: %v", problems)
	}
	if got.Region != "eu" || got.Timeout != 30*time.Second || got.Body != 2_000_000 || got.Rate != 0.5 || got.Level != 1 ||
		*got.Port != 443 || got.Plans["pro"].Seats != 7 || !got.Retry.On || got.Retry.Times != 3 ||
		got.URLs[0] != "https://a.example" || got.Since.Year() != 2026 || string(got.Raw) != `{"x":1}` {
		t.Errorf("decoded %+v", got)
	}
	if n := got.Extra["n"]; n != json.Number("12345678901234567890") {
		t.Errorf("a free-form number became %v", n)
	}
}

func TestDecodeTakesEveryGoNumber(t *testing.T) {
	t.Parallel()
	type numbers struct {
		N uint64  `json:"n"`
		F float32 `json:"f"`
	}
	for _, n := range []any{int(7), int8(7), int64(7), uint(7), uint64(7), float32(7), float64(7), json.Number("7"), json.Number("7.0"), "7"} {
		var got numbers
		if problems := schema.Decode(map[string]any{"n": n, "f": n}, &got); problems != nil || got.N != 7 || got.F != 7 {
			t.Errorf("%T %v: %v, %+v", n, n, problems, got)
		}
	}
	var got numbers
	if problems := schema.Decode(map[string]any{"n": uint64(1<<64 - 1)}, &got); problems != nil || got.N != 1<<64-1 {
		t.Errorf("the largest number: %v, %d", problems, got.N)
	}
}

func TestDecodeTellsEveryMistakeByItsPlace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		doc  string
		want []string
	}{
		"required missing": {`{}`, []string{`api_key: is missing; set api_key to text (Key of the billing account)`}},
		"required null":    {`{"api_key":null}`, []string{`api_key: is missing`}},
		"required empty":   {`{"api_key":""}`, []string{`api_key: is empty`}},
		"root is a list":   {`[]`, []string{`wrong type: needs a mapping, found a list`}},
		"unknown near":     {`{"api_key":"k","timeuot":"1s"}`, []string{`timeuot: unknown key; did you mean "timeout"?`}},
		"unknown case":     {`{"api_key":"k","Time-Out":"1s"}`, []string{`Time-Out: unknown key; did you mean "timeout"?`}},
		"unknown far":      {`{"api_key":"k","retry":{"whatever":1}}`, []string{`retry.whatever: unknown key; the keys here are on, times`}},
		"unknown nested":   {`{"api_key":"k","plans":{"pro":{"price":"price_1","seat":1}}}`, []string{`plans.pro.seat: unknown key; did you mean "seats"?`}},
		"odd key":          {`{"api_key":"k","plans":{"a.b":{}}}`, []string{`plans["a.b"].price: is missing; set price to text (Price of the plan), for example price_123`}},
		"text wanted":      {`{"api_key":5}`, []string{`api_key: wrong type: needs text, found a number; put it in quotes`}},
		"number wanted":    {`{"api_key":"k","port":[1]}`, []string{`port: wrong type: needs a whole number, found a list`}},
		"fraction":         {`{"api_key":"k","port":1.5}`, []string{`port: wrong type: needs a whole number, found a fraction`}},
		"word as number":   {`{"api_key":"k","port":"http"}`, []string{`port: wrong type: needs a whole number, found text`}},
		"number too big":   {`{"api_key":"k","port":65536}`, []string{`port: does not fit; it may be from 0 to 65535`}},
		"huge number":      {`{"api_key":"k","port":1e400}`, []string{`port: wrong type`}},
		"negative":         {`{"api_key":"k","level":-129}`, []string{`level: does not fit; it may be from -128 to 127`}},
		"number enum":      {`{"api_key":"k","level":4}`, []string{`level: is not allowed; it takes one of 1, 2, 3`}},
		"text enum":        {`{"api_key":"k","region":"EU"}`, []string{`region: is not allowed; did you mean "eu"? it takes one of eu, us`}},
		"enum of a list":   {`{"api_key":"k","plans":{"p":{"price":"price_1","tags":["a","c"]}}}`, []string{`plans.p.tags[1]: is not allowed; it takes one of a, b`}},
		"pattern":          {`{"api_key":"k","plans":{"p":{"price":"x"}}}`, []string{`plans.p.price: has the wrong form; it must match the pattern ^price_[a-z0-9]+$, for example price_123`}},
		"below min":        {`{"api_key":"k","timeout":"1ms"}`, []string{`timeout: is less than 100ms; it may be from 100ms to 1m`}},
		"above max":        {`{"api_key":"k","body":"1GiB"}`, []string{`body: is more than 16MiB; it may be 16MiB or less`}},
		"float range":      {`{"api_key":"k","rate":1.5}`, []string{`rate: is more than 1; it may be from 0 to 1`}},
		"float words":      {`{"api_key":"k","rate":"NaN"}`, []string{`rate: wrong type: needs a number, found text`}},
		"bare duration":    {`{"api_key":"k","timeout":30}`, []string{`timeout: wrong type: needs a duration, found a number; write a number with its unit`}},
		"bad size":         {`{"api_key":"k","body":"1.5MiB"}`, []string{`body: wrong type: needs a size, found text; write a whole number with its unit`}},
		"size overflow":    {`{"api_key":"k","body":"9999999999TiB"}`, []string{`body: wrong type: needs a size, found text`}},
		"bool":             {`{"api_key":"k","retry":{"on":"yes"}}`, []string{`retry.on: wrong type: needs true or false, found text`}},
		"list too short":   {`{"api_key":"k","urls":[]}`, []string{`urls: has too few entries; it takes at least 1`}},
		"list too long":    {`{"api_key":"k","urls":["1","2","3","4"]}`, []string{`urls: has too many entries; it takes at most 3`}},
		"text for a list":  {`{"api_key":"k","urls":"x"}`, []string{`urls: wrong type: needs a list, found text; write [first, second]`}},
		"null in a list":   {`{"api_key":"k","urls":[null]}`, []string{`urls[0]: wrong type: needs text, found nothing`}},
		"null in a map":    {`{"api_key":"k","plans":{"p":null}}`, []string{`plans.p.price: is missing`}},
		"own type":         {`{"api_key":"k","since":"soon"}`, []string{`since: is not valid; `}},
		"all at once, in order": {`{"zz":1,"timeout":5,"region":"x","aa":1}`, []string{
			`region: is not allowed`, `api_key: is missing`, `timeout: wrong type`, `aa: unknown key`, `zz: unknown key`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var into billing
			problems := schema.Decode(document(t, test.doc), &into)
			if len(problems) != len(test.want) {
				t.Fatalf("got %d problems, want %d: %v", len(problems), len(test.want), problems)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(problems[i].String(), want) {
					t.Errorf("got  %s\nwant %s", problems[i], want)
				}
			}
		})
	}
}

func TestDecodeTakesASizeWithoutUnit(t *testing.T) {
	t.Parallel()
	var got billing
	if problems := schema.Decode(map[string]any{"api_key": "k", "body": 4096}, &got); problems != nil || got.Body != 4096 {
		t.Errorf("%v, %d", problems, got.Body)
	}
}

func TestOfCoachesTheAuthor(t *testing.T) {
	t.Parallel()
	type recursive struct {
		Next []recursive `json:"next"`
	}
	type own struct{ N int }
	expect := func(name string, err error, want ...string) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", name)
			return
		}
		for _, words := range want {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %q is not in: %v", name, words, err)
			}
		}
	}
	_, err := schema.Of[string]()
	expect("no struct", err, "is a struct", "wrap it")
	_, err = schema.Of[recursive]()
	expect("recursion", err, "recursive.Next", "contains itself")
	_, err = schema.Of[struct {
		A chan int       `json:"a"`
		B []byte         `json:"b"`
		C map[int]string `json:"c"`
		D error          `json:"d"`
		E json.Number    `json:"e"`
		F int            `json:"f" default:"many"`
		G int            `json:"g" min:"a"`
		H int            `json:"h" min:"5" max:"4"`
		I string         `json:"i" pattern:"("`
		J bool           `json:"j" enum:"true"`
		K string         `json:"k" required:"yes"`
		L string         `json:"l" requird:"true"`
		M string         `json:"m" required:"true" default:"x"`
		N string         `json:"n" secret:"true" default:"x"`
		O string         `json:"P"`
		P string
		Q int               `json:"q" enum:"1|two"`
		R []string          `json:"r" default:"a,b"`
		S string            `json:"s" default:"x" enum:"a|b"`
		T bool              `json:"t" min:"1"`
		U int               `json:"u,string"`
		V map[string]string `json:"v" min:"-1"`
		*own
		W int `json:"w" pattern:"1"`
	}]()
	expect("mistakes", err, ".A: chan int cannot", ".B: bytes", ".C: the keys", ".D: an interface", ".E: json.Number",
		".F: the field does not take its own default", ".G: min", ".H: min 5 is above max 4", ".I: pattern is no", ".J: enum is for",
		".K: required takes", `.L: the tag "requird" means nothing; did you mean "required"?`, ".M: a required field", ".N: a secret with",
		`.P: the key "P" is taken`, `.Q: enum holds "two"`, ".R: the default of a list is written as JSON", ".S: the field does not take",
		".T: min", ".U: json's option", ".V: min", ".W: pattern is for text")
	var into recursive
	if problems := schema.Decode(nil, &into); len(problems) != 1 || problems[0].Kind != schema.BadSchema {
		t.Errorf("decoding into a mistaken type: %v", problems)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; see it with: go test ./sdk/schema -update && git diff\n%s", path, got)
	}
}

func TestJSONSchemaAndMarkdownSayWhatTheTagsSay(t *testing.T) {
	t.Parallel()
	s, err := schema.Of[billing]()
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Fatal("the schema is no JSON")
	}
	golden(t, "billing.schema.json", text)
	golden(t, "billing.md", []byte(s.Markdown()))
}

func TestFieldsNameListsAndMaps(t *testing.T) {
	t.Parallel()
	s, err := schema.Of[struct {
		A struct {
			B int `json:"b"`
		} `json:"a"`
		L []plan            `json:"l"`
		M map[string][]plan `json:"m" secret:"true"`
	}]()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range s.Fields() {
		entry := f.Path + " " + f.Type
		if f.Scalar {
			entry += " scalar"
		}
		if f.Secret {
			entry += " secret"
		}
		got = append(got, entry)
	}
	want := "a section,a.b whole number scalar,l list of section,l[].price text scalar,l[].seats whole number scalar,l[].tags list of text," +
		"m map of list of section secret,m.*[].price text scalar secret,m.*[].seats whole number scalar secret,m.*[].tags list of text secret"
	if strings.Join(got, ",") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ","), want)
	}
}

func TestCheckFindsInAValueWhatDecodeFindsInADocument(t *testing.T) {
	t.Parallel()
	var c billing
	if problems := schema.Decode(map[string]any{"api_key": "k"}, &c); problems != nil {
		t.Fatal(problems)
	}
	c.Since = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if problems := schema.Check(c); problems != nil {
		t.Errorf("a right value is refused: %v", problems)
	}
	c.APIKey, c.Timeout = "", time.Hour
	problems := schema.Check(c)
	if len(problems) != 2 || problems[0].Path.String() != "api_key" || problems[1].Path.String() != "timeout" {
		t.Errorf("got %v", problems)
	}
}
