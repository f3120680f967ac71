package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/verify"
	"github.com/spf13/cobra"
)

const bundleReadme = `Entries of the audit trail %s, each with the proof that it is in the trail.

  entries/N.entry    the bytes of entry N, JSON
  entries/N.proof    the proof (c2sp.org/tlog-proof), with the signed checkpoint in it
  checkpoint         the signed checkpoint over %d entries
  auditor.py         a program that checks it all, Python 3 with nothing installed

To check everything, unpack it and run

  python3 auditor.py bundle . --key PUBLIC-KEY

The public key is not in here: ask for it another way than this file came. What
stands as "sealed" is personal, and cannot be read here.
`

func (t *tool) bundleVerb() *cobra.Command {
	var q query
	var out string
	cmd := &cobra.Command{
		Use:     "bundle DIR --out FILE.tar",
		Short:   "Pack chosen entries with their proofs, and a program that checks them",
		Example: "  avhub-auditlog bundle /var/lib/avhub/audit --tenant tnt_1 --from 2026-01-01 --to 2026-04-01 --out q1.tar",
		Args:    cobra.ExactArgs(1),
	}
	t.keyFlag(cmd)
	q.flags(cmd)
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; it must not be there yet")
	_ = cmd.MarkFlagRequired("out")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if err := q.parse(); err != nil {
			return err
		}
		p, err := placeOf(args[0])
		if err != nil {
			return err
		}
		head, raw, _, err := t.head(p)
		if err != nil {
			return err
		}
		var chosen []int64
		err = t.entries(cmd.Context(), p, head, q, func(f found) error {
			chosen = append(chosen, f.Index)
			return nil
		})
		if err != nil {
			return err
		}
		if len(chosen) == 0 {
			return errors.New("no entry is like that, so there is nothing to pack")
		}
		f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
		defer func() {
			if err = errors.Join(err, f.Close()); err != nil {
				_ = os.Remove(out)
			}
		}()
		w := tar.NewWriter(f)
		files := []struct {
			name string
			data []byte
		}{
			{"README.txt", fmt.Appendf(nil, bundleReadme, head.Origin, head.Size)}, {"checkpoint", raw}, {"auditor.py", verify.Auditor},
		}
		for _, file := range files {
			if err := put(w, file.name, file.data); err != nil {
				return err
			}
		}
		for _, i := range chosen {
			data, proof, err := verify.WriteProof(p.files(), raw, head.Head, i)
			if err != nil {
				return t.damaged(err)
			}
			if err := errors.Join(put(w, fmt.Sprintf("entries/%d.entry", i), data), put(w, fmt.Sprintf("entries/%d.proof", i), proof)); err != nil {
				return err
			}
		}
		if err := w.Close(); err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
		t.say("%d of %d entries, each with its proof: %s", len(chosen), head.Size, out)
		return nil
	}
	return cmd
}

// put adds a file. Times are left out, so that one question has one bundle.
func put(w *tar.Writer, name string, data []byte) error {
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0)})
	if err == nil {
		_, err = io.Copy(w, strings.NewReader(string(data)))
	}
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}
