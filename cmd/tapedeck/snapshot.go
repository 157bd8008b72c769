package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/terminal"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/snapshot"
)

// newSnapshotCommand groups the commands for snapshots.
func newSnapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Make, list, show, verify and delete immutable selections of exchanges",
		Long: `A snapshot is an immutable selection of recorded exchanges, in the folder snapshots/ID of a place. Its pin,
ID@sha256:DIGEST, identifies every byte of it; keep the pin in git. Every command that reads a snapshot verifies the pin.`,
		Example: `  tapedeck snapshot create --from s3://recordings/prod --namespace shop --since 1h
  tapedeck snapshot list s3://recordings/prod
  tapedeck snapshot verify s3://recordings/prod/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e@sha256:…`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSnapshotCreateCommand(), newSnapshotListCommand(), newSnapshotShowCommand(), newSnapshotVerifyCommand(), newSnapshotDeleteCommand())
	return cmd
}

// outputs are the forms in which snapshots and runs are printed; the first is the default.
var outputs = []string{"text", "json"}

// outputFlag adds the flag that chooses between them.
func outputFlag(cmd *cobra.Command, value *string) {
	cmd.Flags().StringVarP(value, "output", "o", outputs[0], "how to print: "+strings.Join(outputs, " or "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp))
}

// checkOutput rejects other values.
func checkOutput(value string) error {
	if !slices.Contains(outputs, value) {
		return fmt.Errorf("output %q: want %s", value, strings.Join(outputs, " or "))
	}
	return nil
}

func newSnapshotCreateCommand() *cobra.Command {
	var s selection
	var from, to string
	var keep []string
	cmd := &cobra.Command{
		Use:   "create --from PLACE [--to PLACE]",
		Short: "Make a snapshot, and print its pinned reference",
		Long: `Makes a snapshot of the exchanges that the flags select, and prints its reference: PLACE/snapshots/ID@sha256:DIGEST.

Some exchanges are useless in a replay. Snapshot create leaves them out and counts them; --keep keeps them:

` + rulesHelp(),
		Example: `  tapedeck snapshot create --from s3://recordings/prod --namespace shop --workload cart --since 1h
  tapedeck snapshot create --from recordings --direction in --exclude "path=/admin/*" --to s3://snapshots
  tapedeck snapshot create --from recordings --keep probes,telemetry
  tapedeck snapshot create --from page.har --to snapshots
  tapedeck snapshot create --from recordings/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e --path /cart --to recordings`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{onSignal: cleansUp},
		RunE: func(cmd *cobra.Command, _ []string) error {
			sel, err := s.parse(time.Now())
			if err != nil {
				return err
			}
			return createSnapshot(cmd, from, to, sel, snapshot.Options{Keep: keep})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "`place`, snapshot or file that the exchanges are read from")
	flags.StringVar(&to, "to", "", "`place` that the snapshot is written to; the default is --from")
	flags.StringSliceVar(&keep, "keep", nil, "keep exchanges that these rules would leave out: "+strings.Join(ruleNames(), ", "))
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.RegisterFlagCompletionFunc("keep", cobra.FixedCompletions(ruleNames(), cobra.ShellCompDirectiveNoFileComp))
	s.register(cmd)
	return cmd
}

// rulesHelp describes the rules that leave exchanges out.
func rulesHelp() string {
	var b strings.Builder
	for _, r := range snapshot.Rules() {
		fmt.Fprintf(&b, "  %-11s %s\n", r.Name, r.Doc)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func ruleNames() (names []string) {
	for _, r := range snapshot.Rules() {
		names = append(names, r.Name)
	}
	return names
}

// placesOf reads the places of a command that reads from one and writes to another.
func placesOf(from, to string) (source, dest contract.Place, err error) {
	if source, err = contract.ParsePlace(from); err != nil {
		return source, dest, err
	}
	ref, isSnapshot, err := source.Snapshot()
	if err != nil {
		return source, dest, err
	}
	if dest = source; isSnapshot {
		dest = ref.Place
	}
	if to != "" {
		if dest, err = contract.ParsePlace(to); err != nil {
			return source, dest, err
		}
	}
	if _, isSnapshot, err := dest.Snapshot(); err != nil || isSnapshot {
		return source, dest, fmt.Errorf("--to %s: want a place, not a snapshot, which never changes", dest)
	}
	return source, dest, snapshot.CheckPlaces(source, dest)
}

// createSnapshot makes a snapshot, and prints its summary and its reference.
func createSnapshot(cmd *cobra.Command, from, to string, sel snapshot.Selection, o snapshot.Options) error {
	source, dest, err := placesOf(from, to)
	if err != nil {
		return err
	}
	if to == "" && isFile(from) {
		return fmt.Errorf("--to: want a place for the snapshot, as %s is a file", from)
	}
	ctx := cmd.Context()
	s, parent, err := openFrom(ctx, source, from)
	if err != nil {
		return err
	}
	d, err := openPlace(ctx, dest)
	if err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.clear()
	sel.Read.Foreign = convert.Files{}
	sel.Read.Progress = func(done, all int) { p.show("read %d of %d segments", done, all) }
	o.Progress = func(came, taken int64) { p.show("wrote %d exchanges", taken) }
	o.Version = buildVersion()
	in, err := snapshot.Select(ctx, source, s, parent, sel)
	if err != nil {
		return err
	}
	ref, m, err := snapshot.Create(ctx, d, in, o)
	if err != nil {
		return damaged(err)
	}
	p.clear()
	ref.Place = dest
	if err := snapshot.Show(cmd.ErrOrStderr(), ref, m); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), ref)
	return err
}

// damaged gives the error of a damaged recording its exit code.
func damaged(err error) error {
	if errors.Is(err, read.ErrDamaged) || errors.Is(err, snapshot.ErrTampered) {
		return &codedError{codeIncomplete, err}
	}
	return err
}

func newSnapshotListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list PLACE",
		Short: "List the snapshots in a place, the oldest first",
		Example: `  tapedeck snapshot list recordings
  tapedeck snapshot list -o json s3://recordings/prod | jq -r .ref`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			root, err := contract.ParsePlace(args[0])
			if err != nil {
				return err
			}
			s, err := openPlace(cmd.Context(), root)
			if err != nil {
				return err
			}
			all, err := snapshot.List(cmd.Context(), s)
			if err != nil {
				return err
			}
			if output == "text" {
				return snapshot.Table(cmd.OutOrStdout(), all)
			}
			for _, l := range all {
				l.Ref.Place = root
				if err := snapshot.JSON(cmd.OutOrStdout(), l.Ref, l.Manifest, l.Err); err != nil {
					return err
				}
			}
			return nil
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// named is the flag and the argument that name a snapshot.
type named struct{ place string }

// register adds the flag, and completes IDs if the place is given.
func (n *named) register(cmd *cobra.Command) {
	cmd.Use += " SNAPSHOT"
	cmd.Args = cobra.ExactArgs(1)
	cmd.Long = cmd.Short + ".\n\nSNAPSHOT is PLACE/snapshots/ID, or ID with --place. If @sha256:DIGEST follows the ID, it is checked."
	cmd.Flags().StringVar(&n.place, "place", "", "`place` of a snapshot that is named by its ID alone")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		root, err := contract.ParsePlace(n.place)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		s, err := openPlace(cmd.Context(), root)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		all, err := snapshot.List(cmd.Context(), s)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var ids []string
		for _, l := range all {
			ids = append(ids, l.Ref.String())
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

// open opens the store of the place of the snapshot that the argument names.
func (n *named) open(ctx context.Context, text string) (contract.SnapshotRef, store.Store, error) {
	ref, err := contract.ParseSnapshotRef(text)
	if err != nil {
		return ref, nil, err
	}
	switch {
	case ref.Place == (contract.Place{}) && n.place == "":
		return ref, nil, fmt.Errorf("snapshot %s: name its place, with --place PLACE or as PLACE/%s/%s", ref.ID, contract.SnapshotsDir, ref.ID)
	case ref.Place != (contract.Place{}) && n.place != "":
		return ref, nil, fmt.Errorf("snapshot %s: it has a place already; want only an ID with --place", ref)
	case n.place != "":
		if ref.Place, err = contract.ParsePlace(n.place); err != nil {
			return ref, nil, err
		}
	}
	s, err := openPlace(ctx, ref.Place)
	return ref, s, err
}

func newSnapshotShowCommand() *cobra.Command {
	var n named
	var output string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show where a snapshot came from, what it contains and what it leaves out",
		Example: `  tapedeck snapshot show recordings/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e
  tapedeck snapshot show --place s3://recordings/prod -o json 0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			ref, s, err := n.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			o, err := snapshot.Open(cmd.Context(), s, ref.ID, ref.Digest)
			if err != nil {
				return err
			}
			ref.Digest = o.Digest
			if output == "json" {
				return snapshot.JSON(cmd.OutOrStdout(), ref, &o.Manifest, nil)
			}
			return snapshot.Show(cmd.OutOrStdout(), ref, &o.Manifest)
		},
	}
	n.register(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func newSnapshotVerifyCommand() *cobra.Command {
	var n named
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read all of a snapshot and compare it with its hashes and its pin",
		Example: `  tapedeck snapshot verify s3://recordings/prod/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e@sha256:…
  tapedeck snapshot verify --place recordings 0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, s, err := n.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			p := newProgress(cmd.ErrOrStderr())
			defer p.clear()
			read := int64(0)
			o, err := snapshot.Verify(cmd.Context(), s, ref.ID, ref.Digest, func(bytes int64) {
				read += bytes
				p.show("verified %s", snapshot.Size(read))
			})
			if err != nil {
				return err
			}
			p.clear()
			pinned := ref.Digest != ""
			ref.Digest = o.Digest
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", ref)
			fmt.Fprintf(cmd.ErrOrStderr(), "%d files, %s: all as in %s\n", len(o.Files), snapshot.Size(o.Bytes()), snapshot.ManifestName)
			if !pinned {
				fmt.Fprintln(cmd.ErrOrStderr(), "note: without a pin, this shows that the snapshot is whole, but not that it is the one you mean")
			}
			return nil
		},
	}
	n.register(cmd)
	return cmd
}

func newSnapshotDeleteCommand() *cobra.Command {
	var n named
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Delete a snapshot, or what is left of one that was interrupted",
		Example: `  tapedeck snapshot delete recordings/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e
  tapedeck snapshot delete --yes --place s3://recordings/prod 0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, s, err := n.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := confirm(cmd, fmt.Sprintf("Delete %s for good?", ref)); err != nil {
					return err
				}
			}
			files, err := snapshot.Delete(cmd.Context(), s, ref.ID, ref.Digest)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "deleted %s: %d files\n", ref, files)
			return nil
		},
	}
	n.register(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask for confirmation")
	return cmd
}

// confirm asks a person at a terminal. It returns an error unless the answer is yes.
func confirm(cmd *cobra.Command, question string) error {
	if piped(cmd) || !terminal.Is(cmd.ErrOrStderr()) {
		return errors.New("can't ask for confirmation, because this is not a terminal: --yes skips the question")
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("not deleted")
	}
	return nil
}
