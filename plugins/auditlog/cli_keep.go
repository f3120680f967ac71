package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/ledger"
	"github.com/spf13/cobra"
)

// askWithin is how long a request to the connector that writes may take.
const askWithin = 30 * time.Second

func (t *tool) ask(ctx context.Context, dir string, r ledger.Request) (ledger.Done, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	r.By = account()
	return ledger.Ask(ctx, dir, r)
}

func (t *tool) eraseVerb() *cobra.Command {
	var subject, basis string
	var yes bool
	cmd := &cobra.Command{
		Use:   "erase DIR --subject S --basis TEXT --yes",
		Short: "Make a person's data in the trail unreadable for ever; every proof stays valid",
		Long: "Destroys the key that the person's data is sealed with, and those of the e-mail addresses\n" +
			"that were known to be theirs. The entries stay, and so does every proof. Events of the person\n" +
			"that come later, or again, are sealed as erased. An entry tells that it was done.\n\n" +
			"Backups of the folder keys/ still have the key: let them expire.\n" +
			"Works beside a running connector.",
		Example: "  avhub-auditlog erase /var/lib/avhub/audit --subject identity:usr_1 --basis 'GDPR 17(1)(b), ticket 4711' --yes",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&subject, "subject", "", "identity:ID, or address:E-MAIL for somebody who only was invited")
	cmd.Flags().StringVar(&basis, "basis", "", "on what legal basis; the trail will tell, so name nobody")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it: there is no way back")
	_, _ = cmd.MarkFlagRequired("subject"), cmd.MarkFlagRequired("basis")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !yes {
			return fmt.Errorf("this cannot be undone: what the trail has of %s will be unreadable for ever. Say --yes to do it", subject)
		}
		done, err := t.ask(cmd.Context(), args[0], ledger.Request{Do: ledger.Erase, Subject: subject, Reason: basis})
		if err != nil {
			return err
		}
		t.say("erased: %s; told in entry %d", strings.Join(done.Owners, ", "), done.Index)
		return nil
	}
	return cmd
}

func (t *tool) holdVerb() *cobra.Command {
	return t.holds(ledger.Hold, "Forbid erasing somebody, or anybody")
}
func (t *tool) releaseVerb() *cobra.Command {
	return t.holds(ledger.Release, "End a legal hold")
}

func (t *tool) holds(do, short string) *cobra.Command {
	var subject, reason string
	cmd := &cobra.Command{Use: do + " DIR --subject S --reason TEXT", Short: short, Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVar(&subject, "subject", "", "identity:ID, address:E-MAIL, or * for everybody")
	cmd.Flags().StringVar(&reason, "reason", "", "why; the trail will tell")
	_, _ = cmd.MarkFlagRequired("subject"), cmd.MarkFlagRequired("reason")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		done, err := t.ask(cmd.Context(), args[0], ledger.Request{Do: do, Subject: subject, Reason: reason})
		if err != nil {
			return err
		}
		t.say("%s of %s: told in entry %d", do, subject, done.Index)
		return nil
	}
	return cmd
}

func (t *tool) keyVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "key DIR",
		Short: "Print the trail's public key, to be kept where the trail's host cannot reach it",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := placeOf(args[0])
			if err != nil {
				return err
			}
			text, err := os.ReadFile(p.key)
			if err != nil {
				return fmt.Errorf("read the public key: %w", err)
			}
			for _, key := range strings.Fields(string(text)) {
				t.say("%s", key)
			}
			return nil
		},
	}
}
