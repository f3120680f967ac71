// Package simulator is an AuthVital of one's own: it has keys and publishes
// them, keeps a small world of tenants, people and applications, makes every
// event of the catalog out of it, and delivers them over HTTP, signed as the
// real one signs them.
//
// `avhub dev` lets it tell a story, `avhub event send` asks it for single
// events, and tests use it as a sender that shares no code with the receiver.
package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// KeySetPath is where Handler serves the key set.
const KeySetPath = "/.well-known/jwks.json"

// sendTimeout is the real sender's time limit for one delivery.
const sendTimeout = 30 * time.Second

// Options of a simulator. The zero value of every field is usable.
type Options struct {
	// Target is the URL of a hub's webhook path. It may be set later with
	// SetTarget, for a hub and a simulator that each need the other's address.
	Target string
	// Token opens the control endpoint. Without one there is none.
	Token string
	Log   zerolog.Logger
	// Seed decides names and choices of the world, so that a run can be told
	// again. Keys and event ids are always fresh.
	Seed uint64
	// Past is how many tenants are there before the first event, with people who
	// use an application. No event tells of them until something happens to them.
	Past int
	// APIClient and APISecret are the credentials of a machine that may read
	// members over the integration API. Without them there is no such API.
	APIClient, APISecret string
	// Retry are the waits between the attempts to deliver an application
	// webhook; nil: 1 s, 2 s, 4 s. An empty, non-nil list: one attempt only.
	Retry  []time.Duration
	Client *http.Client     // for deliveries; nil: one with the provider's time limit
	Now    func() time.Time // nil: time.Now
}

// Simulator is a simulated provider. Its methods may be called from several
// goroutines.
type Simulator struct {
	opts   Options
	client *http.Client
	keys   *keyring
	target atomic.Pointer[string]

	mu    sync.Mutex
	world *world
	given []givenToken // oldest first
	last  time.Time    // the newest envelope's time
}

// New makes a simulator with fresh keys, which takes some tenths of a second.
func New(opts Options) (*Simulator, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Retry == nil {
		opts.Retry = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}
	}
	client := http.Client{Timeout: sendTimeout}
	if opts.Client != nil {
		client = *opts.Client
	}
	// The provider never follows redirects: a signature must not travel on.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	keys, err := newKeyring()
	if err != nil {
		return nil, fmt.Errorf("starting the simulator: %w", err)
	}
	s := &Simulator{opts: opts, client: &client, keys: keys, world: newWorld(opts.Seed, opts.Now)}
	s.world.settle(opts.Past)
	if opts.Target != "" {
		if err := s.SetTarget(opts.Target); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// SetTarget sets the URL that events are delivered to from now on.
func (s *Simulator) SetTarget(target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("setting the simulator's target: it is not an absolute http or https URL")
	}
	s.target.Store(&target)
	return nil
}

// Rotate replaces the key that signs webhooks and returns the new one's id. It
// is published and used at once; the ones before it stay in the set for a while.
func (s *Simulator) Rotate() (string, error) {
	kid, err := s.keys.rotate()
	if err != nil {
		return "", fmt.Errorf("rotating the simulator's key: %w", err)
	}
	s.opts.Log.Info().Str("key_id", kid).Msg("the simulated provider signs with a new key")
	return kid, nil
}

// Handler serves the key set at KeySetPath and, if there is a token, the control
// endpoint at ControlPath; with credentials for it, the integration API.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+KeySetPath, s.keys)
	if s.opts.Token != "" {
		mux.HandleFunc("POST "+ControlPath, s.control)
	}
	if s.opts.APIClient != "" {
		mux.HandleFunc("POST /oauth/token", s.giveToken)
		mux.HandleFunc("GET /api/integration/tenant-memberships", s.withToken((*world).tenantMembers))
		mux.HandleFunc("GET /api/integration/application-memberships", s.withToken((*world).applicationMembers))
	}
	return mux
}

// tick returns the current time, later by a millisecond at least than any it
// returned before.
func (s *Simulator) tick() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now().UTC().Truncate(time.Millisecond)
	if !now.After(s.last) {
		now = s.last.Add(time.Millisecond)
	}
	s.last = now
	return now
}
