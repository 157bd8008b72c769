// Command release packs the files that a release publishes, from what `make release` built
// in the directory DIST:
//
//	DIST/linux/ARCH/    the image's root file system ─┬─▶ tapedeck-VERSION-OS-ARCH.tar.gz   programs, licence, completions
//	DIST/darwin/ARCH/   the programs for macOS ───────┼─▶ tapedeck-NUMBER-OS-ARCH.tgz       the plugin of Helm 4
//	                                                  ├─▶ tapedeck-VERSION-OS-ARCH.cdx.json the bill of materials
//	                                                  └─▶ tapedeck-image-VERSION.tar        an OCI archive, with the bills of its platforms
//	plugin/, deploy/    of the source ────────────────┬─▶ tapedeck-component-VERSION.tar.gz for kustomize
//	                                                  └─▶ tapedeck-kpt-VERSION.tar.gz       the function's metadata and its example
//	all of these ───────────────────────────────────────▶ SHA256SUMS
//
// With -image FILE it writes only the OCI archive, for the platforms in -platforms.
//
// The same source gives the same bytes: files are sorted, have the time of the commit, and
// contain no name of a user or a machine. The command runs in the directory tools of the
// source. It may import anything, because users don't build it.
package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

const source = ".." // the root of the source

func main() {
	version := flag.String("version", "", "the version, such as v0.2.0")
	seconds := flag.Int64("time", 0, "the time of all files, in seconds since 1970")
	image := flag.String("image", "", "write an OCI archive of the image to this `file`, and nothing else")
	only := flag.String("platforms", "", "with -image: its platforms, such as linux/amd64,linux/arm64")
	flag.Parse()
	r := release{version: *version, time: time.Unix(*seconds, 0).UTC(), dist: flag.Arg(0)}
	do := r.pack
	if *image != "" {
		do = func() error { return r.packImage(*image, *only) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is one release.
type release struct {
	version string
	time    time.Time
	// dist is the directory with what was built. The packed files go into its directory release.
	dist string
}

type platform struct{ os, arch string }

// platforms are the platforms of the archives. The image is for the Linux platforms.
var platforms = []platform{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"},
}

// programs are the programs in each platform's directory.
var programs = []string{"tapedeck", "tapedeck-proxy"}

// file is one file of an archive: its name there, and the path of its content.
type file struct {
	name, from string
	mode       int64
}

// check returns an error if a flag or the argument is missing.
func (r release) check() error {
	if r.version == "" || r.dist == "" {
		return errors.New("want -version VERSION and the directory with what was built")
	}
	return nil
}

// packImage writes only the image, for the platforms in a list.
func (r release) packImage(to, list string) error {
	if err := r.check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tapedeck-bills-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var only []platform
	bills := map[platform][]byte{}
	for name := range strings.SplitSeq(list, ",") {
		system, arch, _ := strings.Cut(name, "/")
		p := platform{system, arch}
		if system != "linux" || !slices.Contains(platforms, p) {
			return fmt.Errorf("platform %q: want linux/amd64 or linux/arm64", name)
		}
		if bills[p], err = r.materials(dir, p); err != nil {
			return err
		}
		only = append(only, p)
	}
	return r.image(to, only, bills)
}

func (r release) pack() error {
	if err := r.check(); err != nil {
		return err
	}
	out := filepath.Join(r.dist, "release")
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	completions, err := r.completions()
	if err != nil {
		return fmt.Errorf("write completions: %w", err)
	}
	number := strings.TrimPrefix(r.version, "v")
	bills := map[platform][]byte{}
	for _, p := range platforms {
		if bills[p], err = r.materials(out, p); err != nil {
			return err
		}
		built := filepath.Join(r.dist, p.os, p.arch)
		base := "tapedeck-" + r.version + "-" + p.os + "-" + p.arch
		files := append(under(base, documents...), under(base+"/completions", completions...)...)
		for _, name := range programs {
			files = append(files, file{base + "/" + name, filepath.Join(built, name), 0o755})
		}
		if err := r.archive(filepath.Join(out, base+".tar.gz"), files); err != nil {
			return err
		}
		// Helm takes the text before the number as the plugin's directory.
		plugin := append(under("tapedeck", file{name: "plugin.yaml", from: source + "/plugin/plugin.yaml", mode: 0o644}, documents[0]),
			file{"tapedeck/bin/tapedeck", filepath.Join(built, "tapedeck"), 0o755})
		if err := r.archive(filepath.Join(out, "tapedeck-"+number+"-"+p.os+"-"+p.arch+".tgz"), plugin); err != nil {
			return err
		}
	}
	for name, dir := range map[string]string{"component": "deploy/component", "kpt": "deploy/kpt"} {
		files, err := tree("tapedeck-"+name, filepath.Join(source, dir))
		if err != nil {
			return err
		}
		if err := r.archive(filepath.Join(out, "tapedeck-"+name+"-"+r.version+".tar.gz"), append(files, under("tapedeck-"+name, documents[0])...)); err != nil {
			return err
		}
	}
	if err := r.image(filepath.Join(out, "tapedeck-image-"+r.version+".tar"), platforms, bills); err != nil {
		return fmt.Errorf("build the image: %w", err)
	}
	return sums(out)
}

// documents go into the archives.
var documents = []file{
	{"LICENSE", source + "/LICENSE", 0o644},
	{"README.md", source + "/README.md", 0o644},
	{"CHANGELOG.md", source + "/CHANGELOG.md", 0o644},
}

// under puts files into a directory of an archive.
func under(dir string, files ...file) []file {
	moved := make([]file, len(files))
	for i, f := range files {
		f.name = path.Join(dir, f.name)
		moved[i] = f
	}
	return moved
}

// tree returns all regular files of a directory, in the order of their names.
func tree(name, dir string) (files []file, err error) {
	err = filepath.WalkDir(dir, func(from string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, from)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		files = append(files, file{path.Join(name, filepath.ToSlash(rel)), from, mode})
		return nil
	})
	return files, err
}

// completions writes completions, with the program for this machine. Each has the name by
// which its shell finds it.
func (r release) completions() (files []file, err error) {
	for shell, name := range map[string]string{"bash": "tapedeck.bash", "zsh": "_tapedeck", "fish": "tapedeck.fish"} {
		program := filepath.Join(r.dist, runtime.GOOS, runtime.GOARCH, "tapedeck")
		text, err := exec.Command(program, "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("%s completion %s: %w", program, shell, err)
		}
		from := filepath.Join(r.dist, "completions", name)
		if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(from, text, 0o644); err != nil {
			return nil, err
		}
		files = append(files, file{name, from, 0o644})
	}
	return files, nil
}

// archive writes a compressed tar archive.
func (r release) archive(to string, files []file) (err error) {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z := gzip.NewWriter(f)
	if err := r.tar(z, files); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	return z.Close()
}

// tar writes files in the order of their names, all with the same time and owned by root.
func (r release) tar(w io.Writer, files []file) error {
	sortByName(files)
	t := tar.NewWriter(w)
	for _, f := range files {
		content, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(content)), ModTime: r.time, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		if _, err := t.Write(content); err != nil {
			return err
		}
	}
	return t.Close()
}

// sums writes the checksums of all files in a directory, in the format of sha256sum --check.
func sums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(content), e.Name())
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(list.String()), 0o644)
}
