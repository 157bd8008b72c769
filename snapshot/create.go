package snapshot

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/columns"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Defaults of [Options].
const (
	// DefaultFileBytes is small, because a reader holds a whole file in memory to check it.
	DefaultFileBytes = 16 << 20
	// maxOpen is how many files are written at the same time: one for each workload.
	maxOpen = 500
	// firstNumber begins the names of files, so that they sort by their numbers.
	firstNumber = 1_000_000
	// cleanTime bounds the removal of an unfinished snapshot.
	cleanTime = 30 * time.Second
)

// Input is the source of a snapshot.
type Input struct {
	// From describes the source. Create fills in the counts.
	From From
	// Exchanges are in the order of their start. Conversations that were recorded in parts are
	// joined. An error ends the snapshot.
	Exchanges iter.Seq2[*recording.Exchange, error]
	// Facts is called after the last exchange.
	Facts func() Facts
	// Nothing, if not nil, describes what was read if there were no exchanges.
	Nothing func() string
}

// Facts describe an input after all of it was read.
type Facts struct {
	// Capture sums up the counters of the recording processes.
	Capture Capture
	// Pods are [Manifest.Pods].
	Pods []Pod
	// RedactKeys are the IDs of their keys, in any order.
	RedactKeys []string
	// Findings are [From.Findings].
	Findings map[string]uint64
	// Processes are the recording processes; only used for a recording.
	Processes []Process
}

// Process has the counters of a recording process.
type Process struct {
	// Partition is the process's, without the hour.
	recording.Partition
	recording.Counters
}

// Options of [Create]. Zero values mean the defaults.
type Options struct {
	// Version is the program's version.
	Version string
	// Keep names the rules to disable.
	Keep []string
	// Everything disables all rules, and doesn't count their matches.
	Everything bool
	// Recording makes a recording at the root of the place, which must have none yet,
	// instead of a snapshot. Its first object is read.BeginMark, its manifest is called
	// read.EndMark, and counters come from Facts.Processes.
	Recording bool
	// FileBytes is the size at which a file ends, before compression.
	FileBytes int64
	// Progress is called after each exchange with the numbers of read and of selected ones.
	Progress func(came, taken int64)
}

// layout has the names and folders of the files of a snapshot or of a recording.
type layout struct{ prefix, manifest string }

// ErrNothing means that no exchange is left to make a snapshot of.
var ErrNothing = errors.New("no exchanges")

// Create makes a snapshot in the store, below contract.SnapshotsDir, and returns its
// reference, pinned and without a place. If it fails, it removes its files; if that
// fails too, the error says so.
func Create(ctx context.Context, dest store.Store, in Input, o Options) (contract.SnapshotRef, *Manifest, error) {
	c, err := newCreator(dest, in, o)
	if err != nil {
		return contract.SnapshotRef{}, nil, err
	}
	if o.Recording {
		if err := c.checkEmpty(ctx); err != nil {
			return contract.SnapshotRef{}, nil, err
		}
	}
	ref := contract.SnapshotRef{ID: c.ID}
	if ref.Digest, err = c.create(ctx, in); err != nil {
		what := "snapshot"
		if o.Recording {
			what = "recording"
		}
		return contract.SnapshotRef{}, nil, errors.Join(fmt.Errorf("make %s: %w", what, err), c.undo(ctx))
	}
	return ref, &c.Manifest, nil
}

type creator struct {
	Manifest
	dest store.Store
	layout
	opts  Options
	rules *ruleSet
	enc   recording.Encoder
	zstd  *zstd.Encoder
	line  []byte
	open  map[recording.Partition]*file
	next  int      // number of the next file
	put   []string // keys, in the order in which they were stored

	directions, protocols, workloads, hosts tally
}

func newCreator(dest store.Store, in Input, o Options) (*creator, error) {
	rules, err := newRuleSet(o.Keep)
	if err != nil {
		return nil, err
	}
	o.FileBytes = cmp.Or(o.FileBytes, DefaultFileBytes)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	id := NewID().String()
	l := layout{keyOf(id, ""), ManifestName}
	if o.Recording {
		l = layout{"", read.EndMark}
	}
	return &creator{
		Manifest: Manifest{Format: Format, Version: o.Version, ID: id, Created: time.Now().UTC(), From: in.From}, layout: l,
		dest: dest, opts: o, rules: rules, zstd: enc, open: map[recording.Partition]*file{}, next: firstNumber,
	}, nil
}

// NewID returns a random UUID (RFC 9562 section 5.4).
func NewID() (u recording.UUID) {
	rand.Read(u[:])
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

func (c *creator) create(ctx context.Context, in Input) (digest string, err error) {
	defer func() {
		for _, f := range c.open {
			discard(f.lines)
		}
	}()
	for e, err := range in.Exchanges {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = c.see(ctx, e)
		}
		if err != nil {
			return "", err
		}
	}
	if err := c.finish(ctx, c.byKey()...); err != nil {
		return "", err
	}
	if c.Exchanges == 0 {
		return "", c.nothing(in)
	}
	return c.commit(ctx, in)
}

// see adds an exchange, unless a rule leaves it out.
func (c *creator) see(ctx context.Context, e *recording.Exchange) error {
	c.From.Selected++
	if c.opts.Everything || !c.rules.leavesOut(e) {
		if err := c.take(ctx, e); err != nil {
			return err
		}
	}
	if c.opts.Progress != nil {
		c.opts.Progress(c.From.Selected, c.Exchanges)
	}
	return nil
}

func (c *creator) take(ctx context.Context, e *recording.Exchange) error {
	ts := e.TS.UTC()
	switch {
	case c.Exchanges == 0:
		c.First = ts
	case ts.Before(c.Last):
		return fmt.Errorf("exchange %s is out of order", e.UUID)
	}
	c.Last = ts
	c.Exchanges++
	if e.Truncated() {
		c.Cut++
	}
	part := recording.Partition{Cluster: e.Cluster, Namespace: e.Namespace, Workload: e.Service, Hour: ts.Truncate(time.Hour)}
	c.count(e, part)
	f, err := c.fileOf(ctx, part)
	if err != nil {
		return err
	}
	c.line = append(c.enc.Append(c.line[:0], e), '\n')
	if err := f.write(c.line); err != nil {
		return fmt.Errorf("write a temporary file: %w", err)
	}
	if f.size >= c.opts.FileBytes {
		return c.finish(ctx, f)
	}
	return nil
}

func (c *creator) count(e *recording.Exchange, p recording.Partition) {
	c.directions.add(e.Direction)
	c.protocols.add(e.L7Protocol)
	c.workloads.add(recording.KeyPart(p.Cluster) + "/" + recording.KeyPart(p.Namespace) + "/" + recording.KeyPart(p.Workload))
	c.hosts.add(e.Host())
}

// fileOf returns the file for the next exchange of a partition.
func (c *creator) fileOf(ctx context.Context, p recording.Partition) (*file, error) {
	if f := c.open[p]; f != nil {
		return f, nil
	}
	// Exchanges come in order, so files of earlier hours are complete.
	var past []*file
	for _, f := range c.byKey() {
		if f.part.Hour.Before(p.Hour) {
			past = append(past, f)
		}
	}
	if len(past) == 0 && len(c.open) == maxOpen {
		past = []*file{slices.MaxFunc(c.byKey(), func(a, b *file) int { return cmp.Compare(a.size, b.size) })}
	}
	if err := c.finish(ctx, past...); err != nil {
		return nil, err
	}
	f, err := newFile(p, c.nextKey(p, recording.MergedPod))
	if err != nil {
		return nil, fmt.Errorf("begin a temporary file: %w", err)
	}
	c.open[p] = f
	return f, nil
}

func (c *creator) nextKey(p recording.Partition, pod string) string {
	c.next++
	return recording.SegmentKey{Partition: p, Began: c.Last, Pod: pod, Number: c.next - 1}.String()
}

func (c *creator) byKey() []*file {
	var all []*file
	for _, f := range c.open {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *file) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// finish ends files and stores them.
func (c *creator) finish(ctx context.Context, files ...*file) error {
	for _, f := range files {
		if c.opts.Recording && c.put == nil {
			if err := c.begin(ctx); err != nil {
				return err
			}
		}
		packed, err := f.compress(c.zstd)
		if err != nil {
			return fmt.Errorf("write a temporary file: %w", err)
		}
		err = c.store(ctx, f.Key, packed)
		discard(packed)
		if err != nil {
			return err
		}
		c.Files = append(c.Files, f.File)
		discard(f.lines)
		delete(c.open, f.part)
	}
	return nil
}

func (c *creator) store(ctx context.Context, name string, body io.ReadSeeker) error {
	key := c.prefix + name
	// Equal bytes under the key are from an attempt whose answer was lost.
	err := store.PutOnce(ctx, c.dest, key, body)
	if !errors.Is(err, fs.ErrExist) { // after other errors the file may have been stored
		c.put = append(c.put, key)
	}
	return err
}

// commit writes the manifest, which completes the snapshot.
func (c *creator) commit(ctx context.Context, in Input) (digest string, err error) {
	facts := Facts{}
	if in.Facts != nil {
		facts = in.Facts()
	}
	err = c.add(ctx, columns.Name, columns.File())
	if c.opts.Recording {
		if errors.Is(err, fs.ErrExist) { // written by another version
			err = nil
		}
		err = errors.Join(err, c.processes(ctx, facts.Processes))
	}
	if err != nil {
		return "", err
	}
	slices.SortFunc(c.Files, func(a, b File) int { return strings.Compare(a.Key, b.Key) })
	c.Capture, c.Pods, c.From.Findings = facts.Capture, facts.Pods, facts.Findings
	c.RedactKeys = slices.Compact(slices.Sorted(slices.Values(facts.RedactKeys)))
	if c.LeftOut = c.rules.counts; c.opts.Everything {
		c.LeftOut = []RuleCount{}
	}
	c.Counts.Directions, _ = c.directions.most()
	c.Counts.Protocols, _ = c.protocols.most()
	c.Counts.Workloads, c.Counts.Rest.Workloads = c.workloads.most()
	c.Counts.Hosts, c.Counts.Rest.Hosts = c.hosts.most()
	manifest, digest, err := c.encode()
	if err != nil {
		return "", err
	}
	if _, err := ParseManifest(manifest); err != nil { // otherwise Open would fail
		return "", fmt.Errorf("%s: %w", c.manifest, err)
	}
	return digest, c.store(ctx, c.manifest, bytes.NewReader(manifest))
}

// add stores a file other than exchanges.
func (c *creator) add(ctx context.Context, name string, text []byte) error {
	if err := c.store(ctx, name, bytes.NewReader(text)); err != nil {
		return err
	}
	c.Files = append(c.Files, File{Key: name, Bytes: int64(len(text)), SHA256: digestOf(text)})
	return nil
}

// processes stores the counters of the recording processes, in one segment each.
func (c *creator) processes(ctx context.Context, all []Process) error {
	for _, p := range all {
		p.Hour = c.Last
		line := p.AppendLine(nil, p.Partition.Cluster, p.Partition.Namespace, p.Workload)
		if err := c.add(ctx, c.nextKey(p.Partition, p.Pod), c.zstd.EncodeAll(line, nil)); err != nil {
			return err
		}
	}
	return nil
}

// begin stores the first mark of a recording. The ID in it prevents two writers from using the same
// place.
func (c *creator) begin(ctx context.Context) error {
	mark, err := json.Marshal(map[string]string{"id": c.ID, "created": c.Created.Format(time.RFC3339)})
	if err != nil {
		return err
	}
	return c.store(ctx, read.BeginMark, bytes.NewReader(mark))
}

// checkEmpty rejects a place that has a recording, or a part of one.
func (c *creator) checkEmpty(ctx context.Context) error {
	unfinished, err := read.IsUnfinished(ctx, c.dest)
	if err != nil {
		return err
	}
	if unfinished {
		return fmt.Errorf("the place has an unfinished recording: %s is there and %s is not. Remove what is left of it, unless it is still being written, or name another place", read.BeginMark, read.EndMark)
	}
	for folder, err := range c.dest.Folders(ctx, "") {
		if errors.Is(err, fs.ErrNotExist) { // a directory that is made with its first file
			return nil
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(folder, "cluster=") {
			return fmt.Errorf("the place has a recording already, in %s: name a place without one", folder)
		}
	}
	return nil
}

// nothing returns the error that explains why no exchange is left.
func (c *creator) nothing(in Input) error {
	if c.From.Selected == 0 {
		if in.Nothing == nil {
			return fmt.Errorf("%w were found", ErrNothing)
		}
		return fmt.Errorf("%w are left: %s", ErrNothing, in.Nothing())
	}
	var by []string
	for _, r := range c.rules.counts {
		if r.Exchanges > 0 {
			by = append(by, fmt.Sprintf("%s (%d)", r.Rule, r.Exchanges))
		}
	}
	return fmt.Errorf("%w are left: %d were selected, and rules leave them out: %s; --keep RULE keeps them", ErrNothing, c.From.Selected, strings.Join(by, ", "))
}

// undo removes what was stored.
func (c *creator) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	for _, key := range slices.Backward(c.put) { // the manifest first, if it arrived
		if err := c.dest.Delete(ctx, key); err != nil {
			if c.opts.Recording {
				return fmt.Errorf("remove the unfinished recording: %w; what is left of it has no %s, so readers refuse it", err, c.manifest)
			}
			return fmt.Errorf("remove the unfinished snapshot %s: %w; what is left of it is not a snapshot, and tapedeck snapshot delete removes it", c.ID, err)
		}
	}
	return nil
}

// keyOf returns the key of a snapshot's file in its place.
func keyOf(id, key string) string { return contract.SnapshotsDir + "/" + id + "/" + key }

// file is a file that is being written: lines in a temporary file. They are compressed when the file
// ends, so that any number of files takes the memory of one compressor.
type file struct {
	File
	part  recording.Partition
	lines *os.File
	out   *bufio.Writer
	size  int64
}

func newFile(p recording.Partition, key string) (*file, error) {
	lines, err := temporary()
	if err != nil {
		return nil, err
	}
	return &file{File: File{Key: key}, part: p, lines: lines, out: bufio.NewWriterSize(lines, 16<<10)}, nil
}

// temporary returns a file that is removed by discard, or when the process ends.
func temporary() (*os.File, error) {
	f, err := os.CreateTemp("", "tapedeck-snapshot-*")
	if err == nil {
		_ = os.Remove(f.Name()) // Windows refuses; discard does it there
	}
	return f, err
}

func discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

func (f *file) write(line []byte) error {
	f.Exchanges++
	f.size += int64(len(line))
	_, err := f.out.Write(line)
	return err
}

// compress returns the file's content, and describes it.
func (f *file) compress(enc *zstd.Encoder) (*os.File, error) {
	if err := f.out.Flush(); err != nil {
		return nil, err
	}
	if _, err := f.lines.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	packed, err := temporary()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	enc.Reset(io.MultiWriter(packed, sum))
	_, err = io.Copy(enc, f.lines)
	if err == nil {
		err = enc.Close()
	}
	if err == nil {
		f.Bytes, err = packed.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		discard(packed)
		return nil, err
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return packed, nil
}
