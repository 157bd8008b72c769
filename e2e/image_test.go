package e2e

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// TestImageRunsAsAnyUser renders in a container under every user that a
// caller may choose, with no network, no capability and nothing to write to:
// what comes out is what the binary gives outside.
func TestImageRunsAsAnyUser(t *testing.T) {
	needDocker(t)
	manifests := read(t, "testdata/shop.yaml")
	want := run(t, "", manifests, tapedeck, "render", "--set", "image="+sidecarImage).ok(t)
	for _, user := range []string{"", "nobody", "tapedeck", "12345:54321", "0:0"} {
		t.Run("user "+user, func(t *testing.T) {
			args := []string{"run", "--rm", "--interactive", "--network", "none", "--read-only",
				"--cap-drop", "ALL", "--security-opt", "no-new-privileges"}
			if user != "" {
				args = append(args, "--user", user)
			}
			got := run(t, "", manifests, "docker", append(args, image, "render", "--set", "image="+sidecarImage)...).ok(t)
			if !bytes.Equal(got, want) {
				t.Errorf("the container's output is not the binary's:\n%s", firstDifference(want, got))
			}
		})
	}
}

// TestImageHoldsTwoBinaries looks into the image that the engine has.
func TestImageHoldsTwoBinaries(t *testing.T) {
	needDocker(t)
	var inspected []struct {
		Config struct {
			User       string
			Entrypoint []string
		}
	}
	if err := json.Unmarshal(run(t, "", nil, "docker", "image", "inspect", image).ok(t), &inspected); err != nil {
		t.Fatal(err)
	}
	if got := inspected[0].Config; got.User != "2102:2102" || !slices.Equal(got.Entrypoint, []string{"/tapedeck"}) {
		t.Errorf("the image runs %q as %q, want /tapedeck as 2102:2102", got.Entrypoint, got.User)
	}
	created := strings.TrimSpace(string(run(t, "", nil, "docker", "create", "--network", "none", image).ok(t)))
	t.Cleanup(func() { run(t, "", nil, "docker", "rm", created) })
	files := untar(t, bytes.NewReader(run(t, "", nil, "docker", "export", created).ok(t)))
	// The engine itself puts mount points under dev, proc, sys and etc.
	checkRootFS(t, files, elf.EM_X86_64, elf.EM_AARCH64)
}

// TestImageForTwoPlatforms builds the image as a release does and reads the
// archive as a registry would: one index, two images, each with its own
// binaries.
func TestImageForTwoPlatforms(t *testing.T) {
	if _, err := exec.LookPath("buildah"); err != nil && run(t, "", nil, "docker", "buildx", "version").err != nil {
		t.Skip("neither buildah nor docker buildx is here to build for several platforms")
	}
	if err := makeGoal("image", "PLATFORMS=linux/amd64,linux/arm64", "IMAGE="+testImage, "VERSION="+testVersion); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	archive, err := filepath.Abs(filepath.Join(repo, "dist/tapedeck-oci.tar"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, "tar", "-xf", archive).ok(t)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	images := platforms(t, index)
	if got, want := slices.Sorted(maps.Keys(images)), []string{"linux/amd64", "linux/arm64"}; !slices.Equal(got, want) {
		t.Fatalf("the index names %q, want %q", got, want)
	}
	for platform, machine := range map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64} {
		config, err := images[platform].ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.OS + "/" + config.Architecture; got != platform {
			t.Errorf("the image of %s says that it is for %s", platform, got)
		}
		if got := config.Config; got.User != "2102:2102" || !slices.Equal(got.Entrypoint, []string{"/tapedeck"}) {
			t.Errorf("%s: the image runs %q as %q, want /tapedeck as 2102:2102", platform, got.Entrypoint, got.User)
		}
		root := mutate.Extract(images[platform])
		checkRootFS(t, untar(t, root), machine)
		root.Close()
	}
}

// platforms returns the images of an index and of the indexes in it, by
// platform.
func platforms(t *testing.T, index v1.ImageIndex) map[string]v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	images := make(map[string]v1.Image)
	for _, entry := range manifest.Manifests {
		if entry.MediaType.IsIndex() {
			inner, err := index.ImageIndex(entry.Digest)
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(images, platforms(t, inner))
			continue
		}
		if entry.Platform == nil {
			t.Fatalf("the index has an image without a platform: %s", entry.Digest)
		}
		if images[entry.Platform.String()], err = index.Image(entry.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return images
}

// file is one of a root file system.
type file struct {
	mode    int64
	content []byte
}

// untar returns the regular files of an archive that hold anything.
func untar(t *testing.T, r io.Reader) map[string]file {
	t.Helper()
	files := make(map[string]file)
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg || header.Size == 0 {
			continue
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.Trim(header.Name, "./")] = file{header.Mode, content}
	}
}

// checkRootFS fails the test unless the files are the two binaries, static and
// for one of the machines, and the two files that name their users, all readable
// by every user.
func checkRootFS(t *testing.T, files map[string]file, machines ...elf.Machine) {
	t.Helper()
	if got, want := slices.Sorted(maps.Keys(files)), []string{"etc/group", "etc/passwd", "tapedeck", "tapedeck-proxy"}; !slices.Equal(got, want) {
		t.Fatalf("the image holds %q, want %q", got, want)
	}
	for name, mode := range map[string]int64{"etc/group": 0o444, "etc/passwd": 0o444, "tapedeck": 0o555, "tapedeck-proxy": 0o555} {
		if got := files[name].mode; got&mode != mode {
			t.Errorf("%s has mode %o, want %o for every user", name, got, mode)
		}
	}
	for _, user := range []string{"nobody:x:65534:65534:", "tapedeck:x:2102:2102:"} {
		if !strings.Contains(string(files["etc/passwd"].content), user) {
			t.Errorf("/etc/passwd has no %s:\n%s", user, files["etc/passwd"].content)
		}
	}
	for _, name := range []string{"tapedeck", "tapedeck-proxy"} {
		binary, err := elf.NewFile(bytes.NewReader(files[name].content))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(machines, binary.Machine) {
			t.Errorf("%s is for %s, want %s", name, binary.Machine, machines)
		}
		for _, segment := range binary.Progs {
			if segment.Type == elf.PT_INTERP {
				t.Errorf("%s needs a dynamic linker, and the image has none", name)
			}
		}
	}
}
