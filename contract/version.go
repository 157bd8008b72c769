package contract

import "runtime/debug"

// BuildVersion returns the version of the running program: the one that the
// linker set, if any, or else the revision that the toolchain recorded, or
// "dev".
func BuildVersion(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
