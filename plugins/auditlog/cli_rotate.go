package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/avhub/avhub/plugins/auditlog/ledger"
	"github.com/spf13/cobra"
)

func (t *tool) rotateVerb() *cobra.Command {
	var reason string
	var finish bool
	cmd := &cobra.Command{
		Use:   "rotate-key DIR --reason TEXT",
		Short: "Have a new key sign, first beside the old one, then alone",
		Long: "Makes a new key and tells it in the trail, under a checkpoint that the old key signs. From then\n" +
			"on both sign, so that whoever has the old key can still verify, and find the new one with\n" +
			"`history --kind key_rotated`. --finish ends that: the old key is forgotten.\n\n" +
			"No connector may run meanwhile.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; the trail will tell")
	cmd.Flags().BoolVar(&finish, "finish", false, "the old key signs no more")
	_ = cmd.MarkFlagRequired("reason")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := os.Stat(filepath.Join(args[0], "signer.key")); err != nil {
			return fmt.Errorf("%s is no trail that can be written to: %w", args[0], err)
		}
		if finish {
			if err := ledger.FinishRotation(cmd.Context(), args[0], reason, account()); err != nil {
				return err
			}
			t.say("the old key signs no more")
			return nil
		}
		public, err := ledger.Rotate(cmd.Context(), args[0], reason, account())
		if err != nil {
			return err
		}
		t.say("%s", public)
		t.say("Give this key to whoever verifies the trail. The old one signs beside it until rotate-key --finish.")
		return nil
	}
	return cmd
}
