// Package config loads the hub's configuration: defaults, then the file, then
// the environment, then flags; every later one wins. It finds all mistakes at
// once, each with its place and the way out, and no message ever repeats a
// value, since any value may be a secret or have come from one.
//
// What a key is gets said once, in the tags of [Config] (see sdk/schema); the
// reference in docs/config.md, the JSON Schema and the names of the
// environment variables are made from them.
package config
