package main

import (
	"time"

	"github.com/avhub/avhub/plugins/provisioner/resource"
)

// state is what is remembered for a tenant. Operators and applications read it
// with `avhub plugin state`; the marks on the resources are the truth.
type state struct {
	Plan      string           `json:"plan,omitempty"`
	Resources map[string]*held `json:"resources,omitempty"` // by their names in the configuration
}

// held is one resource of the tenant. It is noted before the resource is made.
type held struct {
	Name  string         `json:"name"`
	Phase resource.Phase `json:"phase,omitempty"`
	// Made: it was there, whole and with our mark.
	Made bool      `json:"made,omitempty"`
	Due  time.Time `json:"due,omitzero"` // when it is deleted
	// References say where it is.
	References map[string]string `json:"references,omitempty"`
	// Problem is why it is not as it should be.
	Problem string `json:"problem,omitempty"`
}
