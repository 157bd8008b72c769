package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
	"github.com/tapedeck/tapedeck/recording/rewrite"
	"github.com/tapedeck/tapedeck/snapshot"
)

// redaction is the command with its flags.
type redaction struct {
	rules, from, to, keyFile string
	dryRun, allowDamaged     bool
}

// newRedactCommand rewrites recordings and snapshots by rules.
func newRedactCommand() *cobra.Command {
	var r redaction
	cmd := &cobra.Command{
		Use:   "redact --rules FILE --from PLACE|SNAPSHOT --to PLACE",
		Short: "Copy a recording or a snapshot, with data removed or redacted by rules",
		Long: `Copies a recording, a snapshot or a file of another tool to another place, and applies rules that remove exchanges, and
redact, replace or drop values. The copy of a snapshot is a new snapshot, whose reference is printed. The source doesn't
change. docs/snapshots.md describes the rules, and how to erase a person's data.`,
		Example: `  tapedeck redact --rules rules.yaml --from s3://recordings/prod --dry-run
  tapedeck redact --rules rules.yaml --from s3://recordings/prod --to s3://recordings/prod-2
  tapedeck redact --rules rules.yaml --key-file key --from recordings/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e --to recordings`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{onSignal: cleansUp},
		RunE:        func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&r.rules, "rules", "", "YAML `file` with the rules")
	flags.StringVar(&r.from, "from", "", "`place`, snapshot or file to read")
	flags.StringVar(&r.to, "to", "", "`place` to write to; for a snapshot, the default is its place")
	flags.StringVar(&r.keyFile, "key-file", "", "`file` with the key for tokens; the same key gives the same tokens. The default is a random key")
	flags.BoolVar(&r.dryRun, "dry-run", false, "print what the rules would do, and write nothing")
	flags.BoolVar(&r.allowDamaged, "allow-damaged", false, "read the readable parts of a damaged recording")
	_ = cmd.MarkFlagRequired("rules")
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.MarkFlagFilename("rules", "yaml", "yml", "json")
	_ = cmd.MarkFlagFilename("key-file")
	return cmd
}

func (r *redaction) run(cmd *cobra.Command) error {
	text, err := os.ReadFile(r.rules)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	rules, err := rewrite.Parse(text)
	if err != nil {
		return fmt.Errorf("rules %s: %w", r.rules, err)
	}
	key, err := r.key()
	if err != nil {
		return err
	}
	source, dest, err := placesOf(r.from, r.to)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	s, parent, err := openFrom(ctx, source, r.from)
	if err != nil {
		return err
	}
	if parent == nil && !r.dryRun {
		if r.to == "" {
			return errors.New("--to: want a place for the new recording")
		}
		if source.Contains(dest) {
			return errors.New("--to: want a place other than the one that is read")
		}
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.clear()
	sel := snapshot.Selection{AllowDamaged: r.allowDamaged}
	sel.Read.Foreign = convert.Files{}
	sel.Read.Progress = func(done, all int) { p.show("read %d of %d segments", done, all) }
	in, err := snapshot.Select(ctx, source, s, parent, sel)
	if err != nil {
		return err
	}
	w := rewrite.New(rules, redact.NewTokens(key))
	defer w.Close()
	in = in.Through(w)
	in.Nothing = func() string { return fmt.Sprintf("the rules remove all %d", w.Report().Read) }
	if r.dryRun {
		for _, err := range in.Exchanges {
			if err != nil {
				return damaged(err)
			}
			p.show("looked at %d exchanges", w.Report().Read)
		}
		p.clear()
		report := w.Report()
		return report.Show(cmd.OutOrStdout())
	}
	facts := in.Facts
	in.Facts = func() snapshot.Facts { return withKey(facts(), w.Report(), key) }
	d, err := openPlace(ctx, dest)
	if err != nil {
		return err
	}
	ref, m, err := snapshot.Create(ctx, d, in, snapshot.Options{
		Version: buildVersion(), Everything: true, Recording: parent == nil,
		Progress: func(_, taken int64) { p.show("wrote %d exchanges", taken) },
	})
	if err != nil {
		return damaged(err)
	}
	p.clear()
	report := w.Report()
	if err := report.Show(cmd.ErrOrStderr()); err != nil {
		return err
	}
	if report.Tokens > 0 && r.keyFile == "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "note: tokens were made with a random key, so they match no other tokens; to make them match, give --key-file")
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "wrote %d exchanges in %d files, %s, to %s\n", m.Exchanges, len(m.Files), snapshot.Size(m.Bytes()), dest)
	if parent != nil {
		ref.Place = dest
		_, err = fmt.Fprintln(cmd.OutOrStdout(), ref)
	}
	return err
}

// key returns the key for tokens.
func (r *redaction) key() ([]byte, error) {
	if r.keyFile == "" {
		key := make([]byte, 32)
		_, err := rand.Read(key)
		return key, err
	}
	text, err := os.ReadFile(r.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, err := contract.ParseRedactKey(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", r.keyFile, err)
	}
	return key, nil
}

// withKey adds the ID of the key with which tokens were made.
func withKey(f snapshot.Facts, report rewrite.Report, key []byte) snapshot.Facts {
	if report.Tokens == 0 {
		return f
	}
	id := contract.RedactKeyID(key)
	f.RedactKeys = append(f.RedactKeys, id)
	own := recording.Counters{Pod: recording.MergedPod, Process: snapshot.NewID(), RedactKey: id}
	f.Processes = append(f.Processes, snapshot.Process{Counters: own})
	return f
}
