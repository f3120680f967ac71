package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Spec says which connector to run, and how.
type Spec struct {
	// Name is the plugin's name in the hub's configuration. Two plugins may run
	// the same binary.
	Name string
	// Command is the program and its arguments. A program without a slash is
	// looked up in the hub's PATH; a relative path is relative to the hub's
	// working directory.
	Command []string
	// Env is the whole environment of the process, apart from the variables of
	// the handshake (AVHUB_PLUGIN and PLUGIN_…), which it cannot override.
	Env map[string]string
	// Dir is the working directory of the process; empty means the hub's.
	Dir string
	// Attach, if set, is a folder in which a connector waits that a person has
	// started with its verb debug. Command, Env and Dir are not used then, and
	// Options.Pin is not asked.
	Attach string
	// Limits bound what the process takes. They work on Linux; elsewhere a
	// process that has some is not started.
	Limits Limits
	// Config is the connector's own configuration, a JSON object.
	Config json.RawMessage
}

// Options are what a Supervisor needs of its hub.
type Options struct {
	// Log takes the supervisor's messages and the connector's output, with the
	// plugin's name.
	Log zerolog.Logger
	// RunDir holds the sockets, each plugin's in a private (0700) folder of its
	// own that is swept at every start. It is made if it does not exist. Its
	// path must be short, as a socket's path may have about 100 bytes. Several
	// hubs may share one. Empty means a folder in the system's temporary one.
	RunDir string
	// OnChange is told every change of the status, one after the other. It must
	// return soon, as the supervisor waits for it.
	OnChange func(Status)
	// Pin, if set, is asked before every start what the program has to be; nil
	// means that anything may run. An error keeps it from being started. Locker
	// makes one.
	Pin func() (*Pin, error)

	timing timing
}

// timing is what tests make shorter. The zero value of a field means the
// default.
type timing struct {
	start      time.Duration // for the handshake, and for Describe
	configure  time.Duration
	pingEvery  time.Duration
	pingWithin time.Duration
	drain      time.Duration
	kill       time.Duration
	healthy    time.Duration // after which the pauses start small again
	crash      backoff
	reject     backoff

	dropped       *atomic.Int64 // counts lines that were not logged; the supervisor's
	hidden        *mask         // secrets; the supervisor's
	beforeExec    func()        // called when the program was checked, before it is run
	noDeathSignal bool          // leaves ending an orphan to the leash alone
}

func (t timing) withDefaults() timing {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&t.start, 10*time.Second)
	set(&t.configure, 30*time.Second)
	set(&t.pingEvery, 2*time.Second)
	set(&t.pingWithin, 5*time.Second)
	set(&t.drain, 10*time.Second)
	set(&t.kill, 5*time.Second)
	set(&t.healthy, time.Minute)
	if t.crash.max == 0 {
		t.crash = backoff{base: 250 * time.Millisecond, max: time.Minute}
	}
	if t.reject.max == 0 {
		// A person has to do something first, so there is no hurry.
		t.reject = backoff{base: 10 * time.Second, max: time.Minute}
	}
	return t
}

// State is what a plugin's process is doing.
type State string

// The states of a plugin.
const (
	// Starting: the process is being started, described or configured.
	Starting State = "starting"
	// Running: the connector takes batches.
	Running State = "running"
	// Backoff: the process ended or could not be started, and is started again
	// after a pause.
	Backoff State = "backoff"
	// Misconfigured: the connector rejected its configuration. It is tried again
	// now and then, as the reason may lie outside.
	Misconfigured State = "misconfigured"
	// Refused: the program is not the one that is pinned. It is looked at again
	// now and then.
	Refused State = "refused"
	// Quarantined: the process crashed 5 times within 10 minutes. It is not
	// started before Restart, Resume or Reconfigure.
	Quarantined State = "quarantined"
	// Stopped: the supervisor has not been run yet, or has ended.
	Stopped State = "stopped"
)

// Status is a plugin at one moment.
type Status struct {
	State    State
	Reason   string // why it is not running, while starting: why it last was not; one line
	PID      int    // 0: there is no process
	Version  string // of the connector, as it last described itself
	Restarts int    // how often the process was started again
	Since    time.Time
}

// Order is the key within which a connector wants order kept.
type Order string

// The orders.
const (
	PerTenant  Order = "tenant"
	PerSubject Order = "subject"
	Total      Order = "total"
)

// Info is how a connector described itself.
type Info struct {
	Name         string
	Version      string
	Summary      string
	Events       []string // patterns of the event types that it wants by default
	Order        Order
	Coalesce     bool
	Counts       bool            // its organizations come with what belongs to them
	Body         bool            // its events come with the bytes that the provider sent
	Notifies     bool            // every event is an effect of its own
	KeepsHistory bool            // what is outside tells the way, not only where things stand
	ConfigSchema json.RawMessage // JSON Schema, draft 2020-12
	StateSchema  json.RawMessage // of what it remembers for a key; empty: not known
	Features     []string
}

// Severity tells a Diagnostic that stops the plugin from one that does not.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Diagnostic is what a connector has to say about a configuration.
type Diagnostic struct {
	Severity Severity
	Path     string // "plans.pro.price"; empty: the configuration as a whole
	Summary  string
	Detail   string
}

// String is the diagnostic in one line.
func (d Diagnostic) String() string {
	s := d.Summary
	if d.Path != "" {
		s = d.Path + ": " + s
	}
	if d.Detail != "" {
		s += "; " + d.Detail
	}
	return s
}

var (
	// ErrNotRunning says that there is no connector to deliver to now. Nothing
	// was attempted; WaitReady waits for the next one.
	ErrNotRunning = errors.New("the plugin is not running")
	// ErrStopped says that the supervisor has ended, and no connector follows.
	ErrStopped = errors.New("the plugin's supervisor has ended")
)

// configError is a configuration that the connector rejected.
type configError struct{ diags []Diagnostic }

func (e *configError) Error() string {
	var lines []string
	for _, d := range e.diags {
		if d.Severity == SeverityError {
			lines = append(lines, d.String())
		}
	}
	return "the connector rejects its configuration: " + strings.Join(lines, "; ")
}

// maxStateSchema bounds what is stored of a plugin. It is far more than any struct
// needs.
const maxStateSchema = 256 << 10

func infoFromWire(d *pluginpb.DescribeResponse) (Info, error) {
	info := Info{
		Name: d.GetName(), Version: d.GetVersion(), Summary: d.GetSummary(), Events: d.GetEvents(),
		Coalesce: d.GetCoalesce(), ConfigSchema: d.GetConfigSchema(), StateSchema: d.GetStateSchema(), Features: d.GetFeatures(),
		Counts:   slices.Contains(d.GetFeatures(), plugin.FeatureCounts),
		Body:     slices.Contains(d.GetFeatures(), plugin.FeatureBody),
		Notifies: d.GetNotifies(), KeepsHistory: d.GetKeepsHistory(),
	}
	switch d.GetOrder() {
	case pluginpb.Order_ORDER_PER_TENANT:
		info.Order = PerTenant
	case pluginpb.Order_ORDER_PER_SUBJECT:
		info.Order = PerSubject
	case pluginpb.Order_ORDER_TOTAL:
		info.Order = Total
	default:
		return Info{}, fmt.Errorf("the connector describes an order that this hub does not know (%d): update the hub, or the connector", d.GetOrder())
	}
	if info.Name == "" {
		return Info{}, errors.New("the connector describes itself without a name")
	}
	if len(info.ConfigSchema) > 0 && !json.Valid(info.ConfigSchema) {
		return Info{}, errors.New("the connector's configuration schema is not valid JSON")
	}
	if n := len(info.StateSchema); n > maxStateSchema {
		return Info{}, fmt.Errorf("the connector's schema of its state has %d bytes, and %d are allowed", n, maxStateSchema)
	}
	if len(info.StateSchema) > 0 && !json.Valid(info.StateSchema) {
		return Info{}, errors.New("the connector's schema of its state is not valid JSON")
	}
	return info, nil
}

func diagnosticsFromWire(ds []*pluginpb.Diagnostic) []Diagnostic {
	var out []Diagnostic
	for _, d := range ds {
		sev := SeverityError
		if d.GetSeverity() == pluginpb.Diagnostic_SEVERITY_WARNING {
			sev = SeverityWarning
		}
		out = append(out, Diagnostic{Severity: sev, Path: d.GetPath(), Summary: d.GetSummary(), Detail: d.GetDetail()})
	}
	return out
}

func anyError(ds []Diagnostic) bool {
	for _, d := range ds {
		if d.Severity == SeverityError {
			return true
		}
	}
	return false
}
