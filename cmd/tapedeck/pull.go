package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/snapshot"
	"github.com/tapedeck/tapedeck/snapshot/pull"
)

// podPrefix begins a source that is a pod, as kubectl get -o name writes it.
const podPrefix = "pod/"

// puller is the command with its flags.
type puller struct {
	cmd                *cobra.Command
	namespace, context string
	progress           *progress
}

// newPullCommand copies recordings and snapshots.
func newPullCommand() *cobra.Command {
	var p puller
	cmd := &cobra.Command{
		Use:   "pull SOURCE... DIR",
		Short: "Copy recordings and snapshots from pods or places into a directory",
		Long: `Copies recordings and snapshots into a directory, or into another place. A source is

  pod/NAME                        a pod: the recording of its sidecar, through kubectl
  -                               standard input: the output of tapedeck-proxy export
  PLACE                           a recording with its snapshots
  PLACE/snapshots/ID[@sha256:…]   one snapshot, which is verified

Run it again after an interruption, or to get newer recordings: it copies nothing twice. It copies an unfinished
segment as far as it is written, and the rest the next time.`,
		Example: `  tapedeck pull -n shop pod/cart-7d4b9-x2x recordings
  tapedeck pull -n shop $(kubectl get pods -n shop -l app=cart -o name) recordings
  tapedeck pull s3://recordings/prod recordings
  tapedeck pull s3://recordings/prod/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e recordings
  kubectl exec -n shop cart-7d4b9-x2x -c tapedeck-proxy -- /tapedeck-proxy export | tapedeck pull - recordings`,
		Args:        cobra.MinimumNArgs(2),
		Annotations: map[string]string{onSignal: cleansUp},
		RunE: func(cmd *cobra.Command, args []string) error {
			p.cmd, p.progress = cmd, newProgress(cmd.ErrOrStderr())
			defer p.progress.clear()
			return p.run(args[:len(args)-1], args[len(args)-1])
		},
	}
	cmd.Flags().StringVarP(&p.namespace, "namespace", "n", "", "namespace of the pods; for a place, copy only recordings of this namespace, and no snapshots")
	cmd.Flags().StringVar(&p.context, "context", "", "context of kubectl")
	return cmd
}

func (p *puller) run(sources []string, dest string) error {
	to, err := contract.ParsePlace(dest)
	if err != nil {
		return err
	}
	if _, isSnapshot, err := to.Snapshot(); err != nil || isSnapshot {
		return fmt.Errorf("%s: want a directory or a place, not a snapshot", to)
	}
	s, err := openPlace(p.cmd.Context(), to)
	if err != nil {
		return err
	}
	for _, source := range sources {
		into := pull.To{Store: s, Progress: func(s pull.Summary) {
			p.progress.show("%s: %d segments, %d snapshots, %s", clean.Text(source), s.Segments, s.Snapshots, snapshot.Size(s.Bytes))
		}}
		sum, err := p.from(source, to, into)
		p.progress.clear()
		if err != nil {
			return fmt.Errorf("pull %s: %w", source, err)
		}
		fmt.Fprintf(p.cmd.ErrOrStderr(), "%s: copied %d segments and %d snapshots, %s; %d were there already", clean.Text(source), sum.Segments, sum.Snapshots, snapshot.Size(sum.Bytes), sum.Known)
		if sum.Left > 0 {
			fmt.Fprintf(p.cmd.ErrOrStderr(), "; left out: %d other objects", sum.Left)
		}
		fmt.Fprintln(p.cmd.ErrOrStderr())
	}
	return nil
}

func (p *puller) from(source string, dest contract.Place, to pull.To) (pull.Summary, error) {
	ctx := p.cmd.Context()
	if source == "-" {
		if !piped(p.cmd) {
			return pull.Summary{}, errors.New("standard input is a terminal; want the output of tapedeck-proxy export")
		}
		return pull.Archive(ctx, p.cmd.InOrStdin(), to)
	}
	if pod, ok := strings.CutPrefix(source, podPrefix); ok {
		return p.pod(ctx, pod, to)
	}
	place, err := contract.ParsePlace(source)
	if err != nil {
		return pull.Summary{}, err
	}
	ref, isSnapshot, err := place.Snapshot()
	if err != nil {
		return pull.Summary{}, err
	}
	if isSnapshot {
		place = ref.Place
	}
	if err := snapshot.CheckPlaces(place, dest); err != nil {
		return pull.Summary{}, err
	}
	s, err := openPlace(ctx, place)
	if err != nil {
		return pull.Summary{}, err
	}
	if isSnapshot {
		pinned, sum, err := pull.Snapshot(ctx, s, ref.ID, ref.Digest, to)
		if err == nil {
			pinned.Place = dest
			fmt.Fprintln(p.cmd.OutOrStdout(), pinned)
		}
		return sum, err
	}
	var wanted func(recording.SegmentKey) bool
	if p.namespace != "" {
		wanted = func(k recording.SegmentKey) bool { return k.Namespace == recording.KeyPart(p.namespace) }
	}
	return pull.Place(ctx, s, to, wanted)
}

// pod copies the recording of a pod's sidecar, which kubectl exports.
func (p *puller) pod(ctx context.Context, name string, to pull.To) (pull.Summary, error) {
	args := []string{"exec", podPrefix + name, "--container=" + contract.Container}
	if p.namespace != "" {
		args = append(args, "--namespace="+p.namespace)
	}
	if p.context != "" {
		args = append(args, "--context="+p.context)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kubectl := exec.CommandContext(ctx, "kubectl", append(args, "--", contract.ProxyBinary, "export")...)
	out, err := kubectl.StdoutPipe()
	if err != nil {
		return pull.Summary{}, err
	}
	notes := &notes{}
	kubectl.Stderr, kubectl.WaitDelay = notes, time.Second
	if err := kubectl.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%w; or run kubectl elsewhere, and pipe the output of %s export into tapedeck pull - DIR", err, contract.ProxyBinary)
		}
		return pull.Summary{}, err
	}
	sum, err := pull.Archive(ctx, out, to)
	if err != nil { // kubectl ends by itself if it failed, but may never end if the archive was rejected
		defer time.AfterFunc(time.Second, cancel).Stop()
	}
	ended := kubectl.Wait()
	p.progress.clear()
	notes.print(p.cmd.ErrOrStderr(), podPrefix+name)
	switch {
	case err == nil && ended != nil:
		return sum, fmt.Errorf("kubectl: %w", ended)
	case err != nil && ended != nil && ctx.Err() == nil:
		return sum, fmt.Errorf("%w (kubectl: %w)", err, ended)
	}
	return sum, err
}

// notes keeps the beginning of kubectl's standard error.
type notes struct {
	text strings.Builder
	len  int
}

// maxNotes is how many bytes are kept.
const maxNotes = 16 << 10

// Write implements io.Writer.
func (n *notes) Write(p []byte) (int, error) {
	n.text.Write(p[:min(len(p), max(0, maxNotes-n.len))])
	n.len += len(p)
	return len(p), nil
}

// print writes the notes, cleaned so that they can't control the terminal.
func (n *notes) print(w io.Writer, who string) {
	lines := bufio.NewScanner(strings.NewReader(n.text.String()))
	for lines.Scan() {
		fmt.Fprintf(w, "%s: %s\n", clean.Text(who), clean.Text(lines.Text()))
	}
}
