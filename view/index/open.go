package index

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording/read"
)

// Index is a searchable recording. It is safe for concurrent use.
type Index struct {
	options Options
	query   read.Query
	stores  []read.Store
	name    string
	own     string // a directory that Close removes; "" for none

	path   string
	file   *file
	zstd   *zstd.Decoder
	head   head
	rows   int
	names  [numNamed][]string
	firsts []string // terms of the blocks of words

	mu         sync.Mutex
	selections map[Filter]*selection
	ranked     [numNamed][]int64
}

const (
	// unused is how long an index that nobody opens is kept.
	unused = 30 * 24 * time.Hour
	// suffix ends the name of a finished index, and making begins the name of an unfinished one.
	suffix = ".index"
	making = "making-"
	// young is the age below which an unfinished index is never taken for that of a killed process.
	young = time.Minute
)

// Open returns the index of the exchanges that a query selects in some places. If o.Dir has a
// finished index of the same places, query and content, Open uses that. Otherwise it makes one,
// which takes longer than reading the places. The caller must close the index.
//
// Close deletes the index of a query with Match or Glance, because functions can't be compared.
func Open(ctx context.Context, o Options, q read.Query, sources ...Source) (*Index, error) {
	if q.Match != nil || q.Glance != nil {
		o.Forget = true
	}
	x := &Index{options: o, query: q, selections: map[Filter]*selection{}}
	titles := make([]string, len(sources))
	for i, s := range sources {
		x.stores, titles[i] = append(x.stores, s.Store), s.Name
	}
	x.name = strings.Join(titles, ", ")
	var err error
	if x.zstd, err = newUnpacker(); err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	if err := x.open(ctx, sources); err != nil {
		x.Close()
		return nil, fmt.Errorf("index %s: %w", x.name, err)
	}
	return x, nil
}

func (x *Index) open(ctx context.Context, sources []Source) error {
	progress := x.options.Progress
	if progress == nil {
		progress = func(Progress) {}
	}
	taken := Progress{Phase: "reading", Unit: segments}
	in, err := read.Open(ctx, x.query, read.Options{Order: read.Sorted, Recycle: true, MaxHeld: maxHeld, Foreign: x.options.Foreign, Progress: func(done, all int) {
		taken.Done, taken.All = done, all
		progress(taken)
	}, Taken: func(n int) {
		taken.Exchanges = int64(n)
		progress(taken)
	}}, x.stores...)
	if err != nil {
		return err
	}
	place, state := identify(x.query, sources, in)
	dir, err := x.dir()
	if err != nil {
		return err
	}
	x.path = filepath.Join(dir, place+"-"+state+suffix)
	if x.own == "" {
		tidy(ctx, dir, time.Now())
		if x.load(ctx, state) == nil {
			if x.head.Report.whole() {
				now := time.Now()
				_ = os.Chtimes(x.path, now, now) // it was used
				return nil
			}
			x.file.close()
			x.file = nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := x.make(ctx, dir, in, state, progress, func() int { return int(taken.Exchanges) }); err != nil {
		return err
	}
	if x.own == "" {
		replaced(dir, place, x.path)
	}
	return x.load(ctx, state)
}

// dir returns the directory of the index, and makes it if it is missing.
func (x *Index) dir() (string, error) {
	if x.options.Forget {
		var err error
		if x.own, err = os.MkdirTemp("", "tapedeck-view-*"); err != nil {
			return "", fmt.Errorf("make a directory: %w", err)
		}
		return x.own, nil
	}
	dir := x.options.Dir
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the user's cache directory: %w", dirError{err})
		}
		dir = filepath.Join(cache, "tapedeck", "view")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of indexes: %w", dirError{err})
	}
	// The names and the content reveal what was recorded, so others may not even list them.
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return "", fmt.Errorf("keep others out of the directory of indexes: %w", dirError{err})
		}
	}
	return filepath.Abs(dir)
}

// dirError is an [ErrDir] with its cause.
type dirError struct{ error }

func (e dirError) Unwrap() []error { return []error{ErrDir, e.error} }

// identify returns a hash of the places and the query, and one that also covers the content.
func identify(q read.Query, sources []Source, in *read.Reader) (place, state string) {
	h := sha256.New()
	for _, s := range sources {
		name := s.Name
		if _, err := os.Lstat(name); err == nil {
			if abs, err := filepath.Abs(name); err == nil {
				name = abs
			}
		}
		fmt.Fprintf(h, "%q ", name)
	}
	text, _ := json.Marshal([]any{q.Clusters, q.Namespaces, q.Workloads, q.From, q.To, q.Longest, q.Direction})
	h.Write(text)
	place = hex.EncodeToString(h.Sum(nil)[:8])
	fmt.Fprintf(h, " %d", schema)
	for store, o := range in.Listed() {
		fmt.Fprintf(h, " %d %q %d %d", store, o.Key, o.Size, o.Modified.UnixNano())
	}
	return place, hex.EncodeToString(h.Sum(nil)[:16])
}

// make makes the index in a temporary file, and renames that when it is complete.
func (x *Index) make(ctx context.Context, dir string, in *read.Reader, state string, progress func(Progress), taken func() int) (err error) {
	name := filepath.Join(dir, making+rand.Text())
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	defer func() {
		if err != nil {
			os.Remove(name)
			switch {
			case ctx.Err() != nil:
			case isFull(err):
				err = fmt.Errorf("make it in %s: there is not enough space; an index may need twice the size of the recording: %w", dir, err)
			default:
				err = fmt.Errorf("make it in %s: %w", dir, err)
			}
		}
	}()
	w, err := create(ctx, name)
	if err != nil {
		return err
	}
	if err := build(ctx, w, in, state, dir, progress, taken); err != nil {
		w.close()
		return err
	}
	return w.finish(name, x.path)
}

// load opens the finished index.
func (x *Index) load(ctx context.Context, state string) error {
	info, err := os.Lstat(x.path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		os.Remove(x.path)
		return fmt.Errorf("%w: %s is not a file that only its user can access", errDamaged, x.path)
	}
	if x.file, err = openFile(ctx, x.path); err == nil {
		err = x.loadHead(ctx, state)
	}
	if err != nil && x.file != nil {
		x.file.close()
		x.file = nil
	}
	return x.failed(err)
}

func (x *Index) loadHead(ctx context.Context, state string) error {
	text, err := x.file.part(ctx, kindHead, 0)
	if err != nil {
		return err
	}
	x.head = head{}
	if err := json.Unmarshal(text, &x.head); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if x.head.State != state || x.head.Rows < 0 || x.head.Rows > maxRows || x.head.Blocks < 0 {
		return fmt.Errorf("%w: it belongs to another recording", errDamaged)
	}
	x.rows = x.head.Rows
	for c := range x.names {
		data, err := x.file.part(ctx, kindNames, c)
		if err == nil {
			x.names[c], err = readTexts(data)
		}
		if err != nil {
			return err
		}
	}
	x.firsts = nil
	for n := 0; n*firstTerms < x.head.Blocks; n++ {
		data, err := x.file.part(ctx, kindFirst, n)
		if err != nil {
			return err
		}
		all, err := readTexts(data)
		if err != nil {
			return err
		}
		x.firsts = append(x.firsts, all...)
	}
	if len(x.firsts) != x.head.Blocks {
		return fmt.Errorf("%w: it has %d blocks of words, want %d", errDamaged, len(x.firsts), x.head.Blocks)
	}
	return nil
}

// failed returns err. If the index is damaged, failed deletes it, so that it is not used again.
func (x *Index) failed(err error) error {
	if errors.Is(err, errDamaged) {
		_ = os.Remove(x.path)
		return fmt.Errorf("%w: open the recording again to make a new one", err)
	}
	return err
}

// tidy removes indexes that nobody has used for a long time, and files that killed processes left
// behind.
func tidy(ctx context.Context, dir string, now time.Time) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		name := filepath.Join(dir, e.Name())
		switch age := now.Sub(info.ModTime()); {
		case strings.HasSuffix(e.Name(), suffix) && age > unused:
			_ = os.Remove(name)
		case strings.HasPrefix(e.Name(), making) && age > young && abandoned(ctx, name):
			_ = os.Remove(name)
		}
	}
}

// abandoned reports whether no process has a lock on an unfinished index.
func abandoned(ctx context.Context, name string) bool {
	db, err := sql.Open("sqlite", dsn(name, "rw", "busy_timeout(0)", "locking_mode(exclusive)"))
	if err != nil {
		return false
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, "BEGIN EXCLUSIVE")
	return err == nil || ctx.Err() == nil && !isBusy(err)
}

// replaced removes the indexes of the same place and query with earlier content.
func replaced(dir, place, but string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), place+"-") && strings.HasSuffix(e.Name(), suffix) && name != but && e.Type()&fs.ModeType == 0 {
			_ = os.Remove(name)
		}
	}
}

// Name returns the names of the places.
func (x *Index) Name() string { return x.name }

// Report returns the findings about the recording from when the index was made: what could not be
// read, and what is missing.
func (x *Index) Report() *Report { return &x.head.Report }

// parts reads the index's parts.
func (x *Index) parts() parts { return x.file.part }

// Close releases the index, and deletes it if Options.Forget is set.
func (x *Index) Close() error {
	var err error
	if x.file != nil {
		err = x.file.close()
	}
	x.zstd.Close()
	if x.own != "" {
		err = errors.Join(err, os.RemoveAll(x.own))
	}
	return err
}
