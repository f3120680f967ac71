// Package plugintest judges a connector by fourteen laws: that it does nothing
// twice and loses nothing, whatever is repeated, reordered, killed or lost on
// the way. An author writes a fake of the outside world, and one line.
//
// # A first test
//
// A connector that keeps tickets at some server is tried on a fake of that
// server:
//
//	func tickets(t testing.TB) (Config, func() any) {
//		fake := newFakeTickets()
//		server := plugintest.NewServer(t, fake) // in place of httptest.NewServer
//		return Config{URL: server.URL, Key: "a secret of the test"}, func() any { return fake.all() }
//	}
//
//	func TestLaws(t *testing.T) { plugintest.Run(t, connector(), tickets) }
//
// tickets is a World: it makes a fresh fake each time it is called, which is
// some hundred times, and returns the connector's configuration for it, and a
// function that shows what is in it. Run plays histories of events to the
// connector, and compares what the fakes show.
//
// # What look returns
//
// Anything that encoding/json can encode. Two runs that came to the same must
// show the same, so:
//
//   - Sort lists whose order means nothing. Different keys are delivered at the
//     same time, so effects on different tenants have no order.
//   - Leave out what the fake itself makes up: ids that count upwards, times.
//   - Show effects, not attempts. A PUT of what is there already is no effect. A
//     fake of a server that knows idempotency keys keeps one effect for each key,
//     as the real one does: use a map by key. A fake of a server that does not
//     must not be kinder than that server, or the tests prove nothing.
//
// # The world
//
// [NewServer] puts the laws between connector and fake: they count requests, lose
// replies, answer in the fake's place, and kill the connector in the middle of a
// request. A world of files or of a database needs nothing of the kit, but there
// the connector is killed only between its calls, and laws about lost replies
// and outages (5, 9) are not decided.
//
// The configuration is written as an operator would write it: with the members
// of Config that are not zero. Give each secret member a value of six characters
// or more, so that law 1 can look for it.
//
// # The laws
//
//  1. configuration: The schema is valid, required members and enumerations are
//     enforced, defaults hold, and no secret gets out in a log, a reason or a state.
//  2. twice: A history that is delivered twice looks like one that was delivered once.
//  3. batches: However the events of a key are split into calls, it looks the same.
//  4. kill: Killed before or after any request or answer, and started again, it ends
//     like the run that nobody interrupted.
//  5. lost reply: When the effect was made and the reply got lost, there is one
//     effect in the end.
//  6. revision: An event of an older revision that comes late undoes nothing.
//  7. interleaving: However the events of different keys are mixed, it looks the same.
//  8. bad event: An event whose data has the wrong types costs itself alone: it is
//     rejected or skipped, and its neighbours land.
//  9. outages: An outside that answers 429, 500 or not at all means retry (429 for as
//     long as it asks), 401 means halt, 400 means reject, and nothing is lost over it.
//  10. snapshot: A snapshot, delivered to a connector that knows nothing, looks like
//     the full history.
//  11. cancel: Deliver returns within a second after its call was cancelled.
//  12. drain: A drain lets what is in flight finish, nothing happens after it, and
//     nothing of the connector is left running.
//  13. state: A state survives JSON, stays under 64 KiB, and an old or an empty one
//     can be read.
//  14. again: When it answered AGAIN and was cut off afterwards, the effect is found
//     and not made twice.
//
// No law can be left out by its number. What a connector is, it says in its
// plugin.Info, where operators see it, too: one with Notifies tells every event,
// so an older one is told as well (6), and a snapshot does not tell what happened
// (10); the effects of one with KeepsHistory depend on the way (10); one whose
// order is Total has no keys to mix (7). A law that cannot be decided otherwise,
// because the connector never answers AGAIN or makes no requests, is reported as
// skipped with the reason.
//
// # When a law is broken
//
// The failure names the law, the shortest history found that breaks it, what
// looks different, the end of the connector's log, and a seed. PLUGINTEST_SEED
// repeats the histories of that seed:
//
//	PLUGINTEST_SEED=2893745 go test -run 'TestLaws/law_4'
//
// # How it runs
//
// Most laws run the connector in this process, behind a real gRPC connection.
// Where it has to die, the kit starts the test binary once more, as a hub starts
// a connector. That process runs the same test until it gets to Run, so Run comes
// first in its test. Goroutines are counted by a label that all goroutines of the
// connector inherit, so tests may be parallel.
//
// The same laws judge a binary in any language: `avhub plugin verify`. It can use
// a World of this package, which Run serves when PLUGINTEST_WORLD names an
// address, and [ServeWorld] within a test.
package plugintest
