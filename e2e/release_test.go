package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/tapedeck/tapedeck/contract"
)

var update = flag.Bool("update", false, "write what the example of the kpt function gives")

// released is the output directory of `make release`.
var released = filepath.Join(repo, "dist", "release")

// TestRelease builds a release twice, and uses its files like its users.
func TestRelease(t *testing.T) {
	first := makeRelease(t)
	if second := makeRelease(t); !maps.Equal(first, second) {
		t.Errorf("two runs differ:\n%v\n%v", first, second)
	}
	t.Run("checksums", func(t *testing.T) { checkSums(t, first) })
	t.Run("archives", checkArchives)
	t.Run("image", checkReleasedImage)
	t.Run("bills of materials", checkBills)
	t.Run("helm plugin", checkPluginArchive)
	t.Run("kustomize component", checkComponent)
	t.Run("kpt package", checkKptPackage)
}

// makeRelease returns the checksums of the files of a release, by their names.
func makeRelease(t *testing.T) map[string]string {
	t.Helper()
	if err := makeGoal("release"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(released)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, e := range entries {
		sum := sha256.Sum256(read(t, filepath.Join(released, e.Name())))
		sums[e.Name()] = hex.EncodeToString(sum[:])
	}
	return sums
}

func checkSums(t *testing.T, sums map[string]string) {
	listed := map[string]string{}
	for line := range strings.Lines(string(read(t, filepath.Join(released, "SHA256SUMS")))) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		listed[name] = sum
	}
	files := maps.Clone(sums)
	delete(files, "SHA256SUMS")
	if !maps.Equal(listed, files) {
		t.Errorf("SHA256SUMS lists %v, and the files are %v", listed, files)
	}
	number := strings.TrimPrefix(contract.Release, "v")
	for _, want := range []string{
		"tapedeck-" + contract.Release + "-darwin-arm64.tar.gz", "tapedeck-" + number + "-linux-amd64.tgz", "tapedeck-image-" + contract.Release + ".tar",
		"tapedeck-" + contract.Release + "-linux-arm64.cdx.json", "tapedeck-" + contract.Release + "-darwin-arm64.cdx.json", "tapedeck-component-" + contract.Release + ".tar.gz", "tapedeck-kpt-" + contract.Release + ".tar.gz",
	} {
		if listed[want] == "" {
			t.Errorf("the release lacks %s", want)
		}
	}
}

// checkArchives checks the archive of each platform, and runs the programs for this one.
func checkArchives(t *testing.T) {
	for _, platform := range []string{"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"} {
		base := "tapedeck-" + contract.Release + "-" + platform
		files := unpack(t, base+".tar.gz", t.TempDir())
		want := []string{"CHANGELOG.md", "LICENSE", "README.md", "completions/_tapedeck", "completions/tapedeck.bash", "completions/tapedeck.fish", "tapedeck", "tapedeck-proxy"}
		for i := range want {
			want[i] = base + "/" + want[i]
		}
		if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", base, got, want)
		}
		for _, program := range []string{"tapedeck", "tapedeck-proxy"} {
			f := files[base+"/"+program]
			system, arch := "", ""
			if binary, err := elf.NewFile(bytes.NewReader(f.content)); err == nil {
				system, arch = "linux", map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[binary.Machine]
			} else if binary, err := macho.NewFile(bytes.NewReader(f.content)); err == nil {
				system, arch = "darwin", map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[binary.Cpu]
			}
			if got := system + "-" + arch; got != platform || f.mode&0o111 != 0o111 {
				t.Errorf("%s of %s is a program for %s of mode %o", program, platform, got, f.mode)
			}
		}
	}
	dir := t.TempDir()
	base := "tapedeck-" + contract.Release + "-" + goruntime.GOOS + "-" + goruntime.GOARCH
	unpack(t, base+".tar.gz", dir)
	for _, program := range []string{"tapedeck", "tapedeck-proxy"} {
		if got, want := string(run(t, dir, nil, filepath.Join(dir, base, program), "version").ok(t)), program+" "+contract.Release+" ("; !strings.HasPrefix(got, want) {
			t.Errorf("the program says %q, want %q", got, want)
		}
	}
	rendered := run(t, dir, read(t, "testdata/shop.yaml"), filepath.Join(dir, base, "tapedeck"), "render").ok(t)
	if want := "image: " + contract.Image + "\n"; !strings.Contains(string(rendered), want) {
		t.Errorf("the render lacks %q", want)
	}
}

// checkReleasedImage compares the bills of materials in the image's archive with their files.
func checkReleasedImage(t *testing.T) {
	for platform, attached := range checkImageArchive(t, filepath.Join(released, "tapedeck-image-"+contract.Release+".tar"), contract.Release) {
		if !bytes.Equal(attached, read(t, billOf(platform))) {
			t.Errorf("%s: the bill of materials in the image is not the file", platform)
		}
	}
}

// checkBills reads the bill of materials of each platform's programs.
func checkBills(t *testing.T) {
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"} {
		checkBill(t, platform, read(t, billOf(platform)), contract.Release)
	}
}

// billOf returns the file with a platform's bill of materials.
func billOf(platform string) string {
	return filepath.Join(released, "tapedeck-"+contract.Release+"-"+strings.ReplaceAll(platform, "/", "-")+".cdx.json")
}

// checkImageArchive reads an OCI archive as a registry would: an image for each platform,
// which is configured as the Dockerfile says, and a bill of materials about each. It returns
// the bills.
func checkImageArchive(t *testing.T, archive, version string) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	archive, err := filepath.Abs(archive)
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, "tar", "-xf", archive).ok(t)
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != version {
		t.Fatalf("%v: want one index by the name %s: %+v", err, version, manifest)
	}
	index, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err = index.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	images, bills := map[string]v1.Image{}, map[string]v1.Image{}
	for _, d := range manifest.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if d.Platform.OS != "unknown" {
			images[d.Platform.String()] = img
			continue
		}
		m, err := img.Manifest()
		if err != nil || m.Subject == nil {
			t.Fatalf("%v: the bill of materials %s is about no image", err, d.Digest)
		}
		bills[m.Subject.Digest.String()] = img
	}
	machines := map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64}
	if got := slices.Sorted(maps.Keys(images)); !slices.Equal(got, slices.Sorted(maps.Keys(machines))) {
		t.Fatalf("images for %q", got)
	}
	materials := map[string][]byte{}
	dockerfile := string(read(t, filepath.Join(repo, "Dockerfile")))
	for platform, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.OS + "/" + config.Architecture; got != platform {
			t.Errorf("the image of %s says that it is for %s", platform, got)
		}
		for label, value := range config.Config.Labels {
			if label == "org.opencontainers.image.version" {
				if value != version {
					t.Errorf("the image's version is %q", value)
				}
				value = "${VERSION}"
			}
			if !strings.Contains(dockerfile, label+`="`+value+`"`) {
				t.Errorf("the Dockerfile has no label %s=%q", label, value)
			}
		}
		if got, want := len(config.Config.Labels), strings.Count(dockerfile, "org.opencontainers.image."); got != want {
			t.Errorf("%d labels, and the Dockerfile has %d", got, want)
		}
		if !strings.Contains(dockerfile, "\nUSER "+config.Config.User+"\n") || !strings.Contains(dockerfile, "\nENTRYPOINT [\""+strings.Join(config.Config.Entrypoint, `", "`)+"\"]\n") {
			t.Errorf("the image runs %q as %q, unlike the Dockerfile's", config.Config.Entrypoint, config.Config.User)
		}
		root := mutate.Extract(img)
		checkRootFS(t, untar(t, root), machines[platform])
		root.Close()

		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if bills[digest.String()] == nil {
			t.Fatalf("%s: the image has no bill of materials", platform)
		}
		materials[platform] = attachment(t, bills[digest.String()])
		checkBill(t, platform, materials[platform], version)
	}
	return materials
}

// attachment returns the only layer of an image.
func attachment(t *testing.T, img v1.Image) []byte {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers: %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	attached, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	return attached
}

// checkBill looks in a bill of materials for a module that every program links.
func checkBill(t *testing.T, platform string, text []byte, version string) {
	t.Helper()
	var bill struct {
		BOMFormat string
		Metadata  struct {
			Component struct{ Name, Version string }
		}

		Components []struct {
			PURL     string
			Evidence struct{ Licenses []any }
		}
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatalf("%s: %v", platform, err)
	}
	if bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Version != version {
		t.Errorf("%s: a %q of %+v", platform, bill.BOMFormat, bill.Metadata.Component)
	}
	licensed := 0
	for _, c := range bill.Components {
		if strings.HasPrefix(c.PURL, "pkg:golang/golang.org/x/net@") && len(c.Evidence.Licenses) > 0 {
			licensed++
		}
	}
	if licensed != 1 {
		t.Errorf("%s: the bill of materials lists golang.org/x/net with a licence %d times", platform, licensed)
	}
}

// checkPluginArchive makes Helm 4 install the plugin and render with it.
func checkPluginArchive(t *testing.T) {
	home := t.TempDir()
	name := "tapedeck-" + strings.TrimPrefix(contract.Release, "v") + "-" + goruntime.GOOS + "-" + goruntime.GOARCH + ".tgz"
	archive, err := filepath.Abs(filepath.Join(released, name))
	if err != nil {
		t.Fatal(err)
	}
	helmIn(t, home, "helm4", "plugin", "install", archive, "--verify=false").ok(t)
	if list := string(helmIn(t, home, "helm4", "plugin", "list").ok(t)); !strings.Contains(list, strings.TrimPrefix(contract.Release, "v")) {
		t.Errorf("the plugin's version is not %s:\n%s", contract.Release, list)
	}
	out := string(helmTemplate(t, home, "helm4", asChart(t, read(t, "testdata/shop.yaml")), postRenderer("tapedeck")...).ok(t))
	if !strings.Contains(out, "image: "+contract.Image) {
		t.Errorf("the plugin did not render:\n%s", out)
	}
}

// checkComponent builds a kustomization with the component, whose output is the same as that
// of a pipe through the program. Its function runs in a container. Without an engine, the
// program of the same release replaces it.
func checkComponent(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "tapedeck-component-"+contract.Release+".tar.gz", dir)
	function := filepath.Join(dir, "tapedeck-component", "tapedeck.yaml")
	text := string(read(t, function))
	container := "container:\n        image: " + contract.Image
	if !strings.Contains(text, container) {
		t.Fatalf("the component runs another image than %s:\n%s", contract.Image, text)
	}
	instead := "exec:\n        path: " + tapedeck
	if noDocker() == "" {
		instead = "container:\n        image: " + image
	}
	write(t, dir, map[string]string{
		"tapedeck-component/tapedeck.yaml": strings.Replace(text, container, instead, 1) + "spec:\n  image: " + sidecarImage + "\n",
		"shop/shop.yaml":                   string(read(t, "testdata/shop.yaml")),
		"shop/kustomization.yaml":          "resources: [shop.yaml]\ncomponents: [../tapedeck-component]\n",
		"plain/shop.yaml":                  string(read(t, "testdata/shop.yaml")),
		"plain/kustomization.yaml":         "resources: [shop.yaml]\n",
	})
	checkInjected(t, kustomizeBuild(t, filepath.Join(dir, "plain")).ok(t), kustomizeBuild(t, filepath.Join(dir, "shop")).ok(t), []workload{{"Deployment", "checkout", 8080}})
}

// checkKptPackage runs the example of the kpt function, with the program instead of its image, and
// compares the result with the package's documentation.
func checkKptPackage(t *testing.T) {
	needKpt(t)
	dir := t.TempDir()
	unpack(t, "tapedeck-kpt-"+contract.Release+".tar.gz", dir)
	example := filepath.Join(dir, "tapedeck-kpt", "examples", "tapedeck-simple")
	run(t, example, nil, "git", "init", "-q").ok(t)
	run(t, example, nil, "git", "add", "-f", ".").ok(t)
	kptfile := string(read(t, filepath.Join(example, "Kptfile")))
	write(t, example, map[string]string{"Kptfile": strings.Replace(kptfile, "image: "+contract.Image, "exec: "+tapedeck, 1)})
	kptFnRender(t, example, t.TempDir()).ok(t)
	write(t, example, map[string]string{"Kptfile": kptfile})
	run(t, example, nil, "git", "add", "--intent-to-add", ".").ok(t)
	got := run(t, example, nil, "git", "diff", "--no-color", "--no-ext-diff").ok(t)
	const expected = "deploy/kpt/examples/tapedeck-simple/.expected/diff.patch"
	if *update {
		write(t, repo, map[string]string{expected: string(got)})
	}
	if want := read(t, filepath.Join(repo, expected)); !bytes.Equal(got, want) {
		t.Errorf("kpt gives another difference than %s; `go test -run TestRelease -update` writes it:\n%s", expected, firstDifference(want, got))
	}
}

// unpack extracts an archive of the release into dir, and returns its files.
func unpack(t *testing.T, name, dir string) map[string]file {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(read(t, filepath.Join(released, name))))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]file{}
	for archive := tar.NewReader(z); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.FileInfo().Mode().IsRegular() || path.IsAbs(header.Name) || header.Uid != 0 || header.Uname != "" {
			t.Errorf("%s: want relative names of regular files, and no user of the machine that built them: %+v", name, header)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = file{header.Mode, content}
		to := filepath.Join(dir, header.Name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, os.FileMode(header.Mode)); err != nil {
			t.Fatal(err)
		}
	}
}
