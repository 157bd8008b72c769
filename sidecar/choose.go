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

// reread is how often the files are read. The kubelet takes up to a minute to bring
// a change of a ConfigMap.
const reread = 2 * time.Second

// chooser decides what is captured: by the settings of the environment, and by the
// files of a directory, which take their place one by one.
//
//	environment ─▶ settings ─┐
//	ConfigMap ──▶ files ─────┴─▶ filter ─▶ decoders
//	                             capture ─▶ tap (paused)
//
// Files that can't be understood change nothing: the last valid settings stay in force. A file
// that is gone leaves it to the environment again, and so does a directory.
type chooser struct {
	settings map[string]string
	dir      string
	log      *slog.Logger
	use      func(*filter.Filter)

	paused atomic.Bool
	broken atomic.Bool

	files map[string]string // as they are obeyed
	wrong string            // what is wrong with those that aren't
}

// newChooser returns a chooser that has decided for the first time. The settings
// must be valid.
func newChooser(cfg Config, log *slog.Logger, use func(*filter.Filter)) (*chooser, error) {
	c := &chooser{settings: cfg.Choice, dir: cfg.ChoiceDir, log: log, use: use}
	if err := c.obey(nil); err != nil {
		return nil, err
	}
	c.read()
	return c, nil
}

// watch reads the files again and again until ctx ends.
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

// read reads the files, and obeys them if they have changed.
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

// obey has the settings hold, with files in their place where there are any.
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

// maxFile bounds a file. What is longer is no setting.
const maxFile = 64 << 10

// readFiles returns the contents of a directory's files by their names, those of
// one moment: the kubelet writes a new directory, and then has the link ..data
// point to it. A directory that isn't there has no files.
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
	} else if !info.Mode().IsRegular() { // to open a pipe would wait
		return "", fmt.Errorf("read %s: found no regular file, allowed: one of at most %d bytes", name, maxFile)
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
		return "", fmt.Errorf("read %s: found more than %d bytes, allowed: at most that", name, maxFile)
	}
	return string(text), nil
}
