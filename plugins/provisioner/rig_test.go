package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/schema"
)

// rig is a connector with a clock, and what a hub would remember.
type rig struct {
	t   testing.TB
	c   *connector
	now time.Time

	mu     sync.Mutex
	states map[string][]byte
	ended  []string // steps
}

// newRig makes one of a configuration as an operator writes it.
func newRig(t testing.TB, cfg map[string]any) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), states: map[string][]byte{}}
	r.configure(cfg)
	return r
}

func (r *rig) configure(tree map[string]any) {
	r.t.Helper()
	cfg := parse(r.t, tree)
	c, err := newConnector(cfg, slog.New(slog.DiscardHandler), func() time.Time { return r.now }, func(s string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = append(r.ended, s)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.c = c
}

func parse(t testing.TB, tree map[string]any) config {
	t.Helper()
	cfg, problems := decode(tree)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return cfg
}

func decode(tree map[string]any) (cfg config, problems []schema.Problem) {
	raw, err := json.Marshal(tree)
	if err != nil {
		panic(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var plain any
	if err := dec.Decode(&plain); err != nil {
		panic(err)
	}
	if problems = schema.Decode(plain, &cfg); len(problems) == 0 {
		problems = cfg.Validate()
	}
	return cfg, problems
}

func org(tenant, plan, status string) plugin.Organization {
	return plugin.Organization{TenantID: tenant, Slug: "slug-" + tenant, Plan: plan, Status: status}
}

func eventOf(o plugin.Organization) plugin.Event {
	raw, _ := json.Marshal(o)
	ev := plugin.Event{ID: "evt", Type: "tenant.updated", Key: "tenant:" + o.TenantID, Subject: "organization:" + o.TenantID, TenantID: o.TenantID}
	ev.Entities = []plugin.Entity{{Kind: "organization", ID: o.TenantID, JSON: raw}}
	return ev
}

// deliver delivers until the verdict is another one than Again. The state is
// JSON in between, as with a hub.
func (r *rig) deliver(o plugin.Organization) error {
	r.t.Helper()
	for range 10 {
		r.mu.Lock()
		var st state
		if raw := r.states[o.TenantID]; raw != nil {
			if err := json.Unmarshal(raw, &st); err != nil {
				r.t.Error(err)
			}
		}
		r.mu.Unlock()
		err := r.c.Deliver(r.t.Context(), eventOf(o), &st)
		raw, _ := json.Marshal(st)
		r.mu.Lock()
		r.states[o.TenantID] = raw
		r.mu.Unlock()
		if err == nil || err.Error() != plugin.Again().Error() {
			return err
		}
	}
	r.t.Errorf("tenant %s: Again without an end", o.TenantID)
	return nil
}

func (r *rig) must(o plugin.Organization) *state {
	r.t.Helper()
	if err := r.deliver(o); err != nil {
		r.t.Fatalf("tenant %s: %v", o.TenantID, err)
	}
	return r.state(o.TenantID)
}

func (r *rig) state(tenant string) *state {
	r.t.Helper()
	var st state
	if err := json.Unmarshal(r.states[tenant], &st); err != nil {
		r.t.Fatal(err)
	}
	return &st
}

// sweep does what the clock does.
func (r *rig) sweep() []swept {
	r.t.Helper()
	out, err := r.c.sweep(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// program writes a program that keeps resources as files in a folder: what the
// driver exec asks of one.
func program(t testing.TB) (path, dir string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "make.sh")
	if err := os.WriteFile(path, []byte(`#!/bin/sh
cd "$(dirname "$0")" || exit 1
read -r asked
field() { printf %s "$asked" | sed -n "s/.*\"$1\":\"\([a-z0-9_]*\)\".*/\1/p"; }
name=$(field name)
case "$(field action)" in
observe)
	if [ -e "$name.open" ]; then open=true; at="$name.open"; else open=false; at="$name.closed"; fi
	if [ ! -e "$at" ]; then echo '{"exists":false}'; exit; fi
	printf '{"exists":true,"open":%s,"mark":%s,"references":{"file":"%s"}}\n' "$open" "$(cat "$at")" "$name" ;;
put)
	mark=$(printf %s "$asked" | sed -n 's/.*"mark":\("\([^"\\]\|\\.\)*"\).*/\1/p')
	to=closed; case "$asked" in *'"open":true'*) to=open ;; esac
	printf %s "$mark" >".$name" && mv ".$name" "$name.$to" || exit 1
	if [ $to = open ]; then rm -f "$name.closed"; else rm -f "$name.open"; fi ;;
destroy) rm -f "$name.open" "$name.closed" ;;
list)
	sep='['
	for f in *.open *.closed; do
		[ -e "$f" ] || continue
		printf '%s{"name":"%s","mark":%s}' "$sep" "${f%.*}" "$(cat "$f")"; sep=,
	done
	[ "$sep" = '[' ] && printf '['
	echo ']' ;;
*) echo "an unknown action" >&2; exit 1 ;;
esac
`), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, dir
}
