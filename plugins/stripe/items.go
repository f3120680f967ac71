package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func cmpText(a, b string) int { return strings.Compare(a, b) }

// number reads a number out of metadata; 0 if it is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// slot is an item of a subscription that this connector keeps: as it is, and as
// it was set last.
type slot struct {
	have soldItem
	was  sold
}

// slots tells an observed subscription's items apart: those that are kept, those
// that somebody added, and what was set and is not there any more. An item with
// another price than was set is taken for that item if there is nothing better.
func slots(have subscription) (kept []slot, added []soldItem, removed []sold) {
	rest := slices.Clone(have.Items)
	for _, w := range was(have) {
		at := slices.IndexFunc(rest, func(it soldItem) bool { return it.Price == w.Price })
		if at < 0 {
			removed = append(removed, w)
			continue
		}
		kept = append(kept, slot{rest[at], w})
		rest = slices.Delete(rest, at, at+1)
	}
	for len(removed) > 0 && len(rest) > 0 {
		kept = append(kept, slot{rest[0], removed[0]})
		rest, removed = rest[1:], removed[1:]
	}
	return kept, rest, removed
}

type changed struct {
	list   []itemChange
	why    []string
	counts bool // a quantity is written
}

// changeItems finds the least that makes a subscription's items what they should
// be. Where what should be is what was set last, somebody else made the
// difference, and drift says what is done about it.
func changeItems(items []sold, have subscription, p policy, note func(string, string, ...any)) changed {
	var c changed
	kept, added, removed := slots(have)
	wants := slices.Clone(items)
	match := func(fits func(s slot, w sold) bool) {
		for i := 0; i < len(kept); i++ {
			at := slices.IndexFunc(wants, func(w sold) bool { return fits(kept[i], w) })
			if at < 0 {
				continue
			}
			c.adjust(kept[i], wants[at], p, note)
			wants = slices.Delete(wants, at, at+1)
			kept = slices.Delete(kept, i, i+1)
			i--
		}
	}
	match(func(s slot, w sold) bool { return s.was.Price == w.Price })
	match(func(s slot, w sold) bool { return s.have.Price == w.Price })
	// What should be there and was removed by hand.
	wants = slices.DeleteFunc(wants, func(w sold) bool {
		ours := slices.ContainsFunc(removed, func(r sold) bool { return r.Price == w.Price })
		if ours && p.Drift.Items == "report" {
			note("drift_items", "the item with %s was removed in Stripe", w.Price)
		}
		return ours && p.Drift.Items != "heal"
	})
	match(func(slot, sold) bool { return true }) // one thing instead of another
	for _, s := range kept {
		c.list = append(c.list, itemChange{ID: s.have.ID, Delete: true})
		c.why = append(c.why, "no more "+s.have.Price)
	}
	for _, w := range wants {
		if at := slices.IndexFunc(added, func(it soldItem) bool { return it.Price == w.Price }); at >= 0 {
			// Somebody was faster; adding it once more would be refused.
			c.change(added[at], w, fmt.Sprintf("%s is what it should have", w.Price))
			added = slices.Delete(added, at, at+1)
			continue
		}
		c.list = append(c.list, itemChange{Price: w.Price, Quantity: w.Quantity})
		c.why, c.counts = append(c.why, fmt.Sprintf("%s×%d is new", w.Price, w.Quantity)), true
	}
	for _, it := range added {
		switch p.Drift.Items {
		case "heal":
			c.list = append(c.list, itemChange{ID: it.ID, Delete: true})
			c.why = append(c.why, it.Price+" was added in Stripe")
		case "report":
			note("drift_items", "the item with %s was added in Stripe", it.Price)
		}
	}
	return c
}

func (c *changed) change(have soldItem, want sold, why string) {
	if have.Price == want.Price && have.Quantity == want.Quantity {
		return
	}
	c.list = append(c.list, itemChange{ID: have.ID, Price: want.Price, Quantity: want.Quantity})
	c.why = append(c.why, why)
	c.counts = true
}

// adjust makes one item what it should be.
func (c *changed) adjust(s slot, want sold, p policy, note func(string, string, ...any)) {
	to := want
	if s.have.Price != want.Price && s.was.Price == want.Price {
		switch p.Drift.Price {
		case "heal":
		case "report":
			note("drift_price", "it has %s instead of %s by a change in Stripe", s.have.Price, want.Price)
			fallthrough
		default:
			to.Price = s.have.Price
		}
	}
	if s.have.Quantity != want.Quantity && s.was.Quantity == want.Quantity && s.was.Price == want.Price {
		switch p.Drift.Quantity {
		case "heal":
		case "report":
			note("drift_quantity", "it has %d of %s instead of %d by a change in Stripe", s.have.Quantity, s.have.Price, want.Quantity)
			fallthrough
		default:
			to.Quantity = s.have.Quantity
		}
	}
	why := fmt.Sprintf("%s×%d instead of %s×%d", to.Price, to.Quantity, s.have.Price, s.have.Quantity)
	c.change(s.have, to, why)
}
