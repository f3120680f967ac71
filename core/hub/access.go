package hub

import "github.com/avhub/avhub/core/mirror/access"

// Access answers who may use what, and has middleware for a team's own server.
// What it says is never older than an event that this hub has committed.
func (h *Hub) Access() *access.Checker { return h.access }
