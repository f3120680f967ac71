package plugintest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/avhub/avhub/sdk/plugin"
)

// The desk is the connector that the kit is tried on. It keeps a directory of
// tenants, welcomes each, and opens a ticket for each: an effect that can be
// repeated, one with an idempotency key, and one that has neither.

type deskConfig struct {
	URL   string `json:"url" doc:"Where the desk is." required:"true"`
	Token string `json:"token" doc:"Lets us in." required:"true" secret:"true"`
	Mode  string `json:"mode" doc:"How." enum:"quiet|loud" default:"quiet"`
}

type deskState struct {
	Revision int64    `json:"revision,omitempty"`
	Welcomed bool     `json:"welcomed,omitempty"`
	Intent   bool     `json:"intent,omitempty"`
	Ticketed bool     `json:"ticketed,omitempty"`
	Note     string   `json:"note,omitempty"`
	Seen     []string `json:"seen,omitempty"`
}

// twist is a mistake that a connector makes.
type twist string

const (
	good              twist = ""
	tellsItsToken     twist = "keeps its token in its state"
	repeatsTheLast    twist = "opens another ticket when the last event comes again"
	oneACall          twist = "looks at one event of a tenant in each call"
	keysInMemory      twist = "keeps idempotency keys in memory"
	newKeyOnRetry     twist = "tries again by itself, with another key"
	trustsOldData     twist = "does not look at the revision"
	trustsPositions   twist = "leaves out positions below the highest"
	waitsOnBadData    twist = "tries bad data again"
	retriesBadRequest twist = "tries a 400 again"
	needsTheChange    twist = "needs the change that made the tenant"
	ignoresCancel     twist = "does not hear that its call was cancelled"
	leavesATicker     twist = "leaves a goroutine behind"
	growsItsState     twist = "remembers every event"
	neverLooks        twist = "does not look whether the ticket is there"
)

type desk struct {
	twist  twist
	cfg    deskConfig
	client *http.Client

	last   atomic.Int64
	mu     sync.Mutex
	keys   map[string]string
	inCall map[string]<-chan struct{}
}

func deskPlugin(w twist) plugin.Plugin[deskConfig, deskState] {
	return plugin.Plugin[deskConfig, deskState]{
		Info: plugin.Info{Name: "desk", Version: "1", Summary: "welcomes tenants", Events: []string{"tenant.created", "tenant.updated", "tenant.suspended", "tenant.deleted"}},
		Open: func(_ context.Context, cfg deskConfig, _ *slog.Logger) (plugin.Connector[deskState], error) {
			d := &desk{twist: w, cfg: cfg, client: &http.Client{Transport: &http.Transport{}}, keys: map[string]string{}, inCall: map[string]<-chan struct{}{}}
			if w == leavesATicker {
				go func() { select {} }()
			}
			return d, nil
		},
	}
}

func (d *desk) Close() error { d.client.CloseIdleConnections(); return nil }

func (d *desk) Deliver(ctx context.Context, ev plugin.Event, st *deskState) error {
	data, err := plugin.Data[plugin.TenantData](ev)
	if err != nil {
		if d.twist == waitsOnBadData {
			return errors.New("cannot read this")
		}
		return err
	}
	if skip, err := d.mistakes(ctx, ev, st); err != nil || skip {
		return err
	}
	if ev.Revision <= st.Revision && d.twist != trustsOldData {
		return plugin.Skip("newer things are known")
	}
	org, err := plugin.Data[plugin.Organization](ev)
	switch {
	case errors.Is(err, plugin.ErrNoEntity):
		err = d.do(ctx, http.MethodDelete, "/tenants/"+url.PathEscape(ev.TenantID), "", nil, nil)
		if err == nil {
			st.Revision = ev.Revision
		}
		return err
	case err != nil:
		return err
	}
	entry := map[string]any{"name": org.Name, "plan": org.Plan, "status": org.Status}
	if d.twist == trustsOldData && data.Plan != "" {
		entry["name"], entry["plan"] = data.Name, data.Plan
	}
	if err := d.do(ctx, http.MethodPut, "/tenants/"+url.PathEscape(org.TenantID), "", entry, nil); err != nil {
		return err
	}
	if !st.Welcomed {
		if err := d.welcome(ctx, ev); err != nil {
			return err
		}
		st.Welcomed = true
	}
	if err := d.ticket(ctx, ev, st); err != nil {
		return err
	}
	st.Revision = ev.Revision
	return nil
}

// mistakes are those that have to do with the event and the state.
func (d *desk) mistakes(ctx context.Context, ev plugin.Event, st *deskState) (skip bool, err error) {
	switch d.twist {
	case tellsItsToken:
		st.Note = d.cfg.Token
	case growsItsState:
		st.Seen = append(st.Seen, ev.ID)
	case repeatsTheLast:
		if ev.Revision == st.Revision {
			return true, d.do(ctx, http.MethodPost, "/tickets", "", map[string]string{"tenant": ev.TenantID}, nil)
		}
	case trustsPositions:
		for {
			last := d.last.Load()
			if ev.Position < last {
				return true, nil
			}
			if d.last.CompareAndSwap(last, ev.Position) {
				return false, nil
			}
		}
	case oneACall:
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.inCall[ev.Key] == ctx.Done() && !st.Intent {
			return true, nil
		}
		d.inCall[ev.Key] = ctx.Done()
	}
	return false, nil
}

func (d *desk) welcome(ctx context.Context, ev plugin.Event) error {
	key := ev.Once("welcome")
	if d.twist == keysInMemory {
		d.mu.Lock()
		if d.keys[ev.ID] == "" {
			d.keys[ev.ID] = rand.Text()
		}
		key = d.keys[ev.ID]
		d.mu.Unlock()
	}
	body := map[string]string{"tenant": ev.TenantID}
	err := d.do(ctx, http.MethodPost, "/welcomes", key, body, nil)
	var cut *url.Error
	if d.twist == newKeyOnRetry && errors.As(err, &cut) && ctx.Err() == nil {
		err = d.do(ctx, http.MethodPost, "/welcomes", key+"-2", body, nil)
	}
	return err
}

func (d *desk) ticket(ctx context.Context, ev plugin.Event, st *deskState) error {
	if _, made := ev.Changed("exists"); d.twist == needsTheChange && !made {
		return nil
	}
	switch {
	case st.Ticketed:
		return nil
	case !st.Intent:
		st.Intent = true
		return plugin.Again()
	}
	var there int
	if d.twist != neverLooks {
		if err := d.do(ctx, http.MethodGet, "/tickets?tenant="+url.QueryEscape(ev.TenantID), "", nil, &there); err != nil {
			return err
		}
	}
	if there == 0 {
		if err := d.do(ctx, http.MethodPost, "/tickets", "", map[string]string{"tenant": ev.TenantID}, nil); err != nil {
			return err
		}
	}
	st.Ticketed, st.Intent = true, false
	return nil
}

func (d *desk) do(ctx context.Context, method, path, key string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if d.twist == ignoresCancel {
		ctx = context.WithoutCancel(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.cfg.URL+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.cfg.Token)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusBadRequest && d.twist == retriesBadRequest {
		return errors.New("bad request")
	}
	if err := plugin.HTTPVerdict(resp); err != nil || into == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// deskWorld is the desk's server.
func deskWorld(t testing.TB) (deskConfig, func() any) {
	var mu sync.Mutex
	tenants, tickets, welcomes := map[string]any{}, []string{}, map[string]string{}
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request, body map[string]any) any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer sesame-7261" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			var body map[string]any
			_ = json.NewDecoder(r.Body).Decode(&body) // a GET has none
			mu.Lock()
			defer mu.Unlock()
			_ = json.NewEncoder(w).Encode(f(r, body))
		})
	}
	handle("PUT /tenants/{id}", func(r *http.Request, body map[string]any) any { tenants[r.PathValue("id")] = body; return nil })
	handle("DELETE /tenants/{id}", func(r *http.Request, _ map[string]any) any { delete(tenants, r.PathValue("id")); return nil })
	handle("POST /welcomes", func(r *http.Request, body map[string]any) any {
		welcomes[r.Header.Get("Idempotency-Key")] = fmt.Sprint(body["tenant"])
		return nil
	})
	handle("POST /tickets", func(_ *http.Request, body map[string]any) any {
		tickets = append(tickets, fmt.Sprint(body["tenant"]))
		return nil
	})
	handle("GET /tickets", func(r *http.Request, _ map[string]any) any {
		n := 0
		for _, tenant := range tickets {
			if tenant == r.URL.Query().Get("tenant") {
				n++
			}
		}
		return n
	})
	server := NewServer(t, mux)
	return deskConfig{URL: server.URL, Token: "sesame-7261"}, func() any {
		mu.Lock()
		defer mu.Unlock()
		var welcomed []string
		for _, tenant := range welcomes {
			welcomed = append(welcomed, tenant)
		}
		slices.Sort(welcomed)
		sorted := slices.Sorted(slices.Values(tickets))
		return map[string]any{"tenants": tenants, "welcomes": welcomed, "tickets": sorted}
	}
}
