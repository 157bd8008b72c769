package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/columns"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/snapshot"
)

// output is where a command writes a recording: a directory or a bucket. For a bucket, it is a
// temporary directory that is uploaded at the end.
type output struct {
	dir   string
	place contract.Place
	store store.Store // of the bucket; nil: dir is the place
}

// newOutput makes the directory. It lists a bucket first, to find problems before the command runs.
func newOutput(ctx context.Context, text, temp string, open snapshot.Opener) (*output, error) {
	p, err := contract.ParsePlace(text)
	if err != nil {
		return nil, err
	}
	if _, isSnapshot, err := p.Snapshot(); err != nil || isSnapshot {
		return nil, fmt.Errorf("%s: want a directory or a place, not a snapshot", p)
	}
	if p.IsDir() {
		if err := os.MkdirAll(p.Path, 0o777); err != nil {
			return nil, fmt.Errorf("make the place: %w", err)
		}
		return &output{dir: p.Path, place: p}, nil
	}
	o := &output{place: p}
	if o.store, err = open(ctx, p); err != nil {
		return nil, err
	}
	for _, err := range o.store.Folders(ctx, "") {
		if err != nil {
			return nil, err
		}
		break
	}
	if o.dir, err = os.MkdirTemp(temp, "tapedeck-record-*"); err != nil {
		return nil, fmt.Errorf("make a temporary directory: %w", err)
	}
	return o, nil
}

// close uploads the recording if the place is a bucket. Later calls do nothing. If the upload fails, the
// temporary directory remains, and the error says how to continue.
func (o *output) close(ctx context.Context) error {
	to := o.store
	if o.store = nil; to == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // the signal that ended the command must not end the upload
	dir := store.Dir(o.dir)
	for object, err := range dir.List(ctx, "") {
		if err == nil {
			err = o.put(ctx, to, object.Key)
		}
		if err != nil {
			return fmt.Errorf("%w; the recording is in %s, and `tapedeck pull %[2]s '%s'` stores it", err, o.dir, o.place)
		}
	}
	return os.RemoveAll(o.dir)
}

// hasExchanges reports whether the place has exchanges of earlier runs. A place that can't be listed
// fails later, with a better error.
func (o *output) hasExchanges(ctx context.Context) bool {
	var s store.Store = store.Dir(o.dir)
	if o.store != nil {
		s = o.store
	}
	for object, err := range s.List(ctx, "") {
		if err == nil && !read.IsReserved(object.Key) && strings.Contains(object.Key, ".jsonl") {
			return true
		}
	}
	return false
}

func (o *output) put(ctx context.Context, to store.Store, key string) error {
	f, err := os.Open(o.dir + "/" + key)
	if err != nil {
		return err
	}
	defer f.Close()
	err = store.PutOnce(ctx, to, key, f)
	if key == columns.Name && errors.Is(err, fs.ErrExist) { // perhaps from another version
		return nil
	}
	return err
}
