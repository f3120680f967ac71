package main

import (
	"strings"
	"sync/atomic"
	"testing"
)

func TestOnATerminalBackfillShowsHowFarItIs(t *testing.T) {
	t.Parallel()
	var goOn atomic.Bool
	goOn.Store(true)
	provider := slowProvider(t, 1000, &goOn)
	dir := backfillSite(t, provider.URL, "{ client_id: x, client_secret: y, tenants: [t1] }")
	code, shown := onTerminal(t, dir, "", environ("TERM=xterm"), "backfill")
	if code != 0 || !strings.Contains(shown, "of 1 unit,") || !strings.Contains(shown, "/s, tenant/t1") || !strings.Contains(shown, "1000 members") {
		t.Errorf("exit code %d, shown %q", code, shown)
	}
	if quiet := done(t, dir, "backfill"); strings.Contains(quiet.err, "/s,") {
		t.Errorf("progress without a terminal: %q", quiet.err)
	}
}
