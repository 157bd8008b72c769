package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

func openDir(_ context.Context, place string) (store.Store, error) { return store.Dir(place), nil }

func TestMain(m *testing.M) { storetest.Main(m, openDir) }

func TestDirKeepsThePromisesOfAStore(t *testing.T) {
	storetest.Run(t, storetest.Suite{Open: openDir, Place: func(t *testing.T) string { return t.TempDir() }})
}

func TestDirIsPrivateAndLeavesNothingBehind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by-put")
	d := store.Dir(dir)
	if err := d.Put(t.Context(), "a/b/c", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), "a/b/c", strings.NewReader("y")); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"": 0o700, "a": 0o700, "a/b": 0o700, "a/b/c": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o; want %o", name, got, want)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "a", "b")); len(entries) != 1 {
		t.Errorf("a/b has %v", entries)
	}
	if err := d.Delete(t.Context(), "a/b/c"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

// Leftovers finds the files that a killed writer left behind below the folder, but no others, and removes
// them if asked to.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	d := store.Dir(dir)
	for _, name := range []string{"a/.tmp-1", "a/b/.tmp-2", "a/c/.tmp-3/d", "a/x/.other", "a/y/z", "ab/.tmp-4"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), "x")
	}
	if err := os.Symlink("../ab", filepath.Join(dir, "a", "link")); err != nil {
		t.Fatal(err)
	}
	for _, remove := range []bool{false, true} {
		names, err := d.Leftovers(t.Context(), "a", remove)
		if want := []string{"a/.tmp-1", "a/b/.tmp-2"}; err != nil || !slices.Equal(names, want) {
			t.Errorf("%q, %v, want %q", names, err, want)
		}
	}
	for name, want := range map[string]bool{"a/.tmp-1": false, "a/b": false, "a/x/.other": true, "a/y/z": true, "ab/.tmp-4": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, folder := range []string{"", "../a", "/a", "none"} {
		if names, err := d.Leftovers(t.Context(), folder, true); len(names) > 0 || (err == nil) != (folder == "none") {
			t.Errorf("%q: %q, %v", folder, names, err)
		}
	}
}

func TestDirLeadsNowhereElse(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "secret"), "s")
	write(t, filepath.Join(dir, "real"), "r")
	os.Mkdir(filepath.Join(dir, "folder"), 0o700)
	write(t, filepath.Join(dir, "folder", "x"), "x")
	write(t, filepath.Join(dir, ".hidden"), "h")
	for name, target := range map[string]string{
		"out": outside, "out-file": filepath.Join(outside, "secret"), "up": "../" + filepath.Base(outside),
		"gone": "nowhere", "loop": "loop", "inside": "real", "to-folder": "folder",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := store.Dir(dir)
	for _, key := range []string{"out/secret", "out-file", "up/secret", "gone", "loop", "pipe", "folder"} {
		if r, err := d.Get(t.Context(), key); err == nil {
			body, _ := io.ReadAll(r)
			t.Errorf("get %s: %q", key, body)
		}
	}
	for _, key := range []string{"out/new", "out-file", "up/new", "gone/x", "loop", "real/x"} {
		if err := d.Put(t.Context(), key, strings.NewReader("x")); err == nil {
			t.Errorf("put %s passed", key)
		}
	}
	if err := d.Delete(t.Context(), "out/secret"); err == nil {
		t.Error("a file outside was deleted")
	}
	if err := d.Delete(t.Context(), "out-file"); err != nil {
		t.Errorf("delete a link: %v", err)
	}
	got := map[string]string{}
	for o, err := range d.List(t.Context(), "") {
		got[o.Key] = fmt.Sprint(err)
	}
	for key, want := range map[string]string{
		"folder/x": "<nil>", "real": "<nil>", "inside": "<nil>",
		"out": "path escapes from parent", "up": "path escapes from parent", "gone": "no such file", "loop": "too many", "to-folder": "a link to a directory, which is not followed",
	} {
		if !strings.Contains(got[key], want) {
			t.Errorf("list %s: %q; want %q", key, got[key], want)
		}
		delete(got, key)
	}
	if len(got) != 0 {
		t.Errorf("also listed: %v", got)
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 1 {
		t.Errorf("outside: %v", entries)
	}
}

func TestDirSaysWhatItMisses(t *testing.T) {
	missing := store.Dir(filepath.Join(t.TempDir(), "missing"))
	for _, err := range missing.List(t.Context(), "") {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), string(missing)) {
			t.Errorf("list: %v", err)
		}
	}
	if err := missing.Delete(t.Context(), "x"); err != nil {
		t.Errorf("delete: %v", err)
	}

	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "x")
	if err := store.Dir(file).Put(t.Context(), "x", strings.NewReader("")); !errors.Is(err, syscall.ENOTDIR) || !strings.Contains(err.Error(), file) {
		t.Errorf("put below a file: %v", err)
	}

	if os.Getuid() == 0 {
		t.Skip("root can write everywhere")
	}
	closed := t.TempDir()
	os.Chmod(closed, 0o500)
	if err := store.Dir(closed).Put(t.Context(), "x", strings.NewReader("")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("put into a read-only directory: %v", err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func ExamplePutOnce() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	d := store.Dir(dir)
	for _, body := range []string{"segment", "segment", "another"} {
		err := store.PutOnce(ctx, d, "hour=20/0", strings.NewReader(body))
		fmt.Println(body, errors.Is(err, fs.ErrExist), err == nil)
	}
	// Output:
	// segment false true
	// segment false true
	// another true false
}
