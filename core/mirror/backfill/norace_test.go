//go:build !race

package backfill_test

const manyMembers, manyPadding = 50_000, 400
