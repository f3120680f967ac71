//go:build race

package backfill_test

// The race detector makes the database ten times slower, so fewer members make an
// answer of the same size.
const manyMembers, manyPadding = 4_000, 9_000
