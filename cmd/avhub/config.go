package main

import (
	"github.com/avhub/avhub/config"
	"github.com/spf13/cobra"
)

func (c *cli) configVerbs() *cobra.Command {
	return c.group("config", "Look at the configuration", "", c.configShow(), c.configSchema())
}

func (c *cli) configShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration in force",
		Long: "Prints the configuration in force as YAML: defaults, file, environment and flags put\n" +
			"together. Secrets are redacted.",
		Args: noArgs,
	}
	flags := addConfigFlags(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := c.load(flags)
		if err != nil {
			return err
		}
		text, err := cfg.Show()
		if err != nil {
			return err
		}
		return c.write(string(text))
	}
	return cmd
}

func (c *cli) configSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file, for editors",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			return c.write(string(text))
		},
	}
}
