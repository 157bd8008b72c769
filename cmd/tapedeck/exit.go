package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
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

// coded gives an error without an exit code the one for what could not run.
func coded(err error) error {
	var exit exitError
	var code *codedError
	if err == nil || errors.As(err, &exit) || errors.As(err, &code) {
		return err
	}
	return &codedError{codeCannotRun, err}
}

// flagError is about a wrong flag.
func flagError(_ *cobra.Command, err error) error { return coded(err) }

// placeAndCommand wants PLACE -- COMMAND.
func placeAndCommand(cmd *cobra.Command, args []string) error {
	if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
		return coded(fmt.Errorf("want %s; see tapedeck %s --help", cmd.Use, cmd.Name()))
	}
	return nil
}
