package config

import _ "embed" // for the example

//go:embed example.yaml
var example []byte

// Example is a file to begin with: commented, and valid as it is.
func Example() []byte { return append([]byte(nil), example...) }
