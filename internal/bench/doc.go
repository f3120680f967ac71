// Package bench measures the hub against its goals: every figure beside a
// baseline that is taken in the same run, so that the ratio says something on
// any machine. `make bench` prints the table; docs/performance.md keeps one.
package bench
