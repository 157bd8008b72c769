package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/fn/kustomization"
)

// kustomizeFlags are the flags with which render builds a kustomization first. They
// have the same names as in kustomize.
type kustomizeFlags struct {
	dir        string
	restrictor string
	opts       kustomization.Options
}

func (f *kustomizeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.dir, "kustomize", "k", "", "build the kustomization in `DIRECTORY` and render the result")
	cmd.Flags().BoolVar(&f.opts.AlphaPlugins, "enable-alpha-plugins", false, "with -k: run the kustomization's functions")
	cmd.Flags().BoolVar(&f.opts.Exec, "enable-exec", false, "with -k and --enable-alpha-plugins: run functions that are programs, too")
	cmd.Flags().StringVar(&f.restrictor, "load-restrictor", types.LoadRestrictionsRootOnly.String(), "with -k: "+types.LoadRestrictionsNone.String()+" loads files from outside the kustomization")
	cmd.Flags().BoolVar(&f.opts.Remote, "load-remote", false, "with -k: fetch resources from other machines, by HTTP or with git")
	_ = cmd.MarkFlagDirname("kustomize")
	_ = cmd.RegisterFlagCompletionFunc("load-restrictor", cobra.FixedCompletions(loadRestrictors, cobra.ShellCompDirectiveNoFileComp))
}

var loadRestrictors = []string{types.LoadRestrictionsRootOnly.String(), types.LoadRestrictionsNone.String()}

// sources builds the kustomization, if one is named.
func (f *kustomizeFlags) sources() ([]fn.Source, error) {
	switch f.restrictor {
	case loadRestrictors[0]:
	case loadRestrictors[1], "none":
		f.opts.AnyFile = true
	default:
		return nil, fmt.Errorf("flag --load-restrictor: found %q, allowed: %s or %s", f.restrictor, loadRestrictors[0], loadRestrictors[1])
	}
	if f.dir == "" {
		if f.opts != (kustomization.Options{}) {
			return nil, errors.New("flags --enable-alpha-plugins, --enable-exec, --load-restrictor and --load-remote apply to a kustomization; name one with -k")
		}
		return nil, nil
	}
	text, file, err := kustomization.Build(f.dir, f.opts)
	if err != nil {
		return nil, err
	}
	return []fn.Source{{Name: file, Text: text}}, nil
}
