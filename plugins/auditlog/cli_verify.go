package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"github.com/avhub/avhub/plugins/auditlog/verify"
	"github.com/spf13/cobra"
)

func (t *tool) verifyVerb() *cobra.Command {
	var since []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Judge a trail: is it what was signed, and is all of it there",
		Long: "Reads every entry, computes the tree anew, and holds it against the signed checkpoint.\n" +
			"Proves that the trail goes on from each checkpoint that was saved before. Looks for entries\n" +
			"that are missing in a stream. Says which trust its answer rests on.",
		Example: "  avhub-auditlog verify /var/lib/avhub/audit --key audit.pub --since last-year.checkpoint",
		Args:    cobra.ExactArgs(1),
	}
	t.keyFlag(cmd)
	cmd.Flags().StringArrayVar(&since, "since", nil, "a checkpoint `file` that was saved before; may be given again")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := placeOf(args[0])
		if err != nil {
			return err
		}
		opts := verify.Options{Progress: t.progress("verify")}
		if opts.Keys, opts.Pinned, err = t.verifiers(&p); err != nil {
			return err
		}
		for _, name := range since {
			raw, err := os.ReadFile(name)
			if err != nil {
				return fmt.Errorf("read a saved checkpoint: %w", err)
			}
			opts.Since = append(opts.Since, verify.Saved{From: filepath.Base(name), Raw: raw})
		}
		r, err := verify.Run(cmd.Context(), os.DirFS(p.log), opts)
		if err != nil {
			return fmt.Errorf("verify %s: %w", p.dir, err)
		}
		if asJSON {
			enc := json.NewEncoder(t.out)
			enc.SetIndent("", "  ")
			err = enc.Encode(r)
		} else {
			t.report(r)
		}
		if class := r.Class(); err == nil && class != verify.Fine {
			return verdict{int(class)}
		}
		return err
	}
	return cmd
}

// report tells a verdict to a person.
func (t *tool) report(r *verify.Report) {
	if r.Origin != "" {
		t.say("trail       %s", r.Origin)
		t.say("checkpoint  %d entries, root %s", r.Size, r.Root)
	}
	if r.From != nil {
		t.say("events      %d in %d streams, %s to %s", r.Kinds["event"], r.Streams, r.From.Format(time.DateTime), r.To.Format(time.DateTime))
	}
	yes := map[bool]string{true: "yes", false: "NO"}
	t.say("unmodified  %s", yes[r.Unmodified])
	t.say("complete    %s", yes[r.Complete])
	trust := map[string]string{
		"pinned key":               "a key that you gave",
		"key found beside the log": "the key that lies beside the log: whoever can write there could have changed both. Give the key by --key",
		"none":                     "nothing",
	}
	t.say("rests on    %s", trust[r.Trust])
	if r.Since > 0 {
		t.say("goes on     from %d saved checkpoint(s)", r.Since)
	} else {
		t.say("goes on     from nothing: without a checkpoint that you saved before (--since), a roll-back to an older state cannot be seen")
	}
	if len(r.Erased) > 0 {
		t.say("erased      %s", strings.Join(r.Erased, ", "))
	}
	if len(r.Conflicts) > 0 {
		t.say("conflicts   %d events came again and said something else; the first is entry %d", len(r.Conflicts), r.Conflicts[0])
	}
	for _, f := range r.Findings {
		t.say("%-11s %s", strings.ToUpper(f.Name), f.What)
	}
}

func (t *tool) proveVerb() *cobra.Command {
	var event, source, out string
	var index int64
	cmd := &cobra.Command{
		Use:   "prove DIR {--event ID | --index N} --out NAME",
		Short: "Write the proof that an entry is in the trail",
		Long: "Writes NAME.entry, the entry's bytes, and NAME.proof, a text that `check` judges with neither\n" +
			"the trail nor a network. The form of the proof is c2sp.org/tlog-proof.",
		Args: cobra.ExactArgs(1),
	}
	t.keyFlag(cmd)
	cmd.Flags().StringVar(&event, "event", "", "`id` of the event")
	cmd.Flags().StringVar(&source, "source", "", "`name` of the source, where two have an event of that id")
	cmd.Flags().Int64Var(&index, "index", -1, "`number` of the entry")
	cmd.Flags().StringVar(&out, "out", "", "`name` of the two files, without their endings (default: the entry's number)")
	cmd.MarkFlagsMutuallyExclusive("event", "index")
	cmd.MarkFlagsOneRequired("event", "index")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := placeOf(args[0])
		if err != nil {
			return err
		}
		head, raw, _, err := t.head(p)
		if err != nil {
			return err
		}
		if event != "" {
			if index, err = t.find(cmd.Context(), p, head, event, source); err != nil {
				return err
			}
		}
		data, proof, err := verify.WriteProof(p.files(), raw, head.Head, index)
		if err != nil {
			return t.damaged(err)
		}
		if out == "" {
			out = fmt.Sprintf("entry-%d", index)
		}
		for name, text := range map[string][]byte{out + ".entry": data, out + ".proof": proof} {
			if err := os.WriteFile(name, text, 0o600); err != nil {
				return fmt.Errorf("write the proof: %w", err)
			}
		}
		t.say("entry %d of %d: %s.entry and %s.proof", index, head.Size, out, out)
		t.say("check it anywhere: avhub-auditlog check %s.proof %s.entry --key PUBLIC-KEY", out, out)
		return nil
	}
	return cmd
}

// damaged gives what damage there is the exit code of damage.
func (t *tool) damaged(err error) error {
	var damage *tiles.Damage
	switch {
	case errors.As(err, &damage) && damage.Missing:
		fmt.Fprintf(t.err, "avhub-auditlog: INCOMPLETE: %s\n", err)
		return verdict{int(verify.Incomplete)}
	case errors.As(err, &damage), errors.Is(err, tiles.ErrFork):
		fmt.Fprintf(t.err, "avhub-auditlog: TAMPERED: %s\n", err)
		return verdict{int(verify.Tampered)}
	}
	return err
}

func (t *tool) checkVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check PROOF ENTRY --key K",
		Short: "Check the proof of an entry, with neither the trail nor a network",
		Args:  cobra.ExactArgs(2),
	}
	t.keyFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		proof, err := os.ReadFile(args[0])
		if err != nil {
			return fmt.Errorf("read the proof: %w", err)
		}
		data, err := os.ReadFile(args[1])
		if err != nil {
			return fmt.Errorf("read the entry: %w", err)
		}
		keys, _, err := t.verifiers(nil)
		if err != nil {
			return err
		}
		proved, err := verify.CheckProof(proof, data, keys...)
		switch {
		case errors.Is(err, verify.ErrUnknownKey), errors.Is(err, tiles.ErrSignature):
			fmt.Fprintf(t.err, "avhub-auditlog: NOT AUTHENTICATED: %s\n", err)
			return verdict{int(verify.NotAuthenticated)}
		case err != nil:
			fmt.Fprintf(t.err, "avhub-auditlog: TAMPERED: %s\n", err)
			return verdict{int(verify.Tampered)}
		}
		t.say("proved: it is entry %d of the trail %s, under the signed checkpoint over %d entries", proved.Index, proved.Head.Origin, proved.Head.Size)
		return nil
	}
	return cmd
}

func (t *tool) diffVerb() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "diff A.checkpoint B.checkpoint --dir DIR",
		Short: "Tell whether one checkpoint goes on from another, or the trail has forked",
		Args:  cobra.ExactArgs(2),
	}
	t.keyFlag(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "`folder` of the trail that has the later one")
	_ = cmd.MarkFlagRequired("dir")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		p, err := placeOf(dir)
		if err != nil {
			return err
		}
		keys, _, err := t.verifiers(&p)
		if err != nil {
			return err
		}
		var heads [2]tiles.Checkpoint
		for i, name := range args {
			raw, err := os.ReadFile(name)
			if err != nil {
				return fmt.Errorf("read a checkpoint: %w", err)
			}
			if heads[i], err = tiles.OpenCheckpoint(raw, keys...); err != nil || len(heads[i].Signers) == 0 {
				fmt.Fprintf(t.err, "avhub-auditlog: NOT AUTHENTICATED: %s: none of the known keys signed it, or it was changed\n", name)
				return verdict{int(verify.NotAuthenticated)}
			}
		}
		err = verify.Diff(p.files(), heads[0], heads[1])
		if errors.Is(err, tiles.ErrFork) {
			t.say("FORK: %s", err)
			for i, h := range heads {
				t.say("  %s: %s, %d entries, root %s, signed by %s", args[i], h.Origin, h.Size, h.Root, strings.Join(h.Signers, ", "))
			}
			t.say("Both are signed. Keep both files: together they prove that two histories were told.")
			return verdict{int(verify.Tampered)}
		}
		if err != nil {
			return fmt.Errorf("compare %s with %s by the trail in %s: %w", args[0], args[1], dir, err)
		}
		t.say("consistent: the checkpoint over %d entries goes on from the one over %d", max(heads[0].Size, heads[1].Size), min(heads[0].Size, heads[1].Size))
		return nil
	}
	return cmd
}
