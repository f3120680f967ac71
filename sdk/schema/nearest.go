package schema

import "strings"

// Nearest finds the word that somebody who wrote got most likely meant: "" when
// nothing is near enough. Upper case and - instead of _ count as no mistake.
func Nearest(got string, words []string) string {
	got = folded(got)
	best, limit := "", (len(got)+2)/4
	for _, word := range words {
		if d := distance(got, folded(word), limit); d <= limit {
			best, limit = word, d-1
		}
	}
	return best
}

func folded(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance counts the bytes to insert, delete, replace or swap with their
// neighbour that lead from a to b. Beyond limit it may return limit+1 at once,
// so that long hostile words cost nothing.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	next := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(next[j-1]+1, row[j]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
