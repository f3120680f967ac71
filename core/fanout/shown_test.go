package fanout_test

import (
	"context"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func TestLaw11_OnlyWhatASchemaCallsHarmlessIsShown(t *testing.T) {
	t.Parallel()
	const object = `{"type":"object","properties":{"plan":{"type":"string"},"n":{"type":"integer"},"key":{"type":"string","writeOnly":true},` +
		`"login":{"type":"object","writeOnly":true},"rows":{"type":"array","items":{"type":"object","properties":{"id":{"type":"string"},"t":{"type":"string","writeOnly":true}},"additionalProperties":false}},` +
		`"by":{"type":"object","additionalProperties":{"type":"string"}},"any":{}},"additionalProperties":false}`
	for name, c := range map[string]struct{ state, schema, want string }{
		"what is called secret, whatever it is": {
			`{"plan":"pro","key":"hunter2","login":{"user":"hunter2","n":4},"rows":[{"id":"a","t":"hunter2"}]}`, object,
			`{"key":"(secret)","login":"(secret)","plan":"pro","rows":[{"id":"a","t":"(secret)"}]}`,
		},
		"maps and free forms":         {`{"by":{"a":"b"},"any":{"x":["y",1]}}`, object, `{"any":{"x":["y",1]},"by":{"a":"b"}}`},
		"a field that it has not":     {`{"old":"hunter2","plan":"pro"}`, object, `{"old":"(text of 7)","plan":"pro"}`},
		"what is of another kind":     {`{"plan":["hunter2"],"n":"hunter2","rows":"hunter2","by":"hunter2"}`, object, `{"by":"(text of 7)","n":"(text of 7)","plan":["(text of 7)"],"rows":"(text of 7)"}`},
		"a secret that is not set":    {`{"key":"","login":null}`, object, `{"key":"","login":null}`},
		"no schema":                   {`{"plan":"pro","n":3,"b":true,"l":["ä",null]}`, ``, `{"b":true,"l":["(text of 1)",null],"n":3,"plan":"(text of 3)"}`},
		"a schema that hides in $ref": {`{"plan":"hunter2"}`, `{"$ref":"#/$defs/x","$defs":{"x":{"properties":{"plan":{"writeOnly":true}}}}}`, `{"plan":"(text of 7)"}`},
		"a schema of alternatives":    {`{"plan":"hunter2"}`, `{"properties":{"plan":{"type":"string"}},"allOf":[{"properties":{"plan":{"writeOnly":true}}}]}`, `{"plan":"(text of 7)"}`},
		"a secret said in odd words":  {`{"plan":"hunter2"}`, `{"properties":{"plan":{"type":"string","writeOnly":"yes"}}}`, `{"plan":"(secret)"}`},
		"a schema that is none":       {`{"plan":"hunter2"}`, `[`, `{"plan":"(text of 7)"}`},
		"a schema that allows all":    {`{"plan":"pro"}`, `true`, `{"plan":"pro"}`},
		"a schema that allows none":   {`{"plan":"hunter2"}`, `false`, `{"plan":"(text of 7)"}`},
		"a state that is no JSON":     {"hunter2\x00", `true`, `"(8 bytes that are not JSON)"`},
		"no state":                    {``, object, `null`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := string(fanout.Shown([]byte(c.state), []byte(c.schema))); got != c.want {
				t.Errorf("shown as %s\nwant     %s", got, c.want)
			}
		})
	}
	if got := string(fanout.Revealed([]byte("hunter2\x00"))); strings.Contains(got, "hunter2") {
		t.Errorf("what is not JSON is shown as %s", got)
	}
	if got := string(fanout.Revealed([]byte(`{"b":1,"a":"x"}`))); got != `{"b":1,"a":"x"}` {
		t.Errorf("revealed as %s", got)
	}
}

func TestASchemaOfTheStateIsFoundWithoutThePlugin(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) {
			return applied(), []byte(`{"plan":"pro","key":"hunter2"}`)
		}
		look := func() string {
			schema, err := fanout.StateSchema(context.Background(), b.store, "p")
			must(t, err)
			is, found, err := fanout.Remember(context.Background(), b.store, "p", "tenant:a")
			if err != nil || !found {
				t.Fatal(found, err)
			}
			return string(fanout.Shown(is.State, schema))
		}
		b.plugin.stateSchema = []byte(`{"type":"object","properties":{"plan":{"type":"string"},"key":{"type":"string","writeOnly":true}}}`)
		b.append("a", "e1", "{}")
		first := b.start()
		b.until("it is settled", b.settled)
		must(t, first.end())
		if got := look(); got != `{"key":"(secret)","plan":"pro"}` {
			t.Errorf("shown as %s", got)
		}
		// Another version of the plugin says nothing of it.
		b.plugin.stateSchema = nil
		b.append("a", "e2", "{}")
		b.start()
		b.until("it is settled again", b.settled)
		if got := look(); got != `{"key":"(text of 7)","plan":"(text of 3)"}` {
			t.Errorf("without a schema it is shown as %s", got)
		}
	})
}
