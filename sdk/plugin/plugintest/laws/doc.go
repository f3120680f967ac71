// Package laws holds the fourteen laws that a connector keeps, and judges a
// connector by them: it makes histories of events, plays them as a hub does,
// interposes between the connector and its outside world, kills the connector,
// and compares what is outside afterwards.
//
// It is the engine behind package plugintest, for connectors in Go, and behind
// `avhub plugin verify`, for a binary in any language. Each of them brings a
// Subject: how to start the connector, and how to make a fresh outside world.
package laws
