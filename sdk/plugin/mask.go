package plugin

import (
	"bytes"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/avhub/avhub/sdk/schema"
)

// minSecretBytes is the shortest secret that is masked: hiding shorter ones
// would garble ordinary text and protect nothing worth the name.
const minSecretBytes = 6

// mask hides the secrets of a configuration in texts that leave the process.
// Errors of HTTP clients and database drivers like to quote the URL that they
// were given, and those texts are stored and shown. The zero value hides
// nothing.
type mask struct {
	r atomic.Pointer[strings.Replacer]
}

// set collects the values below the secret fields of configurations, as they
// are and as they look inside URLs, JSON and quotes. It forgets what was set before.
func (m *mask) set(cfgs ...any) {
	secrets := map[string]struct{}{}
	for _, cfg := range cfgs {
		collectSecrets(plainTree(cfg), schema.Redacted(cfg), secrets)
	}
	if len(secrets) == 0 {
		m.r.Store(nil)
		return
	}
	// Longer ones first: a secret may be part of another one, and a replacer
	// takes the first that fits.
	words := make([]string, 0, len(secrets))
	for s := range secrets {
		words = append(words, s)
	}
	slices.SortFunc(words, func(a, b string) int {
		if d := len(b) - len(a); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	pairs := make([]string, 0, 2*len(words))
	for _, w := range words {
		pairs = append(pairs, w, schema.RedactedText)
	}
	m.r.Store(strings.NewReplacer(pairs...))
}

// plainTree is what encoding/json makes of cfg, nil if it cannot.
func plainTree(cfg any) any {
	plain, err := json.Marshal(cfg)
	if err != nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.UseNumber()
	var tree any
	if dec.Decode(&tree) != nil {
		return nil
	}
	return tree
}

func collectSecrets(plain, redacted any, into map[string]struct{}) {
	if redacted == schema.RedactedText {
		var text string
		switch v := plain.(type) {
		case string:
			text = v
		case json.Number:
			text = v.String()
		}
		if len(text) < minSecretBytes || text == schema.RedactedText {
			return
		}
		for _, form := range []string{text, url.QueryEscape(text), url.PathEscape(text)} {
			into[form] = struct{}{}
			into[jsonInside(form, true)] = struct{}{}
			into[jsonInside(form, false)] = struct{}{}
			quoted := strconv.Quote(form)
			into[quoted[1:len(quoted)-1]] = struct{}{}
			// A text that was quoted and is then logged is quoted twice.
			into[jsonInside(quoted[1:len(quoted)-1], false)] = struct{}{}
		}
		return
	}
	switch r := redacted.(type) {
	case map[string]any:
		p, _ := plain.(map[string]any)
		for k := range r {
			collectSecrets(p[k], r[k], into)
		}
	case []any:
		p, _ := plain.([]any)
		for i := range min(len(r), len(p)) {
			collectSecrets(p[i], r[i], into)
		}
	}
}

// jsonInside is text as it stands between the quotes of a JSON string.
func jsonInside(text string, escapeHTML bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(escapeHTML)
	_ = enc.Encode(text) // a string always encodes
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

func (m *mask) hide(s string) string {
	if r := m.r.Load(); r != nil {
		return r.Replace(s)
	}
	return s
}

// maskedWriter hides secrets in log lines. It relies on being given whole
// lines, as slog's and log's writers are.
type maskedWriter struct {
	m *mask
	w io.Writer
}

func (w maskedWriter) Write(line []byte) (int, error) {
	r := w.m.r.Load()
	if r == nil {
		return w.w.Write(line)
	}
	if _, err := r.WriteString(w.w, string(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}
