// Package arch holds the rules of the house that a compiler does not: which
// package may import which, how long a file may get, what a package must say
// about itself, and that links in the documentation lead somewhere. It is tests
// only; docs/architecture.md has the reasons.
package arch
