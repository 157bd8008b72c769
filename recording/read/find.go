package read

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Store has the methods of [store.Store] that reading needs.
type Store interface {
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	List(ctx context.Context, prefix string) iter.Seq2[store.Object, error]
	Folders(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// IsReserved reports whether an object is in a folder of a place that is not part of its recording.
func IsReserved(key string) bool {
	return strings.HasPrefix(key, "snapshots/") || strings.HasPrefix(key, "runs/")
}

// Marks of a recording that a command writes completely, such as tapedeck redact: BeginMark is the
// first object and EndMark the last one.
const (
	BeginMark = "_redacting.json"
	EndMark   = "_redacted.json"
)

// IsUnfinished reports whether a recording has the first mark but not the last one: its writer is
// still writing, or was interrupted.
func IsUnfinished(ctx context.Context, s Store) (bool, error) {
	begun, ended := false, false
	for o, err := range s.List(ctx, "_redact") {
		if errors.Is(err, fs.ErrNotExist) { // the first Put creates the place
			break
		}
		if err != nil {
			return false, err
		}
		begun, ended = begun || o.Key == BeginMark, ended || o.Key == EndMark
	}
	return begun && !ended, nil
}

// segment is a file that may have exchanges.
type segment struct {
	store  int
	key    string
	began  time.Time // zero if its name doesn't say
	number int       // within its process, if began is set
	size   int64
	// modified is the time of the last change, or zero if the store doesn't report it.
	modified time.Time

	large bool            // it lists its sources
	taken map[string]bool // sources that were already read from elsewhere
	moved bool            // a large segment that is newer than the listing contains it
}

func (s *segment) part() bool { return strings.HasSuffix(s.key, recording.PartSuffix) }

// hollow reports whether a complete segment is empty, although it should have at least one zstd
// frame.
func (s *segment) hollow() bool {
	return s.size == 0 && strings.HasSuffix(s.key, recording.SegmentSuffix)
}

// finder lists the segments that a query needs.
type finder struct {
	foreign Foreign
	ctx     context.Context
	query   *Query
	report  *Report
	stores  []Store
	store   int // the store that is being listed

	listed bool    // the store has at least one object
	failed []error // errors of the store
	found  []segment
}

// find lists the segments in the stores, in the order of their starts where those are known.
//
// If a store has partitions, only the files in partitions belong to the recording. Otherwise, all
// files that are named like recordings do, unless [IsReserved] excludes them.
func find(ctx context.Context, stores []Store, q *Query, r *Report, foreign Foreign) ([]segment, error) {
	f := &finder{ctx: ctx, query: q, report: r, stores: stores, foreign: foreign}
	for f.store = range stores {
		if err := f.look(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(f.found, func(a, b segment) int {
		return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.store, b.store), cmp.Compare(a.number, b.number), strings.Compare(a.key, b.key))
	})
	return f.found, nil
}

// look lists one store. It fails if the store can't be listed at all.
func (f *finder) look() error {
	f.failed, f.listed = nil, false
	if err := f.partitions(""); err != nil {
		return err
	}
	if !f.listed { // a second listing would fail in the same way
		f.failed = nil
		if err := f.loose(); err != nil {
			return err
		}
	}
	if !f.listed && len(f.failed) > 0 {
		return f.failed[0]
	}
	switch unfinished, err := IsUnfinished(f.ctx, f.stores[f.store]); {
	case err != nil:
		f.failed = append(f.failed, err)
	case unfinished:
		f.report.add(Unfinished, fmt.Sprintf("%s exists but %s does not: write it again, to another place", BeginMark, EndMark))
	}
	for _, err := range f.failed {
		f.report.add(Unreadable, err.Error())
	}
	return nil
}

// partitions lists the segments in the partitions below the prefix. It sets listed if there are
// any.
func (f *finder) partitions(prefix string) error {
	leaf := true
	for folder, err := range f.stores[f.store].Folders(f.ctx, prefix) {
		if f.ctx.Err() != nil {
			return f.ctx.Err()
		}
		if err != nil {
			f.failed = append(f.failed, err)
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(folder, prefix), "/")
		if key, _, ok := strings.Cut(name, "="); !ok || !isPartition(key) {
			continue
		}
		leaf, f.listed = false, true
		if f.query.folder(name) {
			if err := f.partitions(folder); err != nil {
				return err
			}
		}
	}
	if leaf && prefix != "" {
		first := len(f.found)
		if err := f.files(prefix, isSegment); err != nil {
			return err
		}
		f.compacted(prefix, first)
	}
	return nil
}

// compacted removes the sources of large segments from the segments of a partition. It lists the
// large segments last, so that they contain everything that was deleted since the first listing.
func (f *finder) compacted(prefix string, first int) {
	p, err := recording.ParsePartition(prefix)
	if err != nil { // another program wrote the folder
		return
	}
	all, err := ListLarge(f.ctx, f.stores[f.store], p)
	if err != nil {
		f.failed = append(f.failed, err)
	}
	listed := map[string]bool{}
	for _, l := range all {
		if l.Sources == nil {
			continue
		}
		for _, name := range l.Sources {
			listed[name] = true
		}
		at := slices.IndexFunc(f.found[first:], func(s segment) bool { return s.key == l.Key })
		switch {
		case at >= 0:
			f.found[first+at].large = true
		case f.query.spans(p.Hour, time.Hour):
			f.found = append(f.found, l.segment(f.store))
			f.listed = true
		}
	}
	if len(listed) > 0 {
		rest := slices.DeleteFunc(f.found[first:], func(s segment) bool { return listed[path.Base(s.key)] })
		f.found = f.found[:first+len(rest)]
	}
}

func isPartition(key string) bool {
	switch key {
	case "cluster", "namespace", "workload", "date", "hour":
		return true
	}
	return false
}

// loose lists the files of a store without partitions.
func (f *finder) loose() error {
	if _, ok := f.stores[f.store].(file); ok {
		return f.files("", func(string) bool { return true })
	}
	return f.files("", func(key string) bool { return f.isLoose(key) && !IsReserved(key) })
}

func (f *finder) files(prefix string, wanted func(key string) bool) error {
	last := ""
	for o, err := range f.stores[f.store].List(f.ctx, prefix) {
		if f.ctx.Err() != nil {
			return f.ctx.Err()
		}
		if err != nil {
			f.failed = append(f.failed, err)
			continue
		}
		f.listed = true
		if !wanted(o.Key) || o.Key == last+recording.PartSuffix { // a segment that is being completed briefly has both names
			continue
		}
		last = o.Key
		s := segment{store: f.store, key: o.Key, size: o.Size, modified: o.Modified}
		s.began, s.number = parseName(path.Base(o.Key))
		if s.began.IsZero() || f.query.spans(s.began, time.Hour) {
			f.found = append(f.found, s)
		}
	}
	return nil
}

// isSegment reports whether a file has the name of a segment. Hidden files don't.
func isSegment(key string) bool {
	if strings.HasPrefix(path.Base(key), ".") {
		return false
	}
	key = strings.TrimSuffix(key, recording.PartSuffix)
	return strings.HasSuffix(key, ".jsonl") || strings.HasSuffix(key, recording.SegmentSuffix)
}

// isLoose is isSegment for files outside of partitions, where files of other tools are read, too.
func (f *finder) isLoose(key string) bool {
	if strings.HasPrefix(key, "__files/") || strings.Contains(key, "/__files/") { // bodies to which mappings refer
		return false
	}
	return isSegment(key) || f.foreign != nil && f.foreign.IsName(key) && !strings.HasPrefix(path.Base(key), ".")
}

// parseName reads a segment's start and number from its name. began is zero if the name has no
// start.
func parseName(name string) (began time.Time, number int) {
	name = strings.TrimSuffix(strings.TrimSuffix(name, recording.PartSuffix), recording.SegmentSuffix)
	text, rest, ok := strings.Cut(name, "-")
	if !ok {
		return time.Time{}, 0
	}
	began, err := time.Parse("20060102T150405.000Z", text)
	if err != nil {
		return time.Time{}, 0
	}
	last, _, _ := strings.Cut(rest[strings.LastIndexByte(rest, '-')+1:], ".") // a digest may follow the number
	number, err = strconv.Atoi(last)
	if err != nil {
		return time.Time{}, 0
	}
	return began, number
}

// Path returns the store for a path in the file system: a directory, or a single file with any name.
// It fails if the path does not exist.
func Path(name string) (Store, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return store.Dir(name), nil
	}
	return file(name), nil
}

// file is a store of one file.
type file string

func (f file) Get(_ context.Context, key string) (io.ReadCloser, error) {
	if _, name, ok := strings.Cut(key, "__files/"); ok && key != filepath.Base(string(f)) {
		return f.beside("__files/" + name)
	}
	in, err := os.Open(string(f))
	if whole, part := strings.CutSuffix(string(f), recording.PartSuffix); part && errors.Is(err, fs.ErrNotExist) {
		in, err = os.Open(whole)
	}
	return in, err
}

// beside opens a file to which this file refers. It looks in the parent of the folder mappings, or
// otherwise in the file's own folder. Links can't lead out of these folders.
func (f file) beside(name string) (io.ReadCloser, error) {
	own, err := filepath.Abs(string(f))
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(own)
	for at := folder; at != filepath.Dir(at); at = filepath.Dir(at) {
		if filepath.Base(at) == "mappings" {
			folder = filepath.Dir(at)
			break
		}
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return nil, err
	}
	return root.Open(name)
}

func (f file) List(context.Context, string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		info, err := os.Stat(string(f))
		if err != nil {
			yield(store.Object{}, err)
			return
		}
		if info.IsDir() {
			err = fmt.Errorf("%s is a directory", string(f))
		}
		yield(store.Object{Key: filepath.Base(string(f)), Size: info.Size(), Modified: info.ModTime()}, err)
	}
}

func (f file) Folders(context.Context, string) iter.Seq2[string, error] {
	return func(func(string, error) bool) {}
}
