// Package kustomization builds a kustomization in process, as `kustomize build`
// does, so that rendering it needs neither a second program nor an alpha flag.
//
//	DIR/kustomization.yaml ──▶ krusty ──▶ YAML stream ──▶ fn.Render
//
// It promises the bytes that `kustomize build` writes, under the same restrictions:
// unless requested, it loads no files from outside the kustomization's root and runs no
// functions. One restriction is stricter: unless requested, it fetches nothing from
// other machines. Every error names the kustomization's file.
//
// It imports kustomize's API, and nothing from this module. It is separate from package
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

// Options allows a build more than the default does. Most options have the names of
// kustomize's flags.
type Options struct {
	// AlphaPlugins allows functions in containers, and Exec also functions that are
	// executables.
	AlphaPlugins, Exec bool
	// AnyFile allows files from outside the kustomization's root.
	AnyFile bool
	// Remote allows fetching resources from other machines, by HTTP or with git.
	// kustomize has no such flag, because it always fetches them.
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
	o.Reorder = krusty.ReorderOptionUnspecified // the order that the file sets, or else that of kustomize build
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
		err = disk.refused // kustomize reports only that it found no kustomization
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

// hint says how to allow what a build did not allow.
func hint(err error) string {
	switch said := err.Error(); {
	case strings.Contains(said, "external plugins disabled"):
		return "; functions run with --enable-alpha-plugins, and executables also need --enable-exec"
	case strings.Contains(said, "--enable-helm"):
		return "; charts are not supported: write the output of helm template to a file, and list that file"
	case strings.Contains(said, "is not in or below"):
		return "; --load-restrictor LoadRestrictionsNone allows files outside the kustomization"
	}
	return ""
}

// errRemote is the error for a resource that would have to be fetched.
var errRemote = errors.New("nothing is fetched from other machines; allowed: local files and directories, or URLs with --load-remote")

// remote matches entries that kustomize passes to git, even if there is a directory with
// that name.
var remote = regexp.MustCompile(`(?i)^(?:[a-z][a-z0-9+.-]*:|github\.com[:/]|[^/@]+@[^/]+[:/])`)

// holders are the fields whose entries may be directories, and therefore repositories.
var holders = []string{"resources", "bases", "components", "generators", "transformers", "validators"}

// local is a file system that refuses to read kustomizations with entries that are not
// in it, because kustomize would clone them.
type local struct {
	filesys.FileSystem
	remote  bool // entries may be fetched
	refused error
}

func (l *local) ReadFile(path string) ([]byte, error) {
	text, err := l.FileSystem.ReadFile(path)
	if err != nil || l.remote || !slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path)) {
		return text, err
	}
	var fields map[string]any
	if err := yaml.Unmarshal(text, &fields); err != nil {
		return text, nil // kustomize reports the error
	}
	for _, field := range holders {
		entries, _ := fields[field].([]any)
		for _, e := range entries {
			entry, _ := e.(string)
			if strings.Contains(entry, "\n") {
				continue // an inline configuration, not a path
			}
			at := entry
			if !filepath.IsAbs(at) {
				at = filepath.Join(filepath.Dir(path), at)
			}
			if remote.MatchString(entry) || !l.Exists(at) {
				l.refused = fmt.Errorf("%s: %s: %q is not a local file: %w", path, field, entry, errRemote)
				return nil, l.refused
			}
		}
	}
	return text, nil
}

// transport protects http.DefaultTransport. kustomize fetches files with it, and has no
// option for another one.
var transport sync.Mutex

// offline makes the default transport reject all requests, until the caller calls
// restore.
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
