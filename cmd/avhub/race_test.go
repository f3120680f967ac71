//go:build race

package main

// buildFlags make the lasting program look for data races when its tests do.
func buildFlags() []string { return []string{"-race"} }
