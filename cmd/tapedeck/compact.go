package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/collector/compact"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/snapshot"
)

// compaction is the command with its flags.
type compaction struct {
	opts     compact.Options
	maxBytes string
}

// newCompactCommand rewrites small segments as large ones.
func newCompactCommand() *cobra.Command {
	var c compaction
	cmd := &cobra.Command{
		Use:   "compact PLACE",
		Short: "Rewrite the small segments of past hours as large ones",
		Long: `Merges the small segments of each workload and each past hour into a large one, and
deletes the small ones. Every exchange is kept, byte for byte. Compact doesn't touch
snapshots or files of other tools.

It can run at any time and several times at once, and it can be killed: tapedeck always
reads each exchange once. Other query engines see exchanges twice between the moment when
the large segment is stored and the moment when the small ones are deleted; docs/queries.md
says what to do. Compact names a segment that it can't read, keeps it, and exits with 6.`,
		Example: `  tapedeck compact s3://recordings/prod
  tapedeck compact --dry-run recordings
  tapedeck compact --older-than 24h --namespace shop s3://recordings/prod`,
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{onSignal: cleansUp},
		RunE:        func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&c.opts.OlderThan, "older-than", compact.DefaultOlderThan, "compact hours that ended at least this long ago; 0 includes the current hour. Segments that arrive later become another large one")
	flags.StringVar(&c.maxBytes, "max-bytes", "4Gi", "uncompressed size at which a large segment ends; at most 4Gi")
	flags.BoolVar(&c.opts.DryRun, "dry-run", false, "print what would be done, and change nothing")
	flags.StringSliceVar(&c.opts.Clusters, "cluster", nil, "only these clusters, separated by commas")
	flags.StringSliceVar(&c.opts.Namespaces, "namespace", nil, "only these namespaces")
	flags.StringSliceVar(&c.opts.Workloads, "workload", nil, "only these workloads")
	return cmd
}

func (c *compaction) run(cmd *cobra.Command, name string) error {
	o := c.opts
	switch size, err := contract.ParseSize(c.maxBytes); {
	case err != nil:
		return fmt.Errorf("--max-bytes: %w", err)
	case size < 1 || size > compact.DefaultMaxBytes:
		return fmt.Errorf("--max-bytes %s: want a size up to 4Gi", c.maxBytes)
	case o.OlderThan < 0:
		return fmt.Errorf("--older-than %s: want a duration such as 2h, or 0 for every hour", o.OlderThan)
	default:
		o.MaxBytes = size
	}
	if o.OlderThan == 0 {
		o.OlderThan = -time.Hour // includes the current hour
	}
	place, err := contract.ParsePlace(name)
	if err != nil {
		return err
	}
	if _, isSnapshot, err := place.Snapshot(); err != nil || isSnapshot || place.IsCollector() {
		return fmt.Errorf("%s: want a directory or a bucket, not a snapshot, which never changes, or a collector, which takes no writes from commands", place)
	}
	s, err := openPlace(cmd.Context(), place)
	if err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.clear()
	o.Progress = func(s compact.Summary) {
		p.show("%d partitions: %d segments of %s became %d", s.Partitions, s.Sources, snapshot.Size(s.Before), s.Large)
	}
	sum, err := compact.Run(cmd.Context(), s, o)
	p.clear()
	c.print(cmd, sum)
	if errors.Is(err, compact.ErrDamaged) {
		return &codedError{codeIncomplete, err}
	}
	return err
}

// print says what was done.
func (c *compaction) print(cmd *cobra.Command, s compact.Summary) {
	for _, l := range s.Left {
		fmt.Fprintf(cmd.ErrOrStderr(), "left unchanged: %s: %s\n", clean.Text(l.Key), clean.Text(l.Err.Error()))
	}
	out := cmd.OutOrStdout()
	if c.opts.DryRun {
		fmt.Fprintf(out, "%d of %d partitions: %d segments of %s would become large ones; %d that are in large ones already would be deleted\n", s.Compacted, s.Partitions, s.Sources, snapshot.Size(s.Before), s.Deleted)
		return
	}
	fmt.Fprintf(out, "%d of %d partitions: %d segments of %s became %d of %s, with %d exchanges; %d were deleted", s.Compacted, s.Partitions, s.Sources, snapshot.Size(s.Before), s.Large, snapshot.Size(s.After), s.Exchanges, s.Deleted)
	if s.Busy > 0 {
		fmt.Fprintf(out, "; %d partitions were changed by something else meanwhile", s.Busy)
	}
	fmt.Fprintln(out)
}
