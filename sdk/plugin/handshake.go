package plugin

// What a hub and a connector agree on before they talk. docs/protocol.md tells
// it to authors in other languages.
const (
	// ProtocolVersion is the version of the gRPC service that this package
	// serves, as negotiated in the handshake.
	ProtocolVersion = 1
	// MagicCookieKey is the environment variable that tells a connector that a
	// hub started it. It keeps people from mistakes; it is not a secret.
	MagicCookieKey = "AVHUB_PLUGIN"
	// MagicCookieValue is what the hub sets MagicCookieKey to.
	MagicCookieValue = "2f0d4b7c-connector"
	// ServiceName is the name under which the handshake's library knows the one
	// service that is served.
	ServiceName = "connector"
	// FeatureCounts, among the features that a connector describes, asks for
	// organizations with what belongs to them: see Info.Counts.
	FeatureCounts = "counts"
	// FeatureBody, likewise, asks for the bytes that the provider sent: see
	// Info.Body.
	FeatureBody = "body"
	// MaxMessageBytes bounds a gRPC message in either direction. Both sides have
	// to set it, as gRPC's own default is 4 MiB and for receiving only.
	MaxMessageBytes = 16 << 20
	// MaxStateBytes bounds what a connector remembers for one key, as JSON.
	MaxStateBytes = 64 << 10
)
