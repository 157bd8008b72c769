// Package kustomization builds a kustomization in process, as `kustomize build`
// does, so that rendering one needs neither a second program nor an alpha flag.
//
//	DIR/kustomization.yaml ──▶ krusty ──▶ YAML stream ──▶ fn.Render
//
// It promises the bytes that `kustomize build` writes, under the same restrictions:
// files outside the kustomization's root are not loaded, and no functions run, unless
// asked for. It goes further in one thing: it fetches nothing from other machines
// unless asked for. Every error names the kustomization's file.
//
// It imports kustomize's API, and nothing of this module. It is apart from package
// fn because only the command needs it.
package kustomization

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Options are what a build is allowed beyond the default, by the names of kustomize's
// flags.
type Options struct {
	// AlphaPlugins runs functions in containers, and Exec those that are programs.
	AlphaPlugins, Exec bool
	// AnyFile loads files from outside the kustomization's root.
	AnyFile bool
	// Remote fetches resources from other machines, by HTTP or with git. It is no
	// flag of kustomize's, which always does.
	Remote bool
}

// Build returns what `kustomize build` writes for a directory, and the path of the
// kustomization's file.
func Build(dir string, opts Options) (text []byte, file string, err error) {
	disk := &local{FileSystem: filesys.MakeFsOnDisk(), remote: opts.Remote}
	if file, err = find(disk, dir); err != nil {
		return nil, file, err
	}
	if !opts.Remote {
		defer offline()()
	}
	o := krusty.MakeDefaultOptions()
	o.Reorder = krusty.ReorderOptionUnspecified // what the file says, else the order of kustomize build
	if opts.AnyFile {
		o.LoadRestrictions = types.LoadRestrictionsNone
	}
	if opts.AlphaPlugins {
		o.PluginConfig = types.EnabledPluginConfig(types.BploUseStaticallyLinked)
		o.PluginConfig.FnpLoadingOptions.EnableExec = opts.Exec
	}
	resources, err := krusty.MakeKustomizer(o).Run(disk, dir)
	if err == nil {
		text, err = resources.AsYaml()
	}
	if disk.refused != nil {
		err = disk.refused // kustomize would say that it found no kustomization
	}
	if err != nil {
		return nil, file, fmt.Errorf("build %s: %w%s", file, err, hint(err))
	}
	return text, file, nil
}

// find returns the path of a directory's kustomization.
func find(disk filesys.FileSystem, dir string) (string, error) {
	names := konfig.RecognizedKustomizationFileNames()
	if !disk.IsDir(dir) {
		return dir, fmt.Errorf("build %s: found no directory, allowed: a directory that has a file %s", dir, names[0])
	}
	for _, name := range names {
		if file := filepath.Join(dir, name); disk.Exists(file) {
			return file, nil
		}
	}
	return dir, fmt.Errorf("build %s: found no kustomization, allowed: a directory that has a file %s", dir, strings.Join(names, ", "))
}

// hint says how to allow what a build was refused.
func hint(err error) string {
	switch said := err.Error(); {
	case strings.Contains(said, "external plugins disabled"):
		return "; functions run with --enable-alpha-plugins, and programs among them with --enable-exec as well"
	case strings.Contains(said, "--enable-helm"):
		return "; charts are not inflated here: write what helm template says to a file, and list that"
	case strings.Contains(said, "is not in or below"):
		return "; --load-restrictor LoadRestrictionsNone allows files outside the kustomization"
	}
	return ""
}

// errRemote refuses what would be fetched.
var errRemote = errors.New("nothing is fetched from other machines; allowed: files and directories that are here, or URLs with --load-remote")

// remote matches what kustomize hands to git, even where a directory of that name is
// here.
var remote = regexp.MustCompile(`(?i)^(?:[a-z][a-z0-9+.-]*:|github\.com[:/]|[^/@]+@[^/]+[:/])`)

// holders are the fields whose entries may be directories, and so repositories.
var holders = []string{"resources", "bases", "components", "generators", "transformers", "validators"}

// local is a file system that refuses kustomizations with entries that are not in
// it: kustomize would clone them.
type local struct {
	filesys.FileSystem
	remote  bool // they may be fetched
	refused error
}

func (l *local) ReadFile(path string) ([]byte, error) {
	text, err := l.FileSystem.ReadFile(path)
	if err != nil || l.remote || !slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path)) {
		return text, err
	}
	var fields map[string]any
	if err := yaml.Unmarshal(text, &fields); err != nil {
		return text, nil // kustomize says what is wrong with it
	}
	for _, field := range holders {
		entries, _ := fields[field].([]any)
		for _, e := range entries {
			entry, _ := e.(string)
			if strings.Contains(entry, "\n") {
				continue // the configuration itself
			}
			at := entry
			if !filepath.IsAbs(at) {
				at = filepath.Join(filepath.Dir(path), at)
			}
			if remote.MatchString(entry) || !l.Exists(at) {
				l.refused = fmt.Errorf("%s: %s: %q is not here: %w", path, field, entry, errRemote)
				return nil, l.refused
			}
		}
	}
	return text, nil
}

// transport is the lock of what kustomize fetches files with: the default one, for
// want of an option.
var transport sync.Mutex

// offline has the default transport refuse everything, until what it returns is
// called.
func offline() (restore func()) {
	transport.Lock()
	before := http.DefaultTransport
	http.DefaultTransport = refusing{}
	return func() {
		http.DefaultTransport = before
		transport.Unlock()
	}
}

// refusing is a transport that sends nothing.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errRemote }
