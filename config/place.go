package config

import (
	"strconv"
	"strings"

	"github.com/avhub/avhub/sdk/schema"
)

// Place tells where the value at path ("plugins[1].config.url") was set, or
// where the nearest thing above it was: for those who find a mistake that only
// they can judge. The source is a file's name, "environment AVHUB_…" or "flags";
// it is empty, and line and column are 0, where there is no such place.
func (c *Config) Place(path string) (source string, line, column int) {
	p := c.origin.problem(parsePath(path), false, "", "")
	return p.Source, p.Line, p.Column
}

// parsePath reads what schema.Path prints. A key that has a dot or a bracket
// itself leads no further than what is above it.
func parsePath(text string) schema.Path {
	var path schema.Path
	for part := range strings.SplitSeq(text, ".") {
		name, indexes, _ := strings.Cut(part, "[")
		if name != "" {
			path = path.Child(name)
		}
		for index := range strings.SplitSeq(indexes, "[") {
			if n, err := strconv.Atoi(strings.TrimSuffix(index, "]")); err == nil && n >= 0 {
				path = path.Child(n)
			}
		}
	}
	return path
}
