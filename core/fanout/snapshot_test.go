package fanout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// rows is a mirror of a few rows.
type rows []mirror.Row

func (r rows) Page(_ context.Context, kind, after string, limit int) ([]mirror.Row, error) {
	var page []mirror.Row
	for _, row := range r {
		if row.Kind == kind && row.ID > after && len(page) < limit {
			page = append(page, row)
		}
	}
	return page, nil
}

func tenantRow(id string, revision int64) mirror.Row {
	return mirror.Row{
		Ref:      mirror.Ref{Kind: event.KindOrganization, ID: id},
		JSON:     json.RawMessage(fmt.Sprintf(`{"tenant_id":%q,"name":"N","slug":"s","plan":"pro","owner_email":null,"settings":{"a":1},"status":"active"}`, id)),
		Revision: revision,
	}
}

func memberRow(id, tenant string) mirror.Row {
	return mirror.Row{
		Ref:      mirror.Ref{Kind: event.KindMembership, ID: id},
		JSON:     json.RawMessage(fmt.Sprintf(`{"membership_id":%q,"identity_id":"p1","organization_id":%q,"roles":["owner"],"status":"active"}`, id, tenant)),
		Revision: 7,
	}
}

func manyRows(tenants int) rows {
	var r rows
	for i := range tenants {
		r = append(r, tenantRow(fmt.Sprintf("t%04d", i), int64(1000+i)))
	}
	for i := range tenants {
		r = append(r, memberRow(fmt.Sprintf("m%04d", i), fmt.Sprintf("t%04d", i)))
	}
	return r
}

func fromSnapshot(r rows) func(*fanout.Config, *fanout.Deps) {
	return func(c *fanout.Config, d *fanout.Deps) {
		c.Start, d.Rows = fanout.StartSnapshot, r
	}
}

// The log waits until the snapshot is through, so a key gets what it was before
// what happened to it.
func TestLaw4_APluginThatStartsWithASnapshotGetsItBeforeTheLog(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		for i := range 5 {
			b.append("t0001", fmt.Sprintf("old%d", i), "{}")
		}
		var hold atomic.Bool
		hold.Store(true)
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if strings.HasPrefix(ev.GetId(), "snapshot:organization:t0099") && hold.Load() {
				return &pluginpb.Verdict{Kind: pluginpb.Verdict_KIND_RETRY, Reason: "wait", Throttled: true, RetryAfterMs: 100}, nil // which never counts
			}
			return applied(), nil
		}
		b.start(fromSnapshot(manyRows(200)))
		b.until("the snapshot has begun", func() bool { return len(b.plugin.delivered()) > 0 })
		b.append("t0001", "new", "{}")
		b.append("t0099", "new too", "{}")
		b.until("all that can be told of the snapshot is", func() bool {
			list, err := fanout.Replays(context.Background(), b.store, "p", true, 0)
			return err == nil && len(list) == 1 && list[0].Counts.Applied == 398
		})
		if slices.ContainsFunc(b.plugin.delivered(), func(id string) bool { return strings.HasPrefix(id, "new") }) {
			t.Error("the log did not wait for the snapshot")
		}
		hold.Store(false)
		b.until("the log goes on", b.settled)
		seen := map[string]int{}
		for i, ev := range b.plugin.seen {
			seen[ev.GetId()] = i
			if strings.HasPrefix(ev.GetId(), "old") {
				t.Errorf("%s is older than the snapshot", ev.GetId())
			}
			if !strings.HasPrefix(ev.GetId(), "snapshot:") {
				continue
			}
			if !ev.GetReplay() || ev.GetPosition() != 5 || ev.GetEvidence() != nil || len(ev.GetBody()) > 0 || ev.GetChannel() != "" || ev.GetSource() != "snapshot" {
				t.Fatalf("told as %v", ev)
			}
		}
		org, member := b.plugin.seen[seen["snapshot:organization:t0007:1007"]], b.plugin.seen[seen["snapshot:membership:m0007:7"]]
		if org.GetType() != "tenant.created" || org.GetRevision() != 1007 || org.GetSubject() != "organization:t0007" || org.GetKey() != "tenant:t0007" ||
			string(org.GetData()) != `{"name":"N","plan":"pro","settings":{"a":1},"slug":"s","tenant_id":"t0007"}` {
			t.Errorf("a tenant is told as %v", org)
		}
		if member.GetType() != "member.joined" || member.GetSubject() != "identity:p1" || member.GetKey() != "tenant:t0007" ||
			string(member.GetData()) != `{"membership_id":"m0007","sub":"p1","tenant_roles":["owner"]}` {
			t.Errorf("a member is told as %v", member)
		}
		for i := range 200 {
			if o, m := seen[fmt.Sprintf("snapshot:organization:t%04d:%d", i, 1000+i)], seen[fmt.Sprintf("snapshot:membership:m%04d:7", i)]; o >= m {
				t.Fatalf("tenant %d came after its member", i)
			}
		}
	})
}

// A hub that dies in the middle of a snapshot leaves its place: the next one goes
// on there, and the state shows each row once.
func TestLaw5_ASnapshotGoesOnAfterACrash(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		r := manyRows(300)
		b.plugin.deliver = func(ev *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte) {
			var ids []string
			if state != nil {
				_ = json.Unmarshal(state, &ids)
			}
			out, _ := json.Marshal(append(ids, ev.GetId()))
			return applied(), out
		}
		for range 12 {
			b.start(fromSnapshot(r))
			time.Sleep(15 * time.Millisecond) // some instant, not a wait for something
		}
		b.append("t0000", "live", "{}")
		b.until("all is settled", b.settled)
		for i := range 300 {
			want := []string{fmt.Sprintf("snapshot:organization:t%04d:%d", i, 1000+i), fmt.Sprintf("snapshot:membership:m%04d:7", i)}
			if i == 0 {
				want = append(want, "live")
			}
			var got []string
			if err := json.Unmarshal([]byte(stateOf(t, b, fmt.Sprintf("tenant:t%04d", i))), &got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("tenant %d: %v, want %v", i, got, want)
			}
		}
		list, err := fanout.Replays(context.Background(), b.store, "p", false, 0)
		if err != nil || len(list) != 1 || list[0].State != fanout.ReplayDone || list[0].Counts.Applied != 600 {
			t.Errorf("snapshots: %+v, %v", list, err)
		}
	})
}

// Several rows that cannot be applied share a position; each is a dead letter of
// its own, which can be retried, and the log does not wait for them for ever.
func TestLaw6_RowsThatFailInASnapshotAreDeadLetters(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var mended atomic.Bool
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if strings.HasPrefix(ev.GetId(), "snapshot:membership") && !mended.Load() {
				return verdict(pluginpb.Verdict_KIND_REJECT, "no such person"), nil
			}
			return applied(), nil
		}
		b.plugin.body = true
		b.start(fromSnapshot(append(manyRows(3), mirror.Row{
			Ref: mirror.Ref{Kind: event.KindOrganization, ID: "t9"}, JSON: json.RawMessage(`{"tenant_id":`), // which no event can tell
		})))
		b.until("the snapshot is through", func() bool {
			list, err := fanout.Replays(context.Background(), b.store, "p", false, 0)
			return err == nil && len(list) == 1 && list[0].State == fanout.ReplayDone
		})
		b.append("t0000", "live", "{}")
		b.until("all is settled", b.settled)
		letters := b.trouble().DeadLetters
		if len(letters) != 3 || letters[0].Replay == 0 || letters[0].Key != "tenant:t0000" {
			t.Fatalf("dead letters %+v", letters)
		}
		list, err := fanout.Replays(context.Background(), b.store, "p", false, 0)
		if err != nil || list[0].Counts != (fanout.ReplayCounts{Applied: 3, Failed: 4}) {
			t.Errorf("%+v, %v", list, err)
		}
		mended.Store(true)
		if _, err := fanout.Retry(context.Background(), b.store, fanout.Filter{Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
		b.until("they are delivered", func() bool { return len(b.trouble().DeadLetters) == 0 })
		last := b.plugin.seen[len(b.plugin.seen)-1]
		if last.GetSubject() != "identity:p1" || last.GetChannel() != "" || len(last.GetBody()) > 0 || last.GetAttempt() != 2 {
			t.Errorf("retried as %v", last)
		}
	})
}

// Every kind of row is told under the first type that a plugin gets, by the
// subject and the key that an event of that type has.
func TestEveryKindOfRowIsToldAsAnEvent(t *testing.T) {
	columns := map[string]string{
		event.KindOrganization: `{"tenant_id":"t1","status":"suspended","suspended_reason":"unpaid"}`,
		event.KindIdentity:     `{"sub":"p1","username":"u","tenant_id":"t1","is_active":false}`,
		event.KindApplication:  `{"application_id":"a1","organization_id":"t1","redirect_uris":["x"]}`,
		event.KindSSOProvider:  `{"provider_id":"okta","organization_id":"t1","domains":["d"]}`,
		event.KindMembership:   `{"membership_id":"m","identity_id":"p1","organization_id":"t1","status":"active"}`,
		event.KindAppAccess:    `{"identity_id":"p1","application_id":"a1","organization_id":"t1","role_slug":"r","has_access":true}`,
		event.KindLicense:      `{"assignment_id":"l","identity_id":"p1","organization_id":"t1","application_id":"a1","status":"active"}`,
		event.KindSubscription: `{"subscription_id":"s","organization_id":"t1","application_id":"a1","quantity":3,"status":"ACTIVE"}`,
		event.KindInvitation:   `{"invite_id":"i","membership_id":"m","organization_id":"t1","status":"pending"}`,
	}
	var all rows
	for kind, raw := range columns {
		all = append(all, mirror.Row{Ref: mirror.Ref{Kind: kind, ID: "x"}, JSON: json.RawMessage(raw), Revision: 1})
	}
	gone := rows{
		{Ref: mirror.Ref{Kind: event.KindOrganization, ID: "y"}, JSON: json.RawMessage(`{"tenant_id":"t2","status":"deleted"}`)},
		{Ref: mirror.Ref{Kind: event.KindMembership, ID: "y"}, JSON: json.RawMessage(`{"membership_id":"m2","identity_id":"p1","organization_id":"t1","status":"left"}`)},
		{Ref: mirror.Ref{Kind: event.KindAppAccess, ID: "y"}, JSON: json.RawMessage(`{"identity_id":"p2","has_access":false}`)},
	}
	for name, c := range map[string]struct {
		events []string
		want   map[string]string // subject by type
	}{
		"all": {[]string{"*"}, map[string]string{
			"tenant.created": "organization:t1", "subject.created": "identity:p1", "application.created": "application:a1",
			"sso.provider_added": "sso_provider:t1/okta", "member.joined": "identity:p1", "app_access.granted": "identity:p1",
			"license.assigned": "identity:p1", "tenant.app.granted": "organization:t1", "invite.created": "invitation:i",
		}},
		"what happened last": {[]string{"tenant.suspended", "subject.deactivated", "member.suspended"}, map[string]string{
			"tenant.suspended": "organization:t1", "subject.deactivated": "identity:p1",
		}},
		"nothing that a snapshot has": {[]string{"tenant.deleted", "made.up"}, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				b.plugin.order = plugin.PerSubject
				b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
				b.start(fromSnapshot(append(gone, all...)), func(cfg *fanout.Config, _ *fanout.Deps) { cfg.Events = c.events })
				b.until("the snapshot is through", func() bool {
					list, err := fanout.Replays(context.Background(), b.store, "p", false, 0)
					return err == nil && len(list) == 1 && list[0].State == fanout.ReplayDone
				})
				b.plugin.mu.Lock()
				defer b.plugin.mu.Unlock()
				got := map[string]string{}
				for _, ev := range b.plugin.seen {
					got[ev.GetType()] = ev.GetSubject()
					if ev.GetKey() != ev.GetSubject() || ev.GetTenantId() != "t1" {
						t.Errorf("told as %v", ev)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) || len(b.plugin.seen) != len(c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestAPluginStartsWhereItsConfigurationSaysAndOnlyOnce(t *testing.T) {
	for name, c := range map[string]struct {
		start func(middle time.Time) fanout.Start
		want  []string
	}{
		"beginning": {func(time.Time) fanout.Start { return fanout.StartBeginning }, []string{"a", "b", "c"}},
		"now":       {func(time.Time) fanout.Start { return fanout.StartNow }, []string{"c"}},
		"a time":    {func(m time.Time) fanout.Start { return fanout.StartTime(m) }, []string{"b", "c"}},
		"later":     {func(m time.Time) fanout.Start { return fanout.StartTime(m.Add(time.Hour)) }, []string{"c"}},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
				b.append("t", "a", "{}")
				middle := time.Now()
				b.append("t", "b", "{}")
				first := b.start(func(cfg *fanout.Config, _ *fanout.Deps) { cfg.Start = c.start(middle) })
				b.until("it has started", func() bool {
					list, err := fanout.Plugins(context.Background(), b.store)
					return err == nil && len(list) == 1
				})
				b.append("t", "c", "{}")
				b.until("all live events", b.settled)
				if err := first.end(); err != nil {
					t.Fatal(err)
				}
				b.start(func(cfg *fanout.Config, _ *fanout.Deps) { cfg.Start = fanout.StartNow }) // looked at no more
				b.append("t", "d", "{}")
				b.until("all live events", b.settled)
				if got, want := b.plugin.delivered(), append(c.want, "d"); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		})
	}
}
