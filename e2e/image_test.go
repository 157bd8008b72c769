package e2e

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestImageRunsAsAnyUser renders in a container under every user that a caller may choose, with no
// network, no capability and no writable path. The output equals that of the binary outside.
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

// TestImageForTwoPlatforms builds the archive of the image that `make image` writes for
// several platforms. The builder is that of releases.
func TestImageForTwoPlatforms(t *testing.T) {
	if err := makeGoal("image", "PLATFORMS=linux/amd64,linux/arm64", "IMAGE="+testImage, "VERSION="+testVersion); err != nil {
		t.Fatal(err)
	}
	checkImageArchive(t, filepath.Join(repo, "dist", "tapedeck-oci.tar"), testVersion)
}

// file is a file of a root file system.
type file struct {
	mode    int64
	content []byte
}

// untar returns the regular files of an archive that are not empty.
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
