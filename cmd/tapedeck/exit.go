package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/internal/spelling"
)

// Exit codes of the commands that judge or wrap a run. CI can tell them apart.
const (
	codeUnfired       = 1   // a fault rule never fired
	codeCannotRun     = 2   // wrong flags, a port that is taken, a place that can't be read
	codeMissed        = 4   // a request was answered by a miss
	codeIncomplete    = 6   // the recording is damaged or incomplete
	codePartFailed    = 7   // a shard can't send its part, and another one has the verdict
	codeCommandFailed = 100 // the command that was run failed, and nothing else is wrong
)

// exitCodes describes them in the help of a command.
const exitCodes = `Exit codes: 0 if all is well, 2 if it could not run, 6 if the recording is
incomplete, 100 if only the command failed; its own status is printed.`

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// coded gives codeCannotRun to an error that has no exit code.
func coded(err error) error {
	var exit exitError
	var code *codedError
	if err == nil || errors.As(err, &exit) || errors.As(err, &code) {
		return err
	}
	return &codedError{codeCannotRun, err}
}

// takenPort explains an error about a port that another program listens on. flag returns the flag that chooses
// the port.
func takenPort(err error, flag func(port int) string) error {
	var op *net.OpError
	if !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &op) {
		return err
	}
	at, ok := op.Addr.(*net.TCPAddr)
	if !ok {
		return err
	}
	return fmt.Errorf("port %d is taken: choose another with %s", at.Port, flag(at.Port))
}

// flagError is wrongFlag for a command that exits with codeCannotRun if it could not run.
func flagError(cmd *cobra.Command, err error) error { return coded(wrongFlag(cmd, err)) }

// wrongFlag says what is wrong with a flag, and what to do.
func wrongFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(cmd, unknown)
	case errors.As(err, &invalid):
		if want := wantedValues[invalid.GetFlag().Value.Type()]; want != "" {
			return fmt.Errorf("--%s %q: want %s", invalid.GetFlag().Name, invalid.GetValue(), want)
		}
	}
	return err
}

// wantedValues says which values a flag takes, by its type.
var wantedValues = map[string]string{
	"int":      "a whole number",
	"int64":    "a whole number",
	"uint64":   "a whole number, 0 or more",
	"float64":  "a number",
	"duration": "a duration, such as 90s or 1h30m",
	"bool":     "true or false",
}

// unknownFlag returns the error for a flag that the command does not have, with a suggestion.
func unknownFlag(cmd *cobra.Command, err *pflag.NotExistError) error {
	name := err.GetSpecifiedName()
	if strings.Contains(cmd.Use, " COMMAND ") && cmd.Flags().NArg() > 1 {
		return noDashes(cmd, cmd.Flags().Args(), err)
	}
	if (name == "o" || name == "output") && slices.Contains(writesToStdout, cmd.Name()) {
		return fmt.Errorf("%w; %s writes to standard output: redirect it, as in %[2]s FILE > OUTPUT", err, cmd.CommandPath())
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	hint := ""
	if near := spelling.Meant(name, names); near != "" && len(name) > 1 {
		hint = fmt.Sprintf("did you mean --%s? ", near)
	}
	return fmt.Errorf("%w; %s%s --help lists the flags", err, hint, cmd.CommandPath())
}

// writesToStdout are the commands that have no flag for an output file.
var writesToStdout = []string{"render", "uninject", "fn"}

// noDashes returns the error for a command line that lacks the -- before the command to run.
func noDashes(cmd *cobra.Command, args []string, err error) error {
	return fmt.Errorf("%w; put -- before the command, as in %s %s -- %s", err, cmd.CommandPath(), args[0], args[1])
}

// placeAndCommand accepts only PLACE -- COMMAND.
func placeAndCommand(cmd *cobra.Command, args []string) error {
	if cmd.ArgsLenAtDash() == 1 && len(args) > 1 {
		return nil
	}
	return wrongArguments(cmd, args)
}

// wrongArguments returns the error for arguments that are not PLACE and a command.
func wrongArguments(cmd *cobra.Command, args []string) error {
	err := fmt.Errorf("want %s", cmd.Use)
	if cmd.ArgsLenAtDash() < 0 && len(args) > 1 {
		return coded(noDashes(cmd, args, err))
	}
	return coded(fmt.Errorf("%w; see tapedeck %s --help", err, cmd.Name()))
}
