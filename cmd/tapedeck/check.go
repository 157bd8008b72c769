package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/check/manifests"
	"github.com/tapedeck/tapedeck/check/pod"
	"github.com/tapedeck/tapedeck/internal/oneline"
)

// checkFlags are the flags of check.
type checkFlags struct {
	renderFlags
	build  kustomizeFlags
	output string
	watch  time.Duration
}

// newCheckCommand reports what is captured and what is not.
func newCheckCommand() *cobra.Command {
	var flags checkFlags
	var forms []string
	var docs strings.Builder
	for _, f := range check.Forms() {
		forms = append(forms, f.Name)
		fmt.Fprintf(&docs, "  %-5s %s\n", f.Name, f.Doc)
	}
	cmd := &cobra.Command{
		Use:   "check [FILE|DIRECTORY...|URL]",
		Short: "Report what is captured, what is not, why, and what to change",
		Long: `Checks manifests before you apply them, or a running pod, and prints one line for each finding, with a fix
for each problem. It takes the same files, -k, --config and --set as render, rendered or not, and reports for each
workload: captured ports, outbound calls, TLS, filters, the sink, and Istio objects that interfere. For a running
pod, give the URL of the sidecar's admin port, which kubectl port-forward opens. It then reports the traffic that
the sidecar has seen, TLS errors, a sink that rejects recordings, and losses.

Forms:
` + docs.String() + `
Exit codes: 0 if everything that was asked for is captured, 1 if something isn't captured or is lost, 2 if the
check could not run.`,
		Example: `  tapedeck check manifests/
  tapedeck check -k overlays/production --config tapedeck.yaml
  helm template my-app ./chart | tapedeck check --quiet
  kubectl port-forward -n shop deploy/checkout 4100 & tapedeck check http://localhost:4100
  tapedeck check --for 30s http://localhost:4100
  tapedeck check -o json manifests/ | jq '.findings[] | select(.state == "problem")'`,
		RunE: func(cmd *cobra.Command, args []string) error { return coded(flags.run(cmd, args)) },
	}
	cmd.SetFlagErrorFunc(flagError)
	flags.registerConfig(cmd)
	flags.build.register(cmd)
	colourFlag(cmd, &flags.colour, "text")
	cmd.Flags().StringVarP(&flags.output, "output", "o", forms[0], "how to print: "+strings.Join(forms, ", "))
	cmd.Flags().DurationVar(&flags.watch, "for", 0, "watch a running pod for this long, such as 30s, and report on that time; send a request meanwhile")
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "leave out findings that are ok; applies to the text form")
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
	if i := slices.IndexFunc(args, isURL); i >= 0 {
		if len(args) > 1 || f.build.dir != "" {
			return check.Report{}, fmt.Errorf("argument %s: found other arguments besides the URL of a running pod, allowed: one URL, or manifests", oneline.Text(args[i], maxShown))
		}
		return f.pod(cmd, args[i])
	}
	if i := slices.IndexFunc(args, isAddress); i >= 0 {
		return check.Report{}, fmt.Errorf("argument %[1]s: found a host and a port, allowed: the name of a file or directory, or a URL such as http://%[1]s", oneline.Text(args[i], maxShown))
	}
	if f.watch != 0 {
		return check.Report{}, errors.New("flag --for: found no running pod to watch; want the URL of a sidecar's admin port, such as http://localhost:4100")
	}
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

// maxShown is how much of an argument an error shows, in bytes.
const maxShown = 200

// isURL reports whether an argument is the URL of a pod, and not the name of a file.
func isURL(arg string) bool {
	scheme, _, ok := strings.Cut(arg, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// isAddress reports whether an argument is a URL of a pod without its http://, and not the name of a file.
func isAddress(arg string) bool {
	host, port, err := net.SplitHostPort(arg)
	if err != nil || host == "" {
		return false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false
	}
	_, err = os.Lstat(arg)
	return errors.Is(err, fs.ErrNotExist)
}

// pod checks a running pod.
func (f *checkFlags) pod(cmd *cobra.Command, arg string) (check.Report, error) {
	if f.config != "" || len(f.set) > 0 {
		return check.Report{}, errors.New("flags --config and --set: they apply to manifests, and a running pod keeps the configuration it was rendered with; leave them out")
	}
	if f.watch < 0 {
		return check.Report{}, fmt.Errorf("flag --for: found %s, allowed: a duration such as 30s, or 0", f.watch)
	}
	at, err := url.Parse(arg)
	if err != nil {
		return check.Report{}, errors.New("argument: found an invalid URL, allowed: the URL of a sidecar's admin port, such as http://localhost:4100")
	}
	return pod.Check(cmd.Context(), at, pod.Options{For: f.watch, Watching: func() {
		fmt.Fprintf(cmd.ErrOrStderr(), "watching for %s: send a request now\n", f.watch)
	}})
}
