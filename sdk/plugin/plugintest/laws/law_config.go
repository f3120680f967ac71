package laws

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// canary is a secret that no connector has a reason to tell.
const canary = "plugintest-canary-7f3a91c2"

// minSecret is the shortest text that is looked for: shorter ones turn up by
// chance.
const minSecret = 6

// schemaNode is what law 1 reads of a JSON Schema.
type schemaNode struct {
	Schema               string                 `json:"$schema"`
	Type                 any                    `json:"type"`
	Properties           map[string]*schemaNode `json:"properties"`
	Required             []string               `json:"required"`
	Enum                 []any                  `json:"enum"`
	Default              any                    `json:"default"`
	WriteOnly            bool                   `json:"writeOnly"`
	AdditionalProperties any                    `json:"additionalProperties"`
	Items                *schemaNode            `json:"items"`
}

func (n *schemaNode) is(typ string) bool {
	switch t := n.Type.(type) {
	case string:
		return t == typ
	case []any:
		return slices.Contains(t, any(typ))
	}
	return false
}

// valid finds what is wrong with a schema itself.
func (n *schemaNode) valid(at string) error {
	types := []any{n.Type}
	if several, ok := n.Type.([]any); ok {
		types = several
	}
	for _, t := range types {
		if t != nil && !slices.Contains([]any{"object", "array", "string", "number", "integer", "boolean", "null"}, t) {
			return breachf("The schema gives %s the type %v, which JSON Schema does not have.", at, t)
		}
	}
	for _, name := range n.Required {
		if n.Properties[name] == nil {
			return breachf("The schema requires %s.%s, and does not say what it is.", at, name)
		}
	}
	if n.Default != nil && len(n.Enum) > 0 && !slices.Contains(n.Enum, n.Default) {
		return breachf("The default of %s is %v, which its own enumeration does not have.", at, n.Default)
	}
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		if n.Properties[name] == nil {
			return breachf("The schema of %s.%s is null.", at, name)
		}
		if err := n.Properties[name].valid(at + "." + name); err != nil {
			return err
		}
	}
	if n.Items != nil {
		return n.Items.valid(at + "[]")
	}
	return nil
}

// variant is a configuration, and whether it is to be accepted.
type variant struct {
	what   string
	config map[string]any
	good   bool
}

// variants of a good configuration. Members that the world's configuration
// leaves out are tried, too.
func variants(n *schemaNode, good map[string]any) []variant {
	var out []variant
	add := func(what string, ok bool, change func(map[string]any)) {
		c := maps.Clone(good)
		change(c)
		out = append(out, variant{what, c, ok})
	}
	add("as the world gives it", true, func(map[string]any) {})
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		p := n.Properties[name]
		if slices.Contains(n.Required, name) {
			add("without "+name+", which is required", false, func(c map[string]any) { delete(c, name) })
		} else if p.Default != nil {
			add("without "+name+", which has a default", true, func(c map[string]any) { delete(c, name) })
			add("with "+name+" at its default", true, func(c map[string]any) { c[name] = p.Default })
		}
		if len(p.Enum) > 0 {
			add("with "+name+" outside of its enumeration", false, func(c map[string]any) { c[name] = "plugintest-is-not-one-of-them" })
		}
		if wrong, ok := p.wrong(); ok {
			add("with "+name+" of the wrong type", false, func(c map[string]any) { c[name] = wrong })
		}
	}
	if n.AdditionalProperties == false {
		add("with a member that the schema does not have", false, func(c map[string]any) { c["plugintest_unknown"] = true })
	}
	return out
}

// wrong is a value that a node cannot take.
func (n *schemaNode) wrong() (any, bool) {
	switch {
	case n.Type == nil || n.is("object") && n.is("array"):
		return nil, false
	case n.is("object"):
		return []any{1}, true
	case n.is("array"):
		return map[string]any{"a": 1}, !n.is("object")
	default:
		return map[string]any{"a": []any{1}}, true
	}
}

func judgeConfiguration(ctx context.Context, e *engine, s script) error {
	schema := &schemaNode{}
	if raw := e.info.GetConfigSchema(); len(raw) > 0 {
		if err := json.Unmarshal(raw, schema); err != nil {
			return breachf("The schema of the configuration is not a JSON Schema: %v", err)
		}
		if schema.Schema != "" && !strings.Contains(schema.Schema, "2020-12") {
			return breachf("The schema of the configuration is of %s; hubs read draft 2020-12.", schema.Schema)
		}
		if !schema.is("object") {
			return breachf("The schema of the configuration is not that of an object.")
		}
		if err := schema.valid("the configuration"); err != nil {
			return err
		}
	}
	st, err := e.stage(ctx, e.s.Process)
	if err != nil {
		return err
	}
	defer st.close()
	good := map[string]any{}
	if err := json.Unmarshal(st.world.Config, &good); err != nil {
		return fmt.Errorf("reading the configuration of the world: %w", err)
	}
	for _, v := range variants(schema, good) {
		if err := st.configure(ctx, v); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		if _, has := good[name]; has || !schema.Properties[name].WriteOnly {
			continue
		}
		for _, value := range []any{canary, map[string]any{"X-Plugintest": canary}} {
			more := maps.Clone(good)
			more[name] = value
			if resp, err := st.tryConfig(ctx, mustJSON(more), true); err == nil && configErrors(resp) == nil {
				good = more
				break
			}
		}
	}
	st.world.Config = mustJSON(good)
	if err := st.restart(ctx); err != nil {
		return breachWith(err, "With canaries in its secret members:")
	}
	secrets := map[string]string{}
	collectSecrets(schema, good, "", false, secrets)
	if err := st.provoke(ctx, s); err != nil {
		return err
	}
	st.life.Kill()
	st.keepLog()
	return st.leak(secrets)
}

func (st *stage) tryConfig(ctx context.Context, config []byte, dryRun bool) (*pluginpb.ConfigureResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	resp, err := st.life.Client().Configure(ctx, &pluginpb.ConfigureRequest{Config: config, DryRun: dryRun})
	for _, d := range resp.GetDiagnostics() {
		st.reasons.WriteString(d.GetPath() + " " + d.GetSummary() + " " + d.GetDetail() + "\n")
	}
	return resp, err
}

func (st *stage) configure(ctx context.Context, v variant) error {
	resp, err := st.tryConfig(ctx, mustJSON(v.config), true)
	if err != nil {
		return breachf("Configure with the configuration %s failed instead of giving a diagnostic: %v", v.what, err)
	}
	switch problem := configErrors(resp); {
	case v.good && problem != nil:
		return breachf("The configuration %s was rejected: %v", v.what, problem)
	case !v.good && problem == nil:
		return breachf("The configuration %s was accepted.", v.what)
	}
	return nil
}

// provoke plays a history in which much goes wrong, so that the connector has
// reasons to talk.
func (st *stage) provoke(ctx context.Context, s script) error {
	if resp, err := st.life.Client().Check(ctx, &pluginpb.CheckRequest{}); err == nil {
		st.reasons.WriteString(resp.String() + "\n")
	}
	if _, err := st.tryConfig(ctx, []byte(`{"plugintest_unknown": 1}`), false); err != nil {
		return breachf("Configure with a bad configuration failed instead of giving a diagnostic: %v", err)
	}
	history, _ := st.e.history(s)
	faults := []fault{{kind: answer, status: http.StatusInternalServerError}, {kind: lose}, {kind: answer, status: http.StatusBadRequest}, {kind: answer, status: http.StatusUnauthorized}}
	for i, t := range history {
		one := []*pluginpb.Event{t.ev}
		if bad := spoiled(t.ev, 1, 0); bad != nil {
			if _, err := st.ask(ctx, []*pluginpb.Event{bad}, nil); err != nil {
				return lost(bad, err)
			}
		}
		if st.world.Gate != nil {
			st.world.Gate.arm(func(int) fault { return faults[i%len(faults)] })
			_, err := st.ask(ctx, one, st.statesOf(one))
			st.world.Gate.open()
			if err != nil {
				return lost(t.ev, err)
			}
		}
		if _, err := st.call(ctx, one); err != nil {
			return breachWith(lost(t.ev, err), "After a configuration was rejected, the one before has to stay in force.")
		}
	}
	return nil
}

// collectSecrets finds the values of members that the schema calls secret.
func collectSecrets(n *schemaNode, value any, at string, secret bool, into map[string]string) {
	if n != nil {
		secret = secret || n.WriteOnly
	}
	switch v := value.(type) {
	case string:
		if secret && len(v) >= minSecret {
			into[strings.TrimPrefix(at, ".")] = v
		}
	case map[string]any:
		for name, child := range v {
			var next *schemaNode
			if n != nil {
				next = n.Properties[name]
			}
			collectSecrets(next, child, at+"."+name, secret, into)
		}
	case []any:
		for i, child := range v {
			var next *schemaNode
			if n != nil {
				next = n.Items
			}
			collectSecrets(next, child, fmt.Sprintf("%s[%d]", at, i), secret, into)
		}
	}
}

// leak looks for secrets in what came out, as they are and in the dresses that
// programs put on them.
func (st *stage) leak(secrets map[string]string) error {
	logs, reasons := st.logs.String(), st.reasons.String()
	for _, at := range slices.Sorted(maps.Keys(secrets)) {
		v := secrets[at]
		quoted, _ := json.Marshal(v)
		for _, form := range []string{v, string(quoted[1 : len(quoted)-1]), url.QueryEscape(v), url.PathEscape(v),
			base64.StdEncoding.EncodeToString([]byte(v)), hex.EncodeToString([]byte(v))} {
			for where, text := range map[string]string{"its log": logs, "a reason, a diagnostic or a state": reasons} {
				for line := range strings.Lines(text) {
					if i := strings.Index(line, form); i >= 0 {
						line = strings.TrimSpace(strings.ReplaceAll(line, form, "<"+at+">"))
						return breachf("The secret %s stands in %s: %.300s", at, where, line)
					}
				}
			}
		}
	}
	return nil
}
