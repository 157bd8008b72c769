package contract

import (
	"regexp"
	"runtime/debug"
)

// Release is the version of this tree's release. It is defined only here. The Makefile reads it, and
// `make generate` copies it into the manifests, the plugin and the pages that name it.
const Release = "v0.2.0"

// Repository is where the images of releases are published.
const Repository = "ghcr.io/tapedeck/tapedeck"

// Image is the image of this tree's release. Renders use it unless the configuration names another
// one.
const Image = Repository + ":" + Release

// released matches the versions of releases, such as v1.2.3 and v1.2.3-rc.1. It does not match
// versions that name a commit: v0.2.1-0.20261130120000-0123456789ab, v0.2.0+dirty.
const released = `^v\d+\.\d+\.\d+(-[a-z]+\.?\d+)?$`

// ImageOf returns the image for a program with a version from BuildVersion: the image of the same
// release, or Image for a development build, which has no separate image.
func ImageOf(version string) string {
	if regexp.MustCompile(released).MatchString(version) {
		return Repository + ":" + version
	}
	return Image
}

// BuildVersion returns the version of the running program: the one that the linker set, or else the
// one that the toolchain recorded, as it does for `go install …@v0.2.0` and in a clone, or else "dev".
func BuildVersion(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
