package main

import (
	"github.com/spf13/cobra"
)

// helpVerb takes the place of cobra's, which calls a topic that it does not know
// a success.
func (c *cli) helpVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB]...",
		Short: "Explain a verb",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return wrongUse("there is no verb %q", args[len(args)-max(len(rest), 1)])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// completionVerb takes the place of cobra's for the same reason.
func (c *cli) completionVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes verbs and flags in your shell",
		Long: "Prints a script that completes verbs and flags. For one session of bash:\n\n" +
			"    source <(avhub completion bash)",
		Args:      oneArg("the name of a shell"),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.out, true)
			case "zsh":
				return root.GenZshCompletion(c.out)
			case "fish":
				return root.GenFishCompletion(c.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(c.out)
			}
			return wrongUse("there is no completion for %q; there is for bash, zsh, fish and powershell", args[0])
		},
	}
}
