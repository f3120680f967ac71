package api_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror/ask"
)

// The page for users names every path, filter and relation.
func TestThePageForUsersIsComplete(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ask.Resources() {
		var filters, relations []string
		for _, f := range r.Filters {
			filters = append(filters, "`"+f.Name+"`")
		}
		for _, rel := range r.Relations {
			relations = append(relations, "`"+rel.Name+"`")
		}
		about, _, _ := strings.Cut(r.About, ":")
		for _, line := range []string{
			fmt.Sprintf("| `%s` | %s | %s |", r.Path, about, strings.Join(filters, ", ")),
			fmt.Sprintf("| `%s` | %s |", r.Path, strings.Join(relations, ", ")),
		} {
			if !strings.Contains(string(page), line+"\n") {
				t.Errorf("docs/api.md lacks the line\n%s", line)
			}
		}
	}
}
