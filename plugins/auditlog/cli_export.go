package main

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/avhub/avhub/plugins/auditlog/export"
	"github.com/spf13/cobra"
)

func (t *tool) exportVerb() *cobra.Command {
	var q query
	var format string
	var every int
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write entries for another system: JSON lines, OCSF, CEF or syslog",
		Long: "Writes one record for each entry, oldest first, to standard output. Each record carries the\n" +
			"trail's name, the entry's number and its leaf hash; JSON formats also carry the signed\n" +
			"checkpoint now and then, so that the copy can be held against the trail.",
		Args: cobra.ExactArgs(1),
	}
	t.keyFlag(cmd)
	q.flags(cmd)
	q.unsealFlags(cmd)
	cmd.Flags().StringVar(&format, "format", "jsonl", "`form` of the records: jsonl, ocsf, cef or syslog")
	cmd.Flags().IntVar(&every, "checkpoint-every", 1000, "records between two signed checkpoints, in jsonl and ocsf")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if err := q.parse(); err != nil {
			return err
		}
		render, ok := export.Formats[format]
		if !ok || every < 1 {
			return fmt.Errorf("--format takes jsonl, ocsf, cef or syslog, and --checkpoint-every a positive number")
		}
		p, err := placeOf(args[0])
		if err != nil {
			return err
		}
		open, err := t.unsealed(cmd.Context(), p, q, "export as "+format)
		if err != nil {
			return err
		}
		head, raw, _, err := t.head(p)
		if err != nil {
			return err
		}
		w := bufio.NewWriter(t.out)
		defer func() { err = errors.Join(err, w.Flush()) }()
		n := 0
		write := func(r export.Record) error {
			line, err := render(r)
			if err != nil || line == nil {
				return err
			}
			_, err = w.Write(append(line, '\n'))
			return err
		}
		err = t.entries(cmd.Context(), p, head, q, func(f found) error {
			if open != nil {
				reveal(open, f.Entry)
			}
			n++
			r := export.Record{Origin: head.Origin, Index: f.Index, Raw: f.raw, Entry: f.Entry, Revealed: open != nil}
			if n%every == 0 {
				r.Checkpoint = string(raw)
			}
			return write(r)
		})
		if err != nil {
			return err
		}
		return write(export.Record{Origin: head.Origin, Index: head.Size, Checkpoint: string(raw)})
	}
	return cmd
}
