package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/avhub/avhub/plugins/auditlog/entry"
	"github.com/avhub/avhub/plugins/auditlog/vault"
	"github.com/spf13/cobra"
)

func (t *tool) historyVerb() *cobra.Command {
	var q query
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history DIR",
		Short: "Tell who did what to what, when: old → new",
		Long: "Reads the whole trail, proves it against the signed checkpoint, and tells the entries that\n" +
			"are asked for, oldest first, each with its number. What is personal stays sealed unless\n" +
			"--unseal asks for it, beside the connector that wrote the trail.",
		Example: "  avhub-auditlog history /var/lib/avhub/audit --tenant tnt_1 --from 2026-01-01\n" +
			"  avhub-auditlog history /var/lib/avhub/audit --target identity:usr_1 --unseal --reason 'ticket 4711'",
		Args: cobra.ExactArgs(1),
	}
	t.keyFlag(cmd)
	q.flags(cmd)
	q.unsealFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each entry as a JSON object in one line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := q.parse(); err != nil {
			return err
		}
		p, err := placeOf(args[0])
		if err != nil {
			return err
		}
		open, err := t.unsealed(cmd.Context(), p, q, "history")
		if err != nil {
			return err
		}
		head, _, pinned, err := t.head(p)
		if err != nil {
			return err
		}
		told := 0
		err = t.entries(cmd.Context(), p, head, q, func(f found) error {
			told++
			if open != nil {
				reveal(open, f.Entry)
			}
			if asJSON {
				return json.NewEncoder(t.out).Encode(f)
			}
			t.line(f)
			return nil
		})
		var told2 verdict
		if errors.As(err, &told2) {
			fmt.Fprintln(t.err, "avhub-auditlog: NOTHING of the above is proved; run verify")
		}
		if err != nil || asJSON {
			return err
		}
		rests := "the key beside the log"
		if pinned {
			rests = "the key that you gave"
		}
		t.say("%d entries, all proved under the signed checkpoint over %d; that rests on %s", told, head.Size, rests)
		return nil
	}
	return cmd
}

// reveal puts plain text in the place of what is sealed or too large.
func reveal(r *vault.Reader, e *entry.Entry) {
	open := func(v json.RawMessage) json.RawMessage {
		text, err := r.Reveal(v)
		switch {
		case errors.Is(err, vault.ErrGone):
			return json.RawMessage(`{"sealed":"erased"}`)
		case err != nil:
			return v
		}
		return text
	}
	for i := range e.Changes {
		e.Changes[i].Old, e.Changes[i].New = open(e.Changes[i].Old), open(e.Changes[i].New)
	}
	if e.Target != nil && len(e.Target.Name) > 0 {
		e.Target.Name = open(e.Target.Name)
	}
}

// line tells an entry to a person.
func (t *tool) line(f found) {
	e := f.Entry
	when := "                    "
	if e.OccurredAt != nil {
		when = e.OccurredAt.Format("2006-01-02 15:04:05Z")
	}
	what := e.Type
	if e.Kind != entry.Event {
		what = strings.TrimSpace(strings.ToUpper(e.Kind) + " " + e.Type)
	}
	line := fmt.Sprintf("%s  #%-6d %s", when, f.Index, safe(what))
	if e.Target != nil {
		line += "  " + safe(e.Target.Kind+":"+e.Target.ID)
		if len(e.Target.Name) > 0 {
			line += " " + value(e.Target.Name)
		}
	}
	if e.Tenant != "" && (e.Target == nil || e.Target.ID != e.Tenant) {
		line += "  in " + safe(e.Tenant)
	}
	switch {
	case e.Actor == nil, e.Actor.Kind == "unknown":
		line += "  by somebody the event does not name"
	case e.Actor.Kind == "system":
		line += "  by the system"
	default:
		line += "  by " + safe(e.Actor.ID)
	}
	t.say("%s", line)
	for _, c := range e.Changes {
		old := value(c.Old)
		if c.Basis == entry.Unknown {
			old = "(unknown)"
		}
		from := ""
		if c.Basis == entry.Derived && string(c.Old) != "null" {
			from = "   (old value from the mirror)"
		}
		t.say("    %s: %s → %s%s", safe(c.Path), old, value(c.New), from)
	}
	if len(e.Note) > 0 {
		t.say("    %s", safe(string(e.Note)))
	}
}

// value is a value as a person reads it.
func value(v json.RawMessage) string {
	var hidden struct {
		Sealed string `json:"sealed"`
		Opaque string `json:"opaque"`
		Large  string `json:"large"`
		Size   int    `json:"size"`
	}
	if len(v) > 0 && v[0] == '{' && json.Unmarshal(v, &hidden) == nil {
		switch {
		case hidden.Sealed == vault.Erased:
			return "‹erased›"
		case hidden.Sealed != "":
			return "‹sealed " + safe(hidden.Sealed[:min(8, len(hidden.Sealed))]) + "›"
		case hidden.Opaque != "":
			return "‹not kept, digest " + safe(hidden.Opaque[:min(8, len(hidden.Opaque))]) + "›"
		case hidden.Large != "":
			return fmt.Sprintf("‹%d bytes in the vault›", hidden.Size)
		}
	}
	return safe(string(v))
}

// safe keeps what came from outside from steering a terminal.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\uFFFD'
		}
		return r
	}, s)
}
