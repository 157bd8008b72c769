package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/signals"
)

// exitError carries an exit code out of a command that has already reported the error.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run executes the command line and returns the exit code. Only this package
// prints and exits.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, release := signals.Notify(context.Background())
	defer release()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	var does string
	if cmd, _, _ := root.Find(args); cmd != nil {
		does = cmd.Annotations[onSignal]
	}
	signalled := ctx
	if does == "" {
		ctx = signals.AtOnce(ctx)
	}
	err := root.ExecuteContext(ctx)
	if does == cleansUp {
		signals.Follow(signalled)
	}
	var exit exitError
	var coded *codedError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &coded):
		signals.LastWords(stderr, "tapedeck", err)
		return coded.code
	default:
		signals.LastWords(stderr, "tapedeck", err)
		return 1
	}
}

// knownCommand rejects an unknown command, and names the nearest one.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	near := ""
	if names := root.SuggestionsFor(args[0]); len(names) > 0 {
		near = fmt.Sprintf("; did you mean %s?", names[0])
	}
	return fmt.Errorf("unknown command %q%s; tapedeck --help lists the commands", args[0], near)
}

// onSignal is the annotation of a command that handles signals itself: a signal ends its context, and the
// command then drains or cleans up. A signal ends every other command at once.
const (
	onSignal = "on-signal"
	drains   = "drains"
	cleansUp = "cleans-up"
)

// newRoot assembles the subcommands; each has its own file.
func newRoot() *cobra.Command {
	var flags renderFlags
	root := &cobra.Command{
		Use:   "tapedeck",
		Short: "Record the traffic of Istio workloads and play it back, wired in at render time",
		Example: `  tapedeck render app.yaml | kubectl apply -f -
  kustomize build --enable-alpha-plugins --enable-exec overlays/capture
  helm template my-app ./chart --post-renderer tapedeck`,
		SilenceUsage:  true,
		SilenceErrors: true,
		// This suggests the command that was meant.
		SuggestionsMinimumDistance: 2,
		Args:                       knownCommand,
		PersistentPreRunE:          refuseEmpty,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if piped(cmd) { // kustomize, kpt and Helm call tapedeck without a command
				return flags.run(cmd, nil, nil)
			}
			return cmd.Help()
		},
	}
	flags.register(root)
	root.AddCommand(
		newRenderCommand(),
		newFnCommand(),
		newCheckCommand(),
		newUninjectCommand(),
		newExplainCommand(),
		newSchemaCommand(),
		newInspectCommand(),
		newViewCommand(),
		newSnapshotCommand(),
		newPullCommand(),
		newRedactCommand(),
		newConvertCommand(),
		newCompactCommand(),
		newRecordCommand(),
		newMockCommand(),
		newReplayCommand(),
		newReportCommand(),
		newCollectCommand(),
		newProxyCommand(),
		newHealthzCommand(),
		newCACommand(),
		newVersionCommand(),
	)
	root.SetFlagErrorFunc(wrongFlag)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Example = `  source <(tapedeck completion bash)
  tapedeck completion zsh > "${fpath[1]}/_tapedeck"`
		}
	}
	return root
}
