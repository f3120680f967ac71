package plugin

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func describedState[S any](t *testing.T) []byte {
	t.Helper()
	p := Plugin[testConfig, S]{Info: testInfo(), Open: func(context.Context, testConfig, *slog.Logger) (Connector[S], error) {
		return connector[S]{}, nil
	}}
	got, err := serve(t, p).Describe(t.Context(), &pluginpb.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetStateSchema()
}

func TestTheSchemaOfTheStateSaysWhatIsSecret(t *testing.T) {
	t.Parallel()
	var got struct {
		Properties map[string]struct {
			Type      string
			WriteOnly bool
		}
	}
	raw := describedState[struct {
		Plan  string `json:"plan,omitempty"`
		Token string `json:"token" secret:"true"`
	}](t)
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	if p := got.Properties; len(p) != 2 || p["plan"].WriteOnly || !p["token"].WriteOnly || p["plan"].Type != "string" {
		t.Errorf("the schema is %s", raw)
	}
}

func TestAStateThatNoSchemaCanTellHasNone(t *testing.T) {
	t.Parallel()
	type recursive struct {
		Next *recursive
	}
	for name, raw := range map[string][]byte{
		"none": describedState[struct{}](t), "one that contains itself": describedState[recursive](t), "no struct": describedState[map[string]string](t),
	} {
		if len(raw) > 0 {
			t.Errorf("%s: %s", name, raw)
		}
	}
}
