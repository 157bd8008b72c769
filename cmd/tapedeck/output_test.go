package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// full is a store without room.
type full struct{ store.Store }

var errFull = errors.New("no room")

func (full) Put(context.Context, string, io.ReadSeeker) error { return errFull }

// A bucket gets the recording of a command when the command has ended, and no temporary directory
// remains.
func TestWhatGoesIntoABucketWaitsForTheEnd(t *testing.T) {
	bucket := store.Dir(t.TempDir())
	out := recorded(t, bucket)
	for range 2 { // a second call has nothing to do
		if err := out.close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := keys(t, bucket); !slices.Equal(got, []string{"_duckdb.sql", "cluster=c/1"}) {
		t.Errorf("the bucket has %q", got)
	}
	if _, err := os.Stat(out.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", out.dir, err)
	}
}

// If a bucket rejects a segment, the temporary directory remains, and the error names it.
func TestWhatABucketDoesNotTakeStaysWhereItIs(t *testing.T) {
	out := recorded(t, full{store.Dir(t.TempDir())})
	err := out.close(t.Context())
	if want := "the recording is in " + out.dir + ", and `tapedeck pull " + out.dir + " 's3://bucket/x'` stores it"; !errors.Is(err, errFull) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v; want %q", err, want)
	}
	if got := keys(t, store.Dir(out.dir)); len(got) != 2 {
		t.Errorf("%s has %q", out.dir, got)
	}
}

func TestOutputsThatAreRefused(t *testing.T) {
	for place, want := range map[string]string{
		"recordings/snapshots/6ba7b810-9dad-41d1-80b4-00c04fd430c8": "want a directory or a place, not a snapshot",
		"sftp://host/x": "unknown scheme",
		"s3://bucket/x": "no such bucket",
	} {
		_, err := newOutput(t.Context(), place, "", func(context.Context, contract.Place) (store.Store, error) { return nil, errors.New("no such bucket") })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", place, err, want)
		}
	}
}

// recorded returns an output for a bucket, with a recording in it.
func recorded(t *testing.T, bucket store.Store) *output {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	out, err := newOutput(t.Context(), "s3://bucket/x", "", func(context.Context, contract.Place) (store.Store, error) { return bucket, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"_duckdb.sql", "cluster=c/1"} {
		name := filepath.Join(out.dir, key)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func keys(t *testing.T, s store.Store) (all []string) {
	t.Helper()
	for o, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Key)
	}
	return all
}
