package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// encode writes JSON with a line's end, for those who look at it in a terminal.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return nil, fmt.Errorf("writing the answer as JSON: %w", err)
	}
	return b.Bytes(), nil
}

// write sends an answer, or says that the client has it already.
func write(w http.ResponseWriter, r *http.Request, body []byte) {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	header := w.Header()
	header.Set("ETag", tag)
	// A client may keep it for itself, if it asks each time whether it still holds.
	header.Set("Cache-Control", "private, no-cache")
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client is gone: nobody to tell
}

// matches tells whether one of the tags, of which each header may list several,
// is this one. For GET a weak tag is as good as a strong one (RFC 9110, 13.1.2).
func matches(headers []string, tag string) bool {
	for _, list := range headers {
		for given := range strings.SplitSeq(list, ",") {
			given = strings.TrimPrefix(strings.TrimSpace(given), "W/")
			if given == tag || given == "*" {
				return true
			}
		}
	}
	return false
}
