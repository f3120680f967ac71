package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/spf13/cobra"
)

func (c *cli) eventVerbs() *cobra.Command {
	return c.group("event", "Look at the events in the journal, apply failed ones again, or send one to try things out", "",
		c.eventList(), c.eventShow(), c.eventTail(), c.eventReapply(), c.eventSend())
}

// eventJSON is an event as --json prints it. Members are only ever added.
type eventJSON struct {
	Position       int64           `json:"position"`
	Source         string          `json:"source"`
	Channel        event.Channel   `json:"channel"`
	ID             string          `json:"id"`
	Type           string          `json:"type"`
	Time           time.Time       `json:"time"`
	ReceivedAt     time.Time       `json:"received_at"`
	TenantID       string          `json:"tenant_id,omitempty"`
	ApplicationID  string          `json:"application_id,omitempty"`
	Subject        string          `json:"subject"`
	Data           json.RawMessage `json:"data"`
	Changes        []event.Change  `json:"changes"`
	ChangesOmitted int             `json:"changes_omitted,omitempty"`
	Superseded     bool            `json:"superseded"`
	Failed         string          `json:"failed,omitempty"`
	Conflicts      int             `json:"conflicts,omitempty"`
	Evidence       *evidenceJSON   `json:"evidence,omitempty"`
}

type evidenceJSON struct {
	KeyID           string `json:"key_id"`
	SignedSHA256    string `json:"signed_sha256"`
	SignedBytes     int    `json:"signed_bytes"`
	SignedTimestamp string `json:"signed_timestamp,omitempty"`
	Signature       []byte `json:"signature"` // standard base64
}

func newEventJSON(ev *event.Event) eventJSON {
	e := eventJSON{
		Position: ev.Position, Source: ev.Source, Channel: ev.Channel, ID: ev.ID, Type: ev.Type,
		Time: ev.Time, ReceivedAt: ev.ReceivedAt, TenantID: ev.TenantID, ApplicationID: ev.ApplicationID,
		Subject: ev.Subject(), Data: ev.Data, Changes: ev.Changes, ChangesOmitted: ev.ChangesOmitted,
		Superseded: ev.Superseded, Failed: ev.Failed,
	}
	if e.Changes == nil {
		e.Changes = []event.Change{}
	}
	return e
}

func newEvidenceJSON(is event.Evidence) *evidenceJSON {
	signed := is.SignedBytes()
	sum := sha256.Sum256(signed)
	return &evidenceJSON{is.KeyID, hex.EncodeToString(sum[:]), len(signed), is.SignedTimestamp, is.Signature}
}

// outcome says in a few words what the mirror made of an event.
func outcome(ev *event.Event) string {
	switch {
	case ev.Failed != "":
		return "failed: " + ev.Failed
	case ev.Superseded:
		return "superseded by newer events"
	case len(ev.Changes) == 0:
		return "no changes"
	}
	return count(int64(len(ev.Changes)+ev.ChangesOmitted), "change")
}

// eventFilter are the flags that choose events.
type eventFilter struct {
	types  []string
	tenant string
	source string
	after  int64
}

func addEventFilter(cmd *cobra.Command) *eventFilter {
	f := &eventFilter{}
	cmd.Flags().StringArrayVar(&f.types, "type", nil, "only this type, or `pattern` such as tenant.*; repeatable")
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "only events of the tenant with this `id`")
	cmd.Flags().StringVar(&f.source, "source", "", "only events of the source with this `name`")
	return f
}

func (f *eventFilter) query() (journal.Query, error) {
	for _, p := range f.types {
		if err := event.ValidatePattern(p); err != nil {
			return journal.Query{}, wrongUse("--type: %s", err)
		}
	}
	if f.after < 0 {
		return journal.Query{}, wrongUse("--after takes a position, which is not negative")
	}
	return journal.Query{Types: f.types, TenantID: f.tenant, Source: f.source, After: f.after}, nil
}

func (c *cli) eventList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events, newest first",
		Long: "Lists the events of the journal, newest first. The filters can be combined; an event is\n" +
			"listed if all of them select it.",
		Example: "  avhub event list --type 'tenant.*' --since 1h\n" +
			"  avhub event list --failed --json | jq '.[].failed'\n" +
			"  avhub event list --oldest --after 1200 --limit 500",
		Args: noArgs,
	}
	flags := addConfigFlags(cmd)
	filter := addEventFilter(cmd)
	var since string
	var failed, conflicts, oldest bool
	var limit int
	cmd.Flags().Int64Var(&filter.after, "after", 0, "only events beyond this `position`")
	cmd.Flags().StringVar(&since, "since", "", "only events received since then: a `time` as RFC 3339, or how long ago, such as 90m or 7d")
	cmd.Flags().BoolVar(&failed, "failed", false, "only events that the mirror could not apply")
	cmd.Flags().BoolVar(&conflicts, "conflicts", false, "only events whose id came again with another body")
	cmd.Flags().BoolVar(&oldest, "oldest", false, "oldest first")
	cmd.Flags().IntVar(&limit, "limit", 50, "`number` of events")
	asJSON := jsonFlag(cmd, "a JSON array with everything but the evidence")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q, err := filter.query()
		if err != nil {
			return err
		}
		if q.Since, err = parseSince(since, time.Now()); err != nil {
			return err
		}
		if limit < 1 {
			return wrongUse("--limit must be at least 1")
		}
		q.Failed, q.Conflicts, q.Newest, q.Limit = failed, conflicts, !oldest, limit
		return c.withData(cmd.Context(), flags, func(d data) error {
			events, err := d.journal.Read(cmd.Context(), q)
			if err != nil {
				return err
			}
			return c.printEvents(events, *asJSON, limit)
		})
	}
	return cmd
}

func (c *cli) printEvents(events []*event.Event, asJSON bool, limit int) error {
	if asJSON {
		list := make([]eventJSON, 0, len(events))
		for _, ev := range events {
			list = append(list, newEventJSON(ev))
		}
		return c.writeJSON(list)
	}
	if len(events) == 0 {
		c.say("no events")
		return nil
	}
	t := newTable("POSITION", "RECEIVED", "TYPE", "TENANT", "ABOUT", "MIRROR")
	for _, ev := range events {
		t.add(strconv.FormatInt(ev.Position, 10), stamp(ev.ReceivedAt), ev.Type, ev.TenantID, ev.Subject(), outcome(ev))
	}
	if err := t.print(c); err != nil {
		return err
	}
	if len(events) == limit {
		c.say("there may be more: use --limit or a filter; `avhub event show POSITION` has all of one")
	}
	return nil
}

// parseSince reads a point in time, or how long ago it was. Days are what Go's
// durations do not have and people use most.
func parseSince(text string, now time.Time) (time.Time, error) { return parseTime("since", text, now) }

// parseTime is parseSince for a flag of any name.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	ago, err := time.ParseDuration(text)
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		var n int
		n, err = strconv.Atoi(days)
		if n > 100*365 {
			err = errors.New("too long ago")
		}
		ago = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || ago < 0 {
		return time.Time{}, wrongUse("--%s takes a time such as 2026-01-31T08:00:00Z, or how long ago, such as 90m, 12h or 7d", flag)
	}
	return now.Add(-ago), nil
}

// pretty is JSON for people, indented by two spaces at the given margin.
func pretty(raw json.RawMessage, margin string) string {
	var tree strings.Builder
	encoder := json.NewEncoder(&tree)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent(margin, "  ")
	if err := encoder.Encode(raw); err != nil {
		return fmt.Sprintf("(not readable as JSON: %s)", err)
	}
	return string(cleanJSON([]byte(strings.TrimSuffix(tree.String(), "\n"))))
}

// plain is a JSON value in one line without the quotes of a string. It is not
// safe to print as it is.
func plain(raw json.RawMessage) string {
	var text string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return text
	}
	return compact(raw)
}

// compact is JSON in one line, null and nothing as a word.
func compact(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return "nothing"
	}
	return string(cleanJSON(raw))
}
