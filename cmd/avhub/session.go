package main

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/avhub/avhub/core/mirror/session"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/identitysession"
	"github.com/spf13/cobra"
)

func (c *cli) sessionVerbs() *cobra.Command {
	return c.group("session", "Look at login sessions, and remove those that are over",
		"The table av_identity_sessions is filled by your own application.",
		c.sessionList(), c.sessionCleanup())
}

func (c *cli) sessionList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List login sessions in the order of their ids",
		Args:  noArgs,
	}
	flags := addConfigFlags(cmd)
	var person string
	var active bool
	var limit, after int
	cmd.Flags().StringVar(&person, "person", "", "only those of the person with this `sub`")
	cmd.Flags().BoolVar(&active, "active", false, "only those that are neither expired nor revoked")
	cmd.Flags().IntVar(&limit, "limit", 50, "`number` of sessions")
	cmd.Flags().IntVar(&after, "after", 0, "only sessions beyond this `id`: the last one of the page before")
	asJSON := jsonFlag(cmd, "a JSON array with all columns")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return wrongUse("--limit must be at least 1")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			now := store.Now()
			q := d.Read().IdentitySession.Query().Where(identitysession.IDGT(after)).
				Order(ent.Asc(identitysession.FieldID)).Limit(limit + 1)
			if person != "" {
				q.Where(identitysession.IdentityID(person))
			}
			if active {
				q.Where(session.Active(d.Dialect(), now))
			}
			list, err := q.All(cmd.Context())
			if err != nil {
				return fmt.Errorf("listing sessions: %w", err)
			}
			more := len(list) > limit
			if more {
				list = list[:limit]
			}
			if err := c.printSessions(list, now, *asJSON); err != nil {
				return err
			}
			if more {
				c.say("there are more: go on with --after %d", list[len(list)-1].ID)
			}
			return nil
		})
	}
	return cmd
}

// sessionJSON is a session as --json prints it.
type sessionJSON struct {
	ID            int        `json:"id"`
	State         string     `json:"state"`
	IdentityID    string     `json:"identity_id"`
	AuthSessionID *string    `json:"auth_session_id"`
	DeviceInfo    *string    `json:"device_info"`
	IPAddress     *string    `json:"ip_address"`
	UserAgent     *string    `json:"user_agent"`
	LastActiveAt  *time.Time `json:"last_active_at"`
	ExpiresAt     *time.Time `json:"expires_at"`
	RevokedAt     *time.Time `json:"revoked_at"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	SyncedAt      *time.Time `json:"synced_at"`
}

func (c *cli) printSessions(list []*ent.IdentitySession, now time.Time, asJSON bool) error {
	rows := make([]sessionJSON, 0, len(list))
	for _, s := range list {
		rows = append(rows, sessionJSON{
			s.ID, sessionState(s, now), s.IdentityID, s.AuthSessionID, s.DeviceInfo, s.IPAddress, s.UserAgent,
			s.LastActiveAt, s.ExpiresAt, s.RevokedAt, s.CreatedAt, s.UpdatedAt, s.SyncedAt,
		})
	}
	if asJSON {
		return c.writeJSON(rows)
	}
	if len(rows) == 0 {
		c.say("no sessions")
		return nil
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	when := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return stamp(*t)
	}
	t := newTable("ID", "PERSON", "STATE", "DEVICE", "IP ADDRESS", "LAST ACTIVE", "EXPIRES", "REVOKED")
	for _, r := range rows {
		t.add(strconv.Itoa(r.ID), r.IdentityID, r.State, cmp.Or(text(r.DeviceInfo), text(r.UserAgent)), text(r.IPAddress),
			when(r.LastActiveAt), when(r.ExpiresAt), when(r.RevokedAt))
	}
	return t.print(c)
}

func sessionState(s *ent.IdentitySession, now time.Time) string {
	switch {
	case s.RevokedAt != nil && s.RevokedAt.Before(now):
		return "revoked"
	case s.ExpiresAt != nil && s.ExpiresAt.Before(now):
		return "expired"
	}
	return "active"
}

func (c *cli) sessionCleanup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove sessions that are over",
		Long: "Removes sessions that expired or were revoked a while ago, what a running hub does by itself\n" +
			"once in mirror.sessions.cleanup_every. Events do not wait for it: it works in small steps.",
		Example: "  avhub session cleanup --dry-run\n  avhub session cleanup --keep 0s --max 100000",
		Args:    noArgs,
	}
	flags := addConfigFlags(cmd)
	var keep time.Duration
	var most int
	var dry bool
	cmd.Flags().DurationVar(&keep, "keep", 0, "how `long` a session stays after it has ended (default mirror.sessions.keep)")
	cmd.Flags().IntVar(&most, "max", 0, "`number` of sessions to remove at most (default mirror.sessions.max_per_run)")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count what would be removed")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		keepGiven, mostGiven := cmd.Flags().Changed("keep"), cmd.Flags().Changed("max")
		switch {
		case keepGiven && keep < 0:
			return wrongUse("--keep must not be negative: sessions that go on would be removed")
		case mostGiven && most < 1:
			return wrongUse("--max must be at least 1")
		}
		return c.withSections(cmd.Context(), flags, []string{"storage", "mirror"}, func(d data) error {
			opts := session.Options{Keep: d.cfg.Mirror.Sessions.Keep, Max: d.cfg.Mirror.Sessions.MaxPerRun, DryRun: dry}
			if keepGiven {
				opts.Keep = keep
			}
			if mostGiven {
				opts.Max = most
			}
			if isTerminal(c.err) {
				opts.Progress = func(r session.Result) { fmt.Fprintf(c.err, "\r%s so far", count(int64(r.Removed()), "session")) }
			}
			got, err := session.Cleanup(cmd.Context(), d.Store, opts)
			if opts.Progress != nil && got.Removed() > 0 {
				fmt.Fprint(c.err, "\r\x1b[K")
			}
			if err != nil {
				if !dry && got.Removed() > 0 {
					c.say("%s were removed before the failure", count(int64(got.Removed()), "session"))
				}
				return err
			}
			return c.printCleanup(got, dry, *asJSON)
		})
	}
	return cmd
}

func (c *cli) printCleanup(got session.Result, dry, asJSON bool) error {
	did := "removed"
	if dry {
		did = "would remove"
	}
	if got.More {
		c.say("there are more; run it again, or with a larger --max")
	}
	if got.Unreadable > 0 {
		c.say("%s with times that SQLite cannot read stay for good; let your application open the database with _time_format=sqlite",
			count(int64(got.Unreadable), "session"))
	}
	if asJSON {
		return c.writeJSON(got)
	}
	return c.write(fmt.Sprintf("%s %s: %d expired, %d revoked\n", did, count(int64(got.Removed()), "session"), got.Expired, got.Revoked))
}
