package stripefake

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Change is something that happened to a subscription.
type Change struct {
	At           time.Time
	Subscription string
	Tenant       string // of its metadata
	Customer     string // its name
	What         string // "created pro×5", "pro×5 → pro×6", "paused: void", "ended"
}

func (s *Server) changed(x *subscription, what string) {
	s.effects++
	c := Change{At: s.now(), Subscription: x.id, Tenant: x.metadata["avhub_tenant"], Customer: s.customer(x.customer).Name, What: what}
	s.history = append(s.history, c)
	if s.opts.OnChange != nil {
		s.opts.OnChange(c)
	}
}

// History tells what happened to the subscriptions of a tenant, oldest first.
func (s *Server) History(tenant string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, c := range s.history {
		if c.Tenant == tenant {
			out = append(out, c.What)
		}
	}
	return out
}

// Subscription is a subscription, as tests see it.
type Subscription struct {
	ID          string            `json:"id"`
	Customer    string            `json:"customer"`
	Status      string            `json:"status"`
	Sold        string            `json:"sold"` // "pro×1 seat×5"
	Pause       string            `json:"pause,omitempty"`
	CancelAtEnd bool              `json:"cancel_at_end,omitempty"`
	Collection  string            `json:"collection"`
	Metadata    map[string]string `json:"metadata"`
	Schedule    string            `json:"schedule,omitempty"`
	Invoices    int               `json:"-"`
	PeriodEnd   time.Time         `json:"-"`
}

// Ended tells whether it is over.
func (x Subscription) Ended() bool { return x.Status == "canceled" || x.Status == "incomplete_expired" }

func (x *subscription) shown() Subscription {
	return Subscription{x.id, x.customer, x.status, x.sold(), x.pause, x.cancelAtEnd, x.collection, maps.Clone(x.metadata), x.schedule, len(x.invoices), x.ends}
}

// Customers are all customers, deleted ones too, oldest first.
func (s *Server) Customers() []Customer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Customer
	for _, c := range s.customers {
		one := c.Customer
		one.Metadata = maps.Clone(c.Metadata)
		out = append(out, one)
	}
	return out
}

// Subscriptions are all subscriptions, ended ones too, oldest first.
func (s *Server) Subscriptions() []Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Subscription
	for _, x := range s.subscriptions {
		out = append(out, x.shown())
	}
	return out
}

// Lines are all lines of invoices, pending ones too.
func (s *Server) Lines() []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// page shows a person what is there.
func (s *Server) page(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Simulated Stripe, account %s: %d customers, %d requests\n\n", s.opts.Account, len(s.customers), len(s.log))
	rows := [][]string{{"TENANT", "CUSTOMER", "NAME", "PAYS FOR", "STATUS"}}
	for _, c := range s.customers {
		row := []string{c.Metadata["avhub_tenant"], c.ID, c.Name, "-", "-"}
		for _, x := range s.newest(func(x *subscription) bool { return x.customer == c.ID }) {
			row[3], row[4] = x.sold(), x.state()
			break
		}
		if c.Deleted {
			row[4] = "customer deleted"
		}
		rows = append(rows, row)
	}
	table(w, rows)
}

func (x *subscription) state() string {
	switch {
	case x.ended():
		return "ended"
	case x.pause != "":
		return "paused (" + x.pause + ")"
	case x.cancelAtEnd:
		return "ends " + x.ends.Format(time.DateOnly)
	}
	return x.status
}

func table(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// Counts are the requests by operation, most frequent first: "3 GET /v1/prices".
func (s *Server) Counts() []string {
	counts := map[string]int{}
	for _, r := range s.Requests() {
		counts[r.Operation()]++
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%d %s", counts[n], n))
	}
	return out
}
