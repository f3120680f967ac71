// Package plugin is what a connector is written with: a program of its own that
// avhub starts, and that keeps something outside in step with what happens at
// the identity provider.
//
// # A connector
//
// An author writes one function for one event. The hub owns order, batching,
// retry, dead letters, state and what happens after a crash.
//
//	type Config struct {
//		URL string `json:"url" doc:"Where the tickets are." required:"true"`
//		Key string `json:"key" doc:"API key." required:"true" secret:"true"`
//	}
//
//	type State struct {
//		TicketID string `json:"ticket_id"`
//	}
//
//	func main() {
//		plugin.Plugin[Config, State]{
//			Info: plugin.Info{
//				Name:    "tickets",
//				Version: "1.0.0",
//				Summary: "opens a ticket for every new tenant",
//				Events:  []string{"tenant.created", "tenant.deleted"},
//			},
//			Open: func(ctx context.Context, cfg Config, log *slog.Logger) (plugin.Connector[State], error) {
//				return &tickets{cfg, log}, nil
//			},
//		}.Main()
//	}
//
// The tags of Config yield its schema, its defaults, its documentation and what
// is hidden; package schema lists them. The values of secret fields are also
// hidden in every log line, reason and diagnostic that leaves the process. What
// tags cannot say, a method Validate of Config can: `avhub check` asks it, too.
//
// `avhub plugin new NAME` writes such a module, with a test, a configuration for
// a hub, and a Makefile that runs both.
//
// # Delivering
//
// Deliver is called at least once for each event, in order within ev.Key. What
// it returns is the verdict: nil is applied, an ordinary error is tried again
// later while the key waits, and Skip, Reject, RetryAfter, Halt and Again say
// something else.
//
//	func (t *tickets) Deliver(ctx context.Context, ev plugin.Event, st *State) error {
//		if st.TicketID != "" {
//			return plugin.Skip("there is a ticket already")
//		}
//		org, err := plugin.Data[plugin.Organization](ev)
//		if err != nil {
//			return err
//		}
//		id, err := t.open(ctx, ev.Once("ticket"), org.Name)
//		if err != nil {
//			return fmt.Errorf("opening a ticket: %w", err)
//		}
//		st.TicketID = id
//		return nil
//	}
//
// The verdicts, by what comes next:
//
//	nil                  applied; the next event of the key
//	Skip("why")          nothing was to be done; the next event
//	Again()              the state is saved, then the same event once more, at once
//	any other error      the key waits, and the event is tried again with growing pauses
//	RetryAfter(d, err)   the same, at the time that the other side asked for
//	Reject(err)          never again: a dead letter; the next event of the key
//	Halt(err)            the connector stops until its configuration changes
//
// Because an event may come again after a crash, an effect must be one that can
// be repeated. There are three ways: look first, and do only what is missing;
// give the other side the idempotency key that Event.Once returns, which is the
// same every time; or, if it takes none, note the intent in the state and
// return Again, so that the next call finds the intent and can look whether the
// effect was made.
//
// # What travels with an event
//
// Data[T] reads the rows of the hub's mirror that came along: the Identity,
// Organization, Application or SSOProvider that the event is about or belongs
// to, and the Membership, AppAccess, License, Subscription or Invitation that it
// tells of. They are what is known now, which may be more than the event said.
// For any other T it reads the event's own data: LicenseData, or a struct of the
// author's.
//
//	license, err := plugin.Data[plugin.License](ev) // as it stands now
//	said, err := plugin.Data[plugin.LicenseData](ev) // what the event said
//
// A connector that works from numbers, seats say, sets Info.Counts: then its
// organizations come with their active subscriptions, licenses and members.
//
// # State
//
// What *S holds is remembered for each key: at most 64 KiB of JSON. It is
// committed together with the verdict and the progress, so it never disagrees
// with them. It stands in the team's database, so it is a poor place for secrets:
// those that must be there are tagged secret:"true", as in a configuration, and
// operators who look at states do not see them unless they insist. Of a type that
// package schema cannot describe they see no text at all.
//
// # Testing
//
// Package plugintest judges a connector by fourteen laws: it repeats, reorders
// and spoils events, loses replies, and kills the connector, and looks whether
// the outside is as it should be.
//
// # Running
//
// In the hub's configuration the connector is an entry under plugins with its
// command and its config. Started by hand, the binary explains itself, and it
// answers describe, check --config FILE and version. Its verb debug waits for a
// hub whose configuration says attach, so that the connector can be run under a
// debugger. Whatever it prints to standard output or logs with log or slog ends
// up in the hub's log; the logger that Open gets keeps levels and attributes.
// Standard input belongs to the hub.
package plugin
