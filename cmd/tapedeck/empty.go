package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// refuseEmpty rejects empty names of files, places and targets. The usual cause is an unset variable
// in a script. Without the name, the command would do something else.
func refuseEmpty(cmd *cobra.Command, args []string) (err error) {
	if cmd.DisableFlagParsing { // a shell asks for completions
		return nil
	}
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		args = args[:dash] // the rest belongs to another program
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

// hasEmpty reports whether a value, or one of several, is empty.
func hasEmpty(v pflag.Value) bool {
	if all, ok := v.(pflag.SliceValue); ok {
		return slices.Contains(all.GetSlice(), "")
	}
	return v.String() == ""
}

// names are the placeholders, in the help of flags, for values that name something.
var names = map[string]bool{"file": true, "directory": true, "place": true, "url": true}
