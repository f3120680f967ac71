package hook

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/avhub/avhub/plugins/provisioner/name"
	"github.com/avhub/avhub/plugins/provisioner/resource"
)

// Driver has a program make the resources. The program keeps the mark with the
// resource, and gives it back as it is.
type Driver struct {
	Command Command
	Step    func(string) // told before and after each call that changes something

	mu   sync.Mutex
	busy map[string]*sync.Mutex
}

// asked is what the program reads.
type asked struct {
	Action   string         `json:"action"` // "observe", "put", "destroy", "list"
	Name     string         `json:"name,omitempty"`
	Tenant   string         `json:"tenant_id,omitempty"`
	Resource string         `json:"resource,omitempty"`
	Phase    resource.Phase `json:"phase,omitempty"`
	Open     bool           `json:"open"`
	Mark     string         `json:"mark,omitempty"`
	Suffix   string         `json:"suffix,omitempty"` // of the names that list is asked for
}

// told is what it prints about one resource.
type told struct {
	Name       string            `json:"name"`
	Exists     bool              `json:"exists"`
	Mark       string            `json:"mark"`
	Open       bool              `json:"open"`
	References map[string]string `json:"references"`
}

func (d *Driver) ask(ctx context.Context, a asked, into any) error {
	out, err := d.Command.Run(ctx, a)
	if err != nil {
		return fmt.Errorf("asking to %s: %w", a.Action, err)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("asking %s to %s: what it printed is not the JSON that it should be", d.Command.Argv[0], a.Action)
	}
	return nil
}

// Observe asks what there is.
func (d *Driver) Observe(ctx context.Context, n string) (resource.Observed, error) {
	var t told
	if err := d.ask(ctx, asked{Action: "observe", Name: n}, &t); err != nil {
		return resource.Observed{}, err
	}
	if !t.Exists {
		return resource.Observed{}, nil
	}
	have := resource.Observed{Exists: true, Whole: true, Open: t.Open, References: t.References}
	have.Mark, have.Marked = resource.Parse(t.Mark)
	return have, nil
}

// Put has it made and changed.
func (d *Driver) Put(ctx context.Context, n string, m resource.Mark, may resource.May) error {
	defer d.lock(n)()
	have, err := d.Observe(ctx, n)
	switch {
	case err != nil:
		return err
	case !have.Exists && !may.Create:
		return resource.ErrGone
	case have.Exists && !have.Marked && !may.Adopt, have.Marked && !have.Mark.Of(m.Owner, m.Tenant, m.Resource):
		return resource.ErrNotOwned
	}
	d.Step("before put")
	err = d.ask(ctx, asked{Action: "put", Name: n, Tenant: m.Tenant, Resource: m.Resource, Phase: m.Phase, Open: m.Phase == resource.Active, Mark: m.Text()}, nil)
	d.Step("after put")
	return err
}

// Destroy has it deleted.
func (d *Driver) Destroy(ctx context.Context, n string, was resource.Mark) error {
	defer d.lock(n)()
	have, err := d.Observe(ctx, n)
	switch {
	case err != nil:
		return err
	case !have.Exists:
		return nil
	case !have.Marked || !have.Mark.Same(was):
		return resource.ErrChanged
	}
	d.Step("before destroy")
	err = d.ask(ctx, asked{Action: "destroy", Name: n, Tenant: was.Tenant, Resource: was.Resource, Mark: was.Text()}, nil)
	d.Step("after destroy")
	return err
}

// List asks for all.
func (d *Driver) List(ctx context.Context, owner, suffix string) ([]resource.Found, error) {
	var all []told
	if err := d.ask(ctx, asked{Action: "list", Suffix: suffix}, &all); err != nil {
		return nil, err
	}
	var out []resource.Found
	for _, t := range all {
		if m, ok := resource.Parse(t.Mark); ok && m.Owner == owner && name.Safe(t.Name) && strings.HasSuffix(t.Name, suffix) {
			out = append(out, resource.Found{Name: t.Name, Mark: m})
		}
	}
	return out, nil
}

// Check looks whether the program is there.
func (d *Driver) Check(context.Context) error {
	info, err := os.Stat(d.Command.Argv[0])
	if err != nil {
		return fmt.Errorf("looking for the program: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is no program that can be run", d.Command.Argv[0])
	}
	return nil
}

// Close has nothing to close.
func (d *Driver) Close() {}

func (d *Driver) lock(n string) (unlock func()) {
	d.mu.Lock()
	if d.busy == nil {
		d.busy = map[string]*sync.Mutex{}
	}
	if d.busy[n] == nil {
		d.busy[n] = &sync.Mutex{}
	}
	m := d.busy[n]
	d.mu.Unlock()
	m.Lock()
	return m.Unlock
}
