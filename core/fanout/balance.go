package fanout

import (
	"fmt"
	"slices"
	"time"
)

// PartitionID names a partition of a plugin.
type PartitionID struct {
	Plugin    string
	Partition int
}

// String is how messages name it.
func (p PartitionID) String() string { return fmt.Sprintf("%s/%d", p.Plugin, p.Partition) }

// LiveHub is a hub that is alive, and the plugins that it would deliver to.
type LiveHub struct {
	ID      string
	Plugins []string
}

// Held is a partition and who holds its lease.
type Held struct {
	PartitionID
	Owner string        // empty: nobody
	Left  time.Duration // of the lease
	// State and ConfigHash tell whether the plugin has halted.
	State, ConfigHash string
}

// PluginRow is what holds for all partitions of a plugin.
type PluginRow struct {
	Partitions int
	KeyedBy    string
}

// View is what a hub sees of all leases at one time.
type View struct {
	Me      string
	Hubs    []LiveHub
	Held    []Held
	Plugins map[string]PluginRow
}

// FreeTooLong is how long a partition that nobody holds is left to the hub whose
// share it is; then anybody takes it.
const FreeTooLong = 3 * time.Second

// Decide tells which partitions this hub should take, and which it should give
// to another one: everything is held by somebody, by each hub about as much, and
// nothing moves without need. wanted are the plugins that this hub would deliver
// to, free tells for how long a partition has been seen without a holder.
//
// A hub takes what is free up to its share, which is that of all partitions
// divided by the hubs alive, rounded up. It gives one if it holds the most, and
// another hub that wants it holds two less or fewer: each such step makes the
// division more even, so they come to an end.
func (v View) Decide(wanted []string, free func(PartitionID) time.Duration) (take, give []PartitionID) {
	load := map[string]int{}
	for _, p := range v.Held {
		load[p.Owner]++
	}
	room := v.share() - load[v.Me]
	for _, p := range v.Held {
		if p.Owner != "" || !slices.Contains(wanted, p.Plugin) {
			continue
		}
		if room > 0 || free(p.PartitionID) >= FreeTooLong {
			take = append(take, p.PartitionID)
			room--
		}
	}
	if len(take) > 0 {
		return take, nil
	}
	for _, poor := range v.Hubs {
		if poor.ID == v.Me || load[v.Me]-load[poor.ID] < 2 {
			continue
		}
		for _, p := range v.Held {
			if p.Owner == v.Me && slices.Contains(poor.Plugins, p.Plugin) && v.mostLoaded(load, poor) {
				return nil, []PartitionID{p.PartitionID}
			}
		}
	}
	return nil, nil
}

// share is how many partitions each hub should hold at most.
func (v View) share() int {
	hubs := 1
	for _, h := range v.Hubs {
		if h.ID != v.Me && len(h.Plugins) > 0 {
			hubs++
		}
	}
	return (len(v.Held) + hubs - 1) / hubs
}

// mostLoaded tells whether this hub is the one that should give poor something:
// the first of those that hold the most among those that could.
func (v View) mostLoaded(load map[string]int, poor LiveHub) bool {
	for _, p := range v.Held {
		if p.Owner == "" || p.Owner == v.Me || !slices.Contains(poor.Plugins, p.Plugin) {
			continue
		}
		if load[p.Owner] > load[v.Me] || load[p.Owner] == load[v.Me] && p.Owner < v.Me {
			return false
		}
	}
	return true
}

// Halted tells whether a plugin has halted with the configuration of the given
// hash: then it is not to be started.
func (v View) Halted(name, configHash string) bool {
	return slices.ContainsFunc(v.Held, func(p Held) bool {
		return p.Plugin == name && p.State == halted && p.ConfigHash == configHash
	})
}

// FreeOf tells whether nobody holds a partition of the plugin.
func (v View) FreeOf(name string) bool {
	return !slices.ContainsFunc(v.Held, func(p Held) bool { return p.Plugin == name && p.Owner != "" })
}

// Next is how long until the first lease of another hub ends, unless it is
// renewed; false: nobody else holds one.
func (v View) Next() (time.Duration, bool) {
	next, any := time.Duration(0), false
	for _, p := range v.Held {
		if p.Owner != "" && p.Owner != v.Me && (!any || p.Left < next) {
			next, any = p.Left, true
		}
	}
	return next, any
}
