package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/check/manifests"
)

// checkFlags are those of check.
type checkFlags struct {
	renderFlags
	build  kustomizeFlags
	output string
}

// newCheckCommand says what is captured, and what not.
func newCheckCommand() *cobra.Command {
	var flags checkFlags
	var forms []string
	var docs strings.Builder
	for _, f := range check.Forms() {
		forms = append(forms, f.Name)
		fmt.Fprintf(&docs, "  %-5s %s\n", f.Name, f.Doc)
	}
	cmd := &cobra.Command{
		Use:   "check [FILE|DIRECTORY...]",
		Short: "Say what is captured, what not, why, and what to change",
		Long: `Check says for each workload of Kubernetes manifests which inbound ports a render would capture, how the outbound
calls of each container are, whether TLS is read, what filters leave out, where recordings go, and what of Istio's
interferes; what isn't captured has a reason and a fix. It takes manifests as render does, rendered already or not:
files, directories, standard input, or with -k a kustomization. Give it the same --config and --set.

Forms:
` + docs.String() + `
Exit codes: 0 if nothing is missing that was asked for, 1 if something isn't captured or is lost, 2 if it could not be
checked.`,
		Example: `  tapedeck check manifests/
  tapedeck check -k overlays/production --config tapedeck.yaml
  helm template my-app ./chart | tapedeck check --quiet
  tapedeck check -o json manifests/ | jq '.findings[] | select(.state == "problem")'`,
		RunE: func(cmd *cobra.Command, args []string) error { return coded(flags.run(cmd, args)) },
	}
	cmd.SetFlagErrorFunc(flagError)
	flags.registerConfig(cmd)
	flags.build.register(cmd)
	colourFlag(cmd, &flags.colour, "text")
	cmd.Flags().StringVarP(&flags.output, "output", "o", forms[0], "how to print: "+strings.Join(forms, ", "))
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "leave what is fine out of the text")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *checkFlags) run(cmd *cobra.Command, args []string) error {
	form, err := check.FormNamed(f.output)
	if err != nil {
		return fmt.Errorf("flag --output: %w", err)
	}
	if err := checkColour(f.colour); err != nil {
		return err
	}
	report, err := f.check(cmd, args)
	if err != nil {
		return err
	}
	o := check.Options{Colour: coloured(f.colour, cmd.OutOrStdout()), Brief: f.quiet}
	if err := form.Write(cmd.OutOrStdout(), report, o); err != nil {
		return err
	}
	if code := report.ExitCode(); code != check.Fine {
		return exitError(code)
	}
	return nil
}

// check checks what the arguments name.
func (f *checkFlags) check(cmd *cobra.Command, args []string) (check.Report, error) {
	cfg, err := f.load()
	if err != nil {
		return check.Report{}, err
	}
	sources, err := f.build.sources()
	if err != nil {
		return check.Report{}, err
	}
	if sources, err = withArguments(cmd, sources, args); err != nil {
		return check.Report{}, err
	}
	return manifests.Check(sources, cfg)
}
