package verify

import (
	"fmt"
	"slices"
	"strings"
)

// Kind names what is wrong. Kinds are only ever added.
type Kind string

// The kinds of findings. The text of each tells what it means and what to do.
const (
	Gap          Kind = "journal.gap"
	Counter      Kind = "journal.counter"
	Unreadable   Kind = "journal.unreadable"
	Columns      Kind = "journal.columns"
	Unremembered Kind = "journal.unremembered"
	BodyHash     Kind = "journal.body"
	Signature    Kind = "journal.signature"
	GhostID      Kind = "ids.without_event"
	CursorBeyond Kind = "cursor.beyond"
	Lease        Kind = "cursor.lease"
	Partitions   Kind = "cursor.partitions"
	Slot         Kind = "slot"
	LaneHead     Kind = "lane.head"
	LaneSettled  Kind = "lane.settled"
	StateOrigin  Kind = "state.position"
	StateBeyond  Kind = "state.beyond"
	LetterCopy   Kind = "dead_letter.copy"
	LetterOrigin Kind = "dead_letter.event"
	Lost         Kind = "delivery.lost"
	Unsettled    Kind = "delivery.unsettled"
	Doubled      Kind = "delivery.doubled"
	Reordered    Kind = "delivery.reordered"
	Workers      Kind = "delivery.two_workers"
	StateLost    Kind = "delivery.state"
	Foreign      Kind = "delivery.foreign"
)

// explained is what a kind means to whoever reads it, and what to do about it.
func explained(k Kind) (means, do string) {
	restore := "the database was changed by hand or is damaged: restore it from a backup, or ask the provider to send the events again"
	switch k {
	case Gap:
		return "a position has no event: what was acknowledged there is gone", restore
	case Counter:
		return "the journal's counter and its last event disagree: events at the end are gone, or positions would be given twice", restore
	case Unreadable:
		return "the stored bytes are no event any more: plugins and the mirror cannot go past it", restore
	case Columns:
		return "what the event's columns say is not what its bytes say: deliveries go by the columns, so it may reach nobody, or under another key", restore
	case Unremembered:
		return "the event's id is not remembered: sent again, it would be journaled twice", restore
	case BodyHash:
		return "the bytes are not those that were accepted under this id", restore
	case Signature:
		return "the provider's signature does not fit the stored bytes: they are not what it sent", restore
	case GhostID:
		return "an id is remembered whose event is not in the journal: sent again, it would be taken for a duplicate and never journaled", restore
	case CursorBeyond:
		return "a plugin is said to have come further than there are events: the next ones will not reach it", restore
	case Lease:
		return "a lease cannot be what a hub wrote: deliveries may stand still until it expires", "stop all hubs and start one; if nothing is delivered after a minute, restore the database from a backup"
	case Partitions:
		return "the plugin's partitions are not those that it has cursors for: events of some keys reach nobody", restore
	case Slot:
		return "the row is not found by the partition that its key belongs to, so nothing happens to it", restore
	case LaneHead:
		return "a blocked lane waits for an event that is not one of its key's: the key does not go on as it should", "restore the database from a backup; `avhub delivery discard --key` frees the key, and its waiting events are delivered from there on"
	case LaneSettled:
		return "a key is settled beyond the event that its lane waits for: that event was passed over, or is delivered twice", restore
	case StateOrigin:
		return "a key's state was saved with an event that is not one of this key and plugin", restore
	case StateBeyond:
		return "a key is settled further than there are events: its next events will not reach the plugin", restore
	case LetterCopy:
		return "a dead letter's copy is not the event that the journal has: a retry would deliver something else", "`avhub delivery discard --id` removes it; the event itself is in the journal"
	case LetterOrigin:
		return "a dead letter names an event, or a key, that the journal does not have there", "`avhub delivery discard --id` removes it"
	case Lost:
		return "the hub counts the event as done, and the receiver never got it", "find out why before anything else; is the log whole, and does --from name its beginning? " + again
	case Unsettled:
		return "the event's last delivery failed, and it waits nowhere: an operator discarded it, or it is lost", "--discarded if operators discarded events; else " + again
	case Doubled:
		return "the receiver got an event again although its verdict was committed", "was the database set back to a backup? The receiver has applied the event twice unless it recognizes it"
	case Reordered:
		return "the receiver got events of one key in another order than they are in the journal", "what the receiver made of this key may be out of date; " + again
	case Workers:
		return "two hubs worked on one key at a time: the receiver got events from the one that had lost its lease", "look for a hub that was frozen, or cut off from the database, at that time"
	case StateLost:
		return "the plugin was given another state than it had returned with its last event", "was the database set back to a backup, or the state reset?"
	case Foreign:
		return "the receiver got something that the journal does not have, or that this plugin should not get", "is the log another hub's, or another plugin's?"
	}
	return "", ""
}

const again = "it is in the journal, see `avhub event show`"

// Finding is one thing that is wrong.
type Finding struct {
	Kind     Kind   `json:"kind"`
	Plugin   string `json:"plugin,omitempty"`
	Key      string `json:"key,omitempty"`
	Position int64  `json:"position,omitempty"`
	What     string `json:"what"`
	Means    string `json:"means"`
	Do       string `json:"do"`
}

// PluginReport is what was found of one plugin.
type PluginReport struct {
	Plugin      string `json:"plugin"`
	Partitions  int    `json:"partitions"`
	Position    int64  `json:"position"` // the lowest of its cursors
	Behind      int64  `json:"behind"`   // events of the journal beyond that
	States      int64  `json:"states"`
	Lanes       int64  `json:"blocked_lanes"`
	DeadLetters int64  `json:"dead_letters"`
	// Of the receivers' logs.
	*Received `json:"received,omitempty"`
}

// Received is what the receivers' logs say of one plugin.
type Received struct {
	Deliveries int64 `json:"deliveries"` // lines, replays among them
	Events     int64 `json:"events"`     // different ones, delivered live
	Replays    int64 `json:"replays"`
	Failed     int64 `json:"failed"` // deliveries that did not settle their event
	// Redelivered counts deliveries of events that had been settled at the receiver,
	// but whose verdict was not committed: what was under way in a crash or in a call
	// that got no answer in time.
	Redelivered int64 `json:"redelivered"`
	// AfterCrash are those of them by a new process of the receiver, MostAfterCrash
	// the most by any one process; the others are of calls without an answer.
	AfterCrash     int64 `json:"redelivered_after_crash"`
	MostAfterCrash int64 `json:"most_redelivered_after_one_crash"`
	Runs           int64 `json:"runs"`  // processes of the receiver
	Newer          int64 `json:"newer"` // deliveries of events that came after the look at the database
	GivenUp        int64 `json:"given_up"`
}

// Report is what Run found.
type Report struct {
	Clean    bool            `json:"clean"`
	First    int64           `json:"first"` // positions in the journal
	Last     int64           `json:"last"`
	Events   int64           `json:"events"`
	Signed   int64           `json:"signatures_verified"`
	Unsigned int64           `json:"without_signature"`
	Plugins  []*PluginReport `json:"plugins"`
	// Findings are examples of each kind, Counts how many there are of each.
	Findings []Finding      `json:"findings"`
	Counts   map[Kind]int64 `json:"counts"`
	// Notes tell what could not be looked at.
	Notes []string `json:"notes"`

	examples int
	counts   map[Kind]int64
}

func (r *Report) add(f Finding, format string, args ...any) {
	r.counts[f.Kind]++
	if r.counts[f.Kind] > int64(r.examples) {
		return
	}
	f.What = fmt.Sprintf(format, args...)
	f.Means, f.Do = explained(f.Kind)
	r.Findings = append(r.Findings, f)
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *Report) finish() {
	r.Counts = r.counts
	r.Clean = len(r.counts) == 0
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
}
