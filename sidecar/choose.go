package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/proxy"
)

// reread is how often the files are read. The kubelet takes up to a minute to update the files
// of a ConfigMap.
const reread = 2 * time.Second

// chooser decides what is captured, from the settings in the environment and the files in a
// directory. Each file overrides the setting with the same name.
//
//	environment ─▶ settings ─┐
//	ConfigMap ──▶ files ─────┴─▶ filter ─▶ decoders
//	                             capture ─▶ tap (paused)
//
// If a file is invalid, nothing changes: the last valid settings apply. If a file, or the whole
// directory, is removed, the settings in the environment apply again.
type chooser struct {
	settings map[string]string
	dir      string
	log      *slog.Logger
	use      func(*filter.Filter)

	paused atomic.Bool
	broken atomic.Bool

	files map[string]string // the files that apply
	wrong string            // the error of the last files that were read; "" if they apply
}

// newChooser returns a chooser that has applied the settings and the files once. It returns an
// error if the settings are invalid.
func newChooser(cfg Config, log *slog.Logger, use func(*filter.Filter)) (*chooser, error) {
	c := &chooser{settings: cfg.Choice, dir: cfg.ChoiceDir, log: log, use: use}
	if err := c.obey(nil); err != nil {
		return nil, err
	}
	c.read()
	return c, nil
}

// watch reads the files at that interval until ctx ends.
func (c *chooser) watch(ctx context.Context, every time.Duration) {
	if c.dir == "" {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.read()
		}
	}
}

// read reads the files and applies them if they have changed.
func (c *chooser) read() {
	if c.dir == "" {
		return
	}
	files, err := readFiles(c.dir)
	if err == nil {
		if maps.Equal(files, c.files) && c.wrong == "" {
			return
		}
		err = c.obey(files)
	}
	if err != nil {
		c.broken.Store(true)
		if c.wrong != err.Error() {
			c.wrong = err.Error()
			c.log.Warn("the files that choose what to capture are invalid: the last valid settings stay in force", proxy.LogError, err, "variable", contract.EnvCaptureDir, "directory", c.dir)
		}
		return
	}
	c.wrong = ""
	c.broken.Store(false)
	c.log.Info("the files that choose what to capture have been read", "directory", c.dir, "capturing", !c.paused.Load(), "sample", files["sample"])
}

// obey applies the settings, with files in place of those that have one.
func (c *chooser) obey(files map[string]string) error {
	settings := maps.Clone(c.settings)
	if settings == nil {
		settings = map[string]string{}
	}
	maps.Copy(settings, files)
	f, err := filter.Parse(settings)
	if err != nil {
		return err
	}
	c.files = files
	c.use(f)
	c.paused.Store(!f.On())
	return nil
}

// maxFile is the maximum size of a file. A longer file is an error.
const maxFile = 64 << 10

// readFiles returns the contents of a directory's files by their names. All are from the same
// version of a ConfigMap: the kubelet writes a new directory and then changes the link ..data to
// it. If the directory does not exist, there are no files.
func readFiles(dir string) (map[string]string, error) {
	var err error
	for range 5 { // it may change while it is read
		at := dir
		link, e := os.Readlink(filepath.Join(dir, "..data"))
		switch {
		case e == nil && filepath.IsAbs(link):
			at = link
		case e == nil:
			at = filepath.Join(dir, link)
		}
		var files map[string]string
		if files, err = readAll(at); err == nil {
			return files, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if _, e := os.Stat(dir); errors.Is(e, fs.ErrNotExist) {
			return nil, nil
		}
	}
	return nil, err
}

func readAll(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if files[e.Name()], err = readFile(name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readFile(name string) (string, error) {
	if info, err := os.Stat(name); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() { // opening a pipe would block
		return "", fmt.Errorf("read %s: it is not a regular file: want one of at most %d bytes", name, maxFile)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxFile {
		return "", fmt.Errorf("read %s: it has more than %d bytes, the maximum", name, maxFile)
	}
	return string(text), nil
}
