// Package e2e holds tests of the whole: the real binary, real plugin processes,
// real HTTP and real signatures, and kill -9.
package e2e
