// Command tapedeck-proxy is the sidecar of rendered pods. It is a separate program, so that
// pods need no memory for the renderer and a CLI framework.
//
//	tapedeck-proxy                      run the sidecar, configured by environment variables
//	tapedeck-proxy healthz [--wait 60s] check whether this pod's sidecar is ready
//	tapedeck-proxy hosts                write the application's hosts file before the sidecar runs
//	tapedeck-proxy inspect PATH...      list recorded exchanges, or show one
//	tapedeck-proxy export [DIR]         write the recordings to standard output, for tapedeck pull
//	tapedeck-proxy version              print the version
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/cmd/internal/signals"
	"github.com/tapedeck/tapedeck/cmd/internal/terminal"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/hostsfile"
	"github.com/tapedeck/tapedeck/recording/archive"
	"github.com/tapedeck/tapedeck/recording/inspect"
	"github.com/tapedeck/tapedeck/sidecar"
)

// version is set by the linker: `make release` sets the version of the release, and
// `make build` names the commit.
var version = ""

func main() {
	ctx, release := signals.Notify(context.Background())
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	release()
	os.Exit(code)
}

// command is a subcommand.
type command struct {
	name, usage, does, example string
	// prepare declares the flags and returns what runs once they are parsed.
	prepare func(*flag.FlagSet) func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

// called returns the command line that calls the command, with more words.
func (c *command) called(words ...string) string {
	return strings.Join(strings.Fields("tapedeck-proxy "+c.name+" "+strings.Join(words, " ")), " ")
}

// commands lists the subcommands in the order of the help; the first is a call
// without one.
func commands() []command {
	return []command{
		{"", "", "run the sidecar, configured by environment variables (docs/environment.md)",
			"REVERSE_PROXY_PORT=8080 TAPEDECK_SINK=file:///tmp/recordings tapedeck-proxy", prepareRun},
		{"healthz", "[--wait DURATION]", "check whether this pod's sidecar is ready; the exit code is the answer",
			"tapedeck-proxy healthz --wait 60s", prepareHealthz},
		{"hosts", "[FILE]", "copy the pod's hosts file to FILE, by default " + contract.HostsFile + ", for the application; the sidecar adds the captured hosts later",
			"tapedeck-proxy hosts", prepareHosts},
		{"inspect", "[flags] PATH...", "list recorded exchanges, or show one",
			"tapedeck-proxy inspect --direction out --status 5xx /var/lib/tapedeck/recordings", prepareInspect},
		{"export", "[DIR]", "write the recordings in DIR to standard output as a tar archive, for tapedeck pull; by default DIR is the directory in " + contract.EnvSink + " or " + contract.EnvSpool,
			"kubectl exec POD -c " + contract.Container + " -- " + contract.ProxyBinary + " export | tapedeck pull - recordings", prepareExport},
		{"version", "", "print the version", "tapedeck-proxy version", prepareVersion},
	}
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	all := commands()
	at := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if at < 0 {
		return fail(stderr, fmt.Errorf("unknown command %q; tapedeck-proxy --help lists the commands", name))
	}
	c := all[at]
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	do := c.prepare(flags)
	if name != "" { // the sidecar drains
		ctx = signals.AtOnce(ctx)
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		signals.AtOnce(ctx)
		if name != "" {
			all = all[at : at+1]
		}
		help(stdout, all, flags)
		return 0
	case err != nil:
		return fail(stderr, fmt.Errorf("%w; %s lists the flags", err, c.called("--help")))
	}
	err := do(ctx, flags.Args(), stdout, stderr)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, inspect.ErrUnreadable):
		return 1 // the notes say which
	}
	return fail(stderr, err)
}

func fail(stderr io.Writer, err error) int {
	signals.LastWords(stderr, "tapedeck-proxy", err)
	return 1
}

// help prints the help of subcommands, and the flags of the one that was called.
func help(w io.Writer, listed []command, flags *flag.FlagSet) {
	for _, c := range listed {
		fmt.Fprintf(w, "%s\n    %s\n    Example: %s\n", c.called(c.usage), c.does, c.example)
	}
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// none rejects arguments.
func none(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q: want none", args[0])
	}
	return nil
}

func prepareRun(*flag.FlagSet) func(context.Context, []string, io.Writer, io.Writer) error {
	return func(ctx context.Context, args []string, _, stderr io.Writer) error {
		if err := none(args); err != nil {
			return err
		}
		return sidecar.Main(ctx, os.Getenv, contract.BuildVersion(version), stderr)
	}
}

func prepareHealthz(flags *flag.FlagSet) func(context.Context, []string, io.Writer, io.Writer) error {
	wait := flags.Duration("wait", time.Duration(0), "wait up to this long until the sidecar is ready")
	return func(ctx context.Context, args []string, _, _ io.Writer) error {
		if err := none(args); err != nil {
			return err
		}
		return sidecar.Wait(ctx, *wait)
	}
}

// prepareHosts is the command of the init container in pods with a classic sidecar.
func prepareHosts(*flag.FlagSet) func(context.Context, []string, io.Writer, io.Writer) error {
	return func(_ context.Context, args []string, _, _ io.Writer) error {
		file := contract.HostsFile
		switch len(args) {
		case 0:
		case 1:
			file = args[0]
		default:
			return fmt.Errorf("unexpected argument %q: want one file, or none", args[1])
		}
		own, err := hostsfile.Read(contract.SystemHosts)
		if err != nil {
			return err
		}
		return hostsfile.Write(file, hostsfile.OwnOrDefault(own))
	}
}

func prepareInspect(flags *flag.FlagSet) func(context.Context, []string, io.Writer, io.Writer) error {
	var o inspect.Options
	o.MaxHeld, o.MaxOpen = 4<<20, 8 // it runs where the sidecar's memory is limited
	for _, f := range o.Flags() {
		if f.Switch != nil {
			flags.BoolVar(f.Switch, f.Name, false, f.Usage)
			continue
		}
		flags.StringVar(f.Value, f.Name, f.Default, f.Usage)
		if f.Short != "" {
			flags.StringVar(f.Value, f.Short, f.Default, "short for --"+f.Name)
		}
	}
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		if len(args) == 0 {
			return errors.New("name at least one directory or segment, such as " + contract.RecordingDir)
		}
		return inspect.Run(ctx, stdout, stderr, "tapedeck-proxy:", args, inspect.Path, o)
	}
}

func prepareExport(*flag.FlagSet) func(context.Context, []string, io.Writer, io.Writer) error {
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		var dir string
		var err error
		switch len(args) {
		case 0:
			dir, err = sidecar.Directory(os.Getenv)
		case 1:
			dir, err = contract.ParseDirectory(args[0])
		default:
			return fmt.Errorf("unexpected argument %q: want one directory, or none", args[1])
		}
		if terminal.Is(stdout) {
			return errors.New("export writes a tar archive, and standard output is a terminal: redirect it to a file, or pipe it to tapedeck pull - DIR")
		}
		if err != nil {
			return err
		}
		m, err := archive.Write(ctx, stdout, dir, contract.BuildVersion(version))
		if err != nil {
			return err
		}
		for _, note := range []struct {
			n    int
			what string
		}{
			{m.Removed, "segments that were sent to the collector or removed meanwhile"},
			{m.Skipped, "files that are not segments"},
		} {
			if note.n > 0 {
				fmt.Fprintf(stderr, "note: not sent: %s: %d\n", note.what, note.n)
			}
		}
		return nil
	}
}

func prepareVersion(*flag.FlagSet) func(context.Context, []string, io.Writer, io.Writer) error {
	return func(_ context.Context, args []string, stdout, _ io.Writer) error {
		if err := none(args); err != nil {
			return err
		}
		_, err := fmt.Fprintf(stdout, "tapedeck-proxy %s (%s, %s/%s)\n", contract.BuildVersion(version), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}
}
