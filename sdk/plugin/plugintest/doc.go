// Package plugintest judges connectors.
package plugintest
