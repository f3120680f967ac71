package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/spf13/cobra"
)

// buildVersion is the version that was stamped, or else what Go knows about the
// build: a release's when it was installed with `go install`.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

func (c *cli) versionVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Tell which avhub this is",
		Args:  noArgs,
	}
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(*cobra.Command, []string) error {
		if *asJSON {
			return c.writeJSON(struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
				Protocol int    `json:"plugin_protocol"`
			}{buildVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, plugin.ProtocolVersion})
		}
		return c.write(fmt.Sprintf("avhub %s (%s, %s/%s), plugin protocol %d\n",
			buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, plugin.ProtocolVersion))
	}
	return cmd
}
