// Package plugin is the hub's side of the connector protocol: it starts a
// connector as a process of its own, watches over it, and hands batches to it.
//
// A Supervisor owns one connector. The process is in a group of its own, sees
// only the environment that its Spec names, talks over a unix socket in a
// private folder under mutual TLS, and ends when the hub ends, however the hub
// ends. A connector that dies, freezes or does not start is replaced with
// growing pauses; nothing that a connector does or prints can hold up the hub
// or another connector.
//
// The handshake and the gRPC connection are hashicorp/go-plugin's. What that
// library leaves open is done here: deadlines around everything that talks to
// the process, a drain before the end, one client per start, and reading the
// process's output without trusting it.
package plugin
