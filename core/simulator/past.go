package simulator

import "time"

// pastSize is how many people each tenant of the past has.
const pastSize = 12

// settle makes tenants that are there before anything is told of them, and an
// application that their people use.
func (w *world) settle(tenants int) {
	if tenants <= 0 {
		return
	}
	w.older = w.newApplication(nil)
	w.older.doc["name"], w.older.doc["slug"] = "Archive", "archive"
	for range tenants {
		t := w.newTenant()
		w.tenants = append(w.tenants, t)
		for i := range pastSize {
			m := w.join(t)
			m.joined = w.now().Add(-time.Duration(pastSize-i) * 31 * 24 * time.Hour)
			if i%4 != 3 { // some never used it
				m.grant(w.older, appRoles[i%len(appRoles)])
			}
			m.suspended = i == pastSize-1
		}
		w.someInvite(t)
	}
}

// ClientIDs are the client ids of the applications that are there before the
// first event.
func (s *Simulator) ClientIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world.older == nil {
		return nil
	}
	return []string{s.world.older.doc.text("client_id")}
}
