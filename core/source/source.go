// Package source lets the provider's webhooks in: it verifies the exact bytes
// that arrived, decodes them into one event, hands it to the journal and
// answers when it is durable.
//
// Both webhook channels share one path and are told apart by the header that
// carries their signature. Only a valid signature by a key of the provider's
// own key set opens the door; what fails is counted under one of a fixed set of
// reasons and leaves no other trace. A request costs at most one body of
// Config.MaxBody, and all together what Bodies allows, beside a small amount for
// each connection.
package source

import (
	"context"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
)

// KeySetPath is where the provider publishes its keys, below its host.
const KeySetPath = "/.well-known/jwks.json"

// Config says whose events a source takes.
type Config struct {
	Name string // of the source; part of every event's identity
	// Host is the provider's base URL. It is only used to find the key set, and
	// not needed when JWKSURL is set.
	Host    string
	JWKSURL string
	// MaxAge and MaxAhead bound the timestamp that an application webhook signs:
	// how far it may lie in the past and in the future, both inclusive. System
	// webhooks sign no timestamp of their own and may be sent again for days, so
	// deduplication makes their replays harmless instead.
	MaxAge   time.Duration
	MaxAhead time.Duration
	MaxBody  int64 // bytes
}

// Journal is what makes events durable. Append must return only once the event,
// or the one that stands in its place, is committed.
type Journal interface {
	Append(ctx context.Context, ev *event.Event) (journal.Receipt, error)
}

// Deps are what a source works with. Journal is required.
type Deps struct {
	Journal Journal
	Log     zerolog.Logger
	Client  *http.Client     // for the key set; nil: a default one
	Now     func() time.Time // nil: time.Now; judges signed timestamps
	Metrics *Metrics         // nil: counted nowhere
	Bodies  *Bodies          // shared by all sources; nil: no bound beside MaxBody
}

// Source is the http.Handler of one source of events. Run beside it keeps its
// keys fresh.
type Source struct {
	cfg     Config
	journal Journal
	log     zerolog.Logger
	now     func() time.Time
	keys    *keySet
	tally   tally
	metrics *Metrics
	bodies  *Bodies
	// Lines that one sender could cause often are written now and then only.
	journalLog, envelopeLog throttle
}

// New makes a source. Errors are faults of the configuration.
func New(cfg Config, deps Deps) (*Source, error) {
	fault := func(format string, args ...any) (*Source, error) {
		return nil, fmt.Errorf("setting up source %q: %w", cfg.Name, fmt.Errorf(format, args...))
	}
	switch {
	case cfg.Name == "":
		return fault("it has no name; give it one")
	case deps.Journal == nil:
		return fault("there is no journal to append to")
	case cfg.MaxAge <= 0:
		return fault("max_age is %s; it must be positive", cfg.MaxAge)
	case cfg.MaxAhead < 0:
		return fault("max_ahead is %s; it must not be negative", cfg.MaxAhead)
	case cfg.MaxBody <= 0:
		return fault("max_body is %d; it must be positive", cfg.MaxBody)
	}
	address := cfg.JWKSURL
	if address == "" {
		if cfg.Host == "" {
			return fault("it has neither host nor jwks_url; set one, so that the provider's keys can be found")
		}
		address = strings.TrimSuffix(cfg.Host, "/") + KeySetPath
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fault("the key set's address is not an absolute http or https URL")
	}
	if u.User != nil {
		return fault("the key set's address holds credentials; key sets are public, so leave them out")
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Metrics == nil {
		if deps.Metrics, err = NewMetrics(nil); err != nil {
			return fault("%w", err)
		}
	}
	log := deps.Log.With().Str("source", cfg.Name).Logger()
	s := &Source{
		cfg:     cfg,
		journal: deps.Journal,
		log:     log,
		now:     deps.Now,
		metrics: deps.Metrics,
		bodies:  deps.Bodies,
		keys: &keySet{
			url:    address,
			log:    log,
			ok:     deps.Metrics.refreshes.WithLabelValues(cfg.Name, "ok"),
			failed: deps.Metrics.refreshes.WithLabelValues(cfg.Name, "failed"),
			held:   deps.Metrics.keys.WithLabelValues(cfg.Name),
		},
	}
	client := keyClient(deps.Client)
	s.keys.fetch = func(ctx context.Context) (map[string]*rsa.PublicKey, error) {
		return fetchKeys(ctx, client, address)
	}
	s.keys.keys.Store(&map[string]*rsa.PublicKey{})
	s.keys.ctx, s.keys.stop = context.WithCancel(context.Background())
	return s, nil
}

// Run fetches the key set now and every hour, sooner after a failure, and
// reports once a minute how many requests were refused. It returns nil when ctx
// ends; from then on requests with unknown key ids get 503. The handler works
// without Run, fetching keys as they are asked for.
func (s *Source) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.keys.run(ctx)
	}()
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.tally.report(s.log)
		case <-ctx.Done():
			<-done
			s.tally.report(s.log)
			return nil
		}
	}
}

// KeySetStatus tells an operator how a source stands with its provider.
type KeySetStatus struct {
	URL         string
	Keys        int       // held
	RefreshedAt time.Time // of the last successful fetch; zero before it
	Err         error     // of the last fetch; nil if it succeeded
}

// KeySet tells how the source stands with its provider.
func (s *Source) KeySet() KeySetStatus {
	ks := s.keys
	ks.mu.Lock()
	defer ks.mu.Unlock()
	return KeySetStatus{URL: ks.url, Keys: len(*ks.keys.Load()), RefreshedAt: ks.refreshedAt, Err: ks.lastErr}
}

// count notes how a request ended.
func (s *Source) count(outcome string, reason Reason) {
	s.metrics.requests.With(prometheus.Labels{"source": s.cfg.Name, "outcome": outcome, "reason": string(reason)}).Inc()
}
