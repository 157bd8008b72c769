package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/transformer"
)

// version is set by the linker: `make release` sets the version of the release, and
// `make build` names the commit.
var version = ""

// buildVersion returns the version of this build.
func buildVersion() string { return contract.BuildVersion(version) }

// baseConfig is the default configuration of this build: it names the image of the
// same version, so that renderer and sidecar fit together.
func baseConfig() transformer.Config {
	cfg := transformer.DefaultConfig()
	cfg.Image = contract.ImageOf(buildVersion())
	return cfg
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of the program and of its contract with the image",
		Long:    "Prints the version of the program, and the version of the contract between a render and the image, which\nthe option imageContract states for a pinned image.",
		Example: "  tapedeck version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "tapedeck %s (contract %d, %s, %s/%s)\n", buildVersion(), contract.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
