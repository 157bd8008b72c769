package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// refuseEmpty refuses empty names of files, places and targets. A script's variable without a
// value is the usual reason, and what the command would do without the name is something else.
func refuseEmpty(cmd *cobra.Command, args []string) (err error) {
	if cmd.DisableFlagParsing { // a shell asks how a line could go on
		return nil
	}
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		args = args[:dash] // what follows is another program's
	}
	for i, arg := range args {
		if arg == "" {
			return cmd.FlagErrorFunc()(cmd, fmt.Errorf("argument %d is empty: want %s", i+1, cmd.UseLine()))
		}
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if what, usage := pflag.UnquoteUsage(f); names[strings.ToLower(what)] && hasEmpty(f.Value) {
			err = cmd.FlagErrorFunc()(cmd, fmt.Errorf("--%s: it is empty; want the %s: %s", f.Name, what, usage))
		}
	})
	return err
}

// hasEmpty tells whether a value, or one of several, is empty.
func hasEmpty(v pflag.Value) bool {
	if all, ok := v.(pflag.SliceValue); ok {
		return slices.Contains(all.GetSlice(), "")
	}
	return v.String() == ""
}

// names are what flags are called in their help whose values name something.
var names = map[string]bool{"file": true, "directory": true, "place": true, "url": true}
