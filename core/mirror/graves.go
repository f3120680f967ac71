package mirror

import "encoding/json"

// Deleted tells, of an entity that has no row, whether that is because it was
// deleted. grave is the sync_state that the table avhub_mirror_graves keeps for
// it under "kind/id". Without a grave nothing is known of the entity.
func Deleted(grave []byte) (bool, error) {
	var known struct {
		Deleted *int `json:"deleted"`
	}
	if err := json.Unmarshal(grave, &known); err != nil || known.Deleted == nil {
		return false, errUnreadable
	}
	return *known.Deleted >= 0, nil
}
