// Package export writes entries in the forms that other systems read.
package export

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/entry"
	"golang.org/x/mod/sumdb/tlog"
)

// Record is one entry to write; without Entry it is the end, with the checkpoint
// over all.
type Record struct {
	Origin     string
	Index      int64
	Raw        []byte // the entry's bytes, of which the leaf hash is made
	Entry      *entry.Entry
	Revealed   bool   // Entry shows what Raw seals
	Checkpoint string // signed; empty: none goes with this record
}

func (r Record) leaf() string {
	h := tlog.RecordHash(r.Raw)
	return hex.EncodeToString(h[:])
}

// Formats are the renderers by name. One returns nil for what it has no record
// for.
var Formats = map[string]func(Record) ([]byte, error){"jsonl": jsonl, "ocsf": ocsf, "cef": cef, "syslog": syslog}

func encode(v any) ([]byte, error) {
	out, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write a record: %w", err)
	}
	return out, nil
}

// jsonl carries the entry's very bytes, so that its leaf hash can be computed
// from it; what was unsealed stands beside.
func jsonl(r Record) ([]byte, error) {
	out := struct {
		Origin     string       `json:"origin"`
		Index      int64        `json:"index"`
		Leaf       string       `json:"leaf,omitempty"`
		Entry      string       `json:"entry,omitempty"` // the bytes, as text
		Unsealed   *entry.Entry `json:"unsealed,omitempty"`
		Checkpoint string       `json:"checkpoint,omitempty"`
	}{Origin: r.Origin, Index: r.Index, Checkpoint: r.Checkpoint}
	if r.Entry != nil {
		out.Leaf, out.Entry = r.leaf(), string(r.Raw)
		if r.Revealed {
			out.Unsealed = r.Entry
		}
	}
	return encode(out)
}

func (r Record) time() time.Time {
	if r.Entry.OccurredAt == nil {
		return time.Unix(0, 0).UTC()
	}
	return *r.Entry.OccurredAt
}

func (r Record) name() string {
	if r.Entry.Type != "" && r.Entry.Kind == entry.Event {
		return r.Entry.Type
	}
	return strings.TrimSuffix(r.Entry.Kind+" "+r.Entry.Type, " ")
}

// severity is 1 for what is informational, 4 for what somebody must look at.
func (r Record) severity() int {
	switch {
	case r.Entry.Kind == entry.Conflict:
		return 4
	case strings.HasSuffix(r.Entry.Type, ".deleted"), strings.HasSuffix(r.Entry.Type, ".suspended"), strings.HasSuffix(r.Entry.Type, ".removed"), r.Entry.Kind == entry.Erased:
		return 2
	}
	return 1
}

// cef is ArcSight's Common Event Format, version 0.
func cef(r Record) ([]byte, error) {
	if r.Entry == nil {
		return nil, nil
	}
	header := strings.NewReplacer(`\`, `\\`, `|`, `\|`, "\n", " ", "\r", " ")
	value := strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\n", `\n`, "\r", `\r`)
	var b strings.Builder
	fmt.Fprintf(&b, "CEF:0|avhub|auditlog|1|%s|%s|%d|", header.Replace(r.name()), header.Replace(r.name()), []int{0, 3, 5, 6, 8}[r.severity()])
	field := func(key, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%s=%s ", key, value.Replace(text))
		}
	}
	e := r.Entry
	field("rt", fmt.Sprint(r.time().UnixMilli()))
	field("externalId", e.EventID)
	if e.Actor != nil {
		field("suid", e.Actor.ID)
	}
	if e.Target != nil {
		field("duid", e.Target.Kind+":"+e.Target.ID)
	}
	field("cs1Label", "tenant")
	field("cs1", e.Tenant)
	field("cs2Label", "trail")
	field("cs2", r.Origin)
	field("cs3Label", "leaf")
	field("cs3", r.leaf())
	field("cn1Label", "entry")
	field("cn1", fmt.Sprint(r.Index))
	changes, err := encode(e.Changes)
	if err != nil {
		return nil, err
	}
	field("msg", string(changes))
	return []byte(strings.TrimSuffix(b.String(), " ")), nil
}

// syslog is RFC 5424, facility 13 (log audit), with the entry as the message.
func syslog(r Record) ([]byte, error) {
	if r.Entry == nil {
		return nil, nil
	}
	severity := map[int]int{1: 6, 2: 5, 4: 3}[r.severity()]
	param := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`, "\n", " ", "\r", " ")
	text, err := encode(r.Entry)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "<%d>1 %s - avhub-auditlog - %s [audit@32473 origin=\"%s\" index=\"%d\" leaf=\"%s\"] %s",
		13*8+severity, r.time().Format("2006-01-02T15:04:05.000000Z"), msgID(r.Entry.Kind), param.Replace(r.Origin), r.Index, r.leaf(), text), nil
}

// msgID is at most 32 printable characters.
func msgID(s string) string {
	s = strings.Map(func(c rune) rune {
		if c <= ' ' || c > '~' {
			return '_'
		}
		return c
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), 32)]
}
