package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// bill is the media type of a CycloneDX bill of materials in JSON.
const bill types.MediaType = "application/vnd.cyclonedx+json"

func sortByName(files []file) {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
}

// image writes the image for the Linux platforms as an OCI archive. Each platform's bill of
// materials is also a manifest in the archive, where scanners look for it. Its subject is that
// platform's image. Its own platform is unknown/unknown, because nothing runs it.
func (r release) image(to string, platforms []platform, bills map[platform][]byte) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range platforms {
		if p.os != "linux" {
			continue
		}
		img, err := r.platformImage(p)
		if err != nil {
			return err
		}
		described, err := descriptor(img, v1.Platform{OS: p.os, Architecture: p.arch})
		if err != nil {
			return err
		}
		attached, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), bill), static.NewLayer(bills[p], bill))
		if err != nil {
			return err
		}
		about := mutate.Subject(attached, described).(v1.Image)
		aside, err := descriptor(about, v1.Platform{OS: "unknown", Architecture: "unknown"})
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: described}, mutate.IndexAddendum{Add: about, Descriptor: aside})
	}
	dir, err := os.MkdirTemp(r.dist, "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := at.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.version})); err != nil {
		return err
	}
	files, err := tree(".", dir)
	if err != nil {
		return err
	}
	for i := range files {
		files[i].mode = 0o644
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	if err := r.tar(f, files); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// descriptor describes an image for the index.
func descriptor(img v1.Image, p v1.Platform) (v1.Descriptor, error) {
	digest, err := img.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := img.Size()
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size, Platform: &p}, err
}

// platformImage returns the image for one platform. Its configuration is the same as the
// Dockerfile's; a test compares them.
func (r release) platformImage(p platform) (v1.Image, error) {
	root := filepath.Join(r.dist, p.os, p.arch)
	files, err := tree(".", root)
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	if err := r.tar(&content, files); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.time}, CreatedBy: "make release"}})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = p.os, p.arch, v1.Time{Time: r.time}
	config.Config = v1.Config{
		User:       "2102:2102",
		Entrypoint: []string{"/tapedeck"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "tapedeck",
			"org.opencontainers.image.description": "Record the traffic of Istio workloads and play it back, wired in at render time",
			"org.opencontainers.image.source":      "https://github.com/tapedeck/tapedeck",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     r.version,
		},
	}
	return mutate.ConfigFile(img, config)
}

// materials writes and returns the bill of materials of a platform's programs: the modules
// that tapedeck links, with their licences. It links all modules that tapedeck-proxy links.
func (r release) materials(out string, p platform) ([]byte, error) {
	to := filepath.Join(out, "tapedeck-"+r.version+"-"+p.os+"-"+p.arch+".cdx.json")
	cmd := exec.Command("go", "tool", "cyclonedx-gomod", "bin", "-json", "-std", "-licenses", "-noserial", "-notimestamp",
		"-version", r.version, "-output", to, filepath.Join(r.dist, p.os, p.arch, "tapedeck"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("list the modules of %s/%s: %w\n%s", p.os, p.arch, err, text)
	}
	return os.ReadFile(to)
}
