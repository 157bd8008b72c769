package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/report"
)

// newReportCommand groups the commands for the reports of replays.
func newReportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Show, compare and merge the reports of replays",
		Long: `Shows, compares and merges the reports of tapedeck replay. The commands read reports in
JSON, the complete form, and print other forms.`,
		Example: `  tapedeck report show -o html report.json > report.html
  tapedeck report diff before.json after.json
  tapedeck report merge shard-*.json -o json > report.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newReportShowCommand(), newReportListCommand(), newReportDiffCommand(), newReportMergeCommand())
	return cmd
}

// formFlag adds the flag that chooses a form.
func formFlag(cmd *cobra.Command, name *string, forms []report.Form) {
	var names []string
	for _, f := range forms {
		names = append(names, f.Name)
	}
	cmd.Flags().StringVarP(name, "output", "o", names[0], "how to print: "+strings.Join(names, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	cmd.Long += "\n\nForms:\n"
	for _, f := range forms {
		cmd.Long += fmt.Sprintf("  %-9s %s\n", f.Name, f.Doc)
	}
	cmd.Long = strings.TrimSuffix(cmd.Long, "\n")
}

// wants gives the error for wrong arguments the exit code codeCannotRun.
func wants(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error { return coded(args(cmd, given)) }
}

// openReport reads a report from a file, from a place, or from standard input if the name
// is -.
func openReport(cmd *cobra.Command, name string) (*report.Report, error) {
	from, err := reader(cmd, name)
	if err != nil {
		return nil, fmt.Errorf("open report: %w", err)
	}
	defer from.Close()
	r, err := report.Read(from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

func newReportShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Print a report in another form",
		Long: `Reads a report in its JSON form, and prints it in another form. FILE is a file, the
report of a run in a place, or - for standard input. The exit code is 0, even if the
replay failed.`,
		Example: `  tapedeck report show report.json
  tapedeck report show s3://recordings/prod/runs/checkout-replay-q1d3t4pe/2c5f7c39-0b55-4c0e-9b8e-5a3d4ef0a9d1/report.json
  tapedeck report show -o html report.json > report.html
  tapedeck report show -o markdown report.json >> "$GITHUB_STEP_SUMMARY"`,
		Args: wants(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return coded(showReport(cmd, output, args[0]))
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	formFlag(cmd, &output, report.Forms())
	return cmd
}

func showReport(cmd *cobra.Command, output, name string) error {
	form, err := report.FormNamed(output)
	if err != nil {
		return err
	}
	r, err := openReport(cmd, name)
	if err != nil {
		return err
	}
	return form.Write(cmd.OutOrStdout(), r)
}

func newReportDiffCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two reports, with confidence intervals",
		Long: `Prints how B differs from A for each metric and endpoint, with the 95% confidence
interval of the difference, and which groups of differences are new or gone. The exit
code is 0, whatever differs.

` + report.Method,
		Example: `  tapedeck report diff before.json after.json
  tapedeck report diff -o markdown before.json after.json >> "$GITHUB_STEP_SUMMARY"`,
		Args: wants(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return coded(diffReports(cmd, output, args[0], args[1]))
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	formFlag(cmd, &output, report.ComparisonForms())
	return cmd
}

func diffReports(cmd *cobra.Command, output, nameA, nameB string) error {
	form, err := report.FormNamed(output)
	if err != nil {
		return err
	}
	a, err := openReport(cmd, nameA)
	if err != nil {
		return err
	}
	b, err := openReport(cmd, nameB)
	if err != nil {
		return err
	}
	return form.WriteComparison(cmd.OutOrStdout(), report.Compare(nameA, a, nameB, b))
}

func newReportMergeCommand() *cobra.Command {
	var f mergeFlags
	cmd := &cobra.Command{
		Use:   "merge SHARD...",
		Short: "Merge the reports of shards into one",
		Long: `Merges the reports of a replay's shards into the one that a single run over the same
requests would give: every bucket of every histogram is the same. The shards' goals
are judged again, and the exit code is that of the merged report.

A shard whose report is missing is named, and the exit code is 6.`,
		Example: `  tapedeck report merge shard-0.json shard-1.json shard-2.json
  tapedeck report merge --fail-if "latency.p95 > 100" -o json shard-*.json > report.json
  tapedeck report merge --allow-lost shard-*.json`,
		Args: wants(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return coded(f.run(cmd, args))
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	formFlag(cmd, &f.output, report.Forms())
	cmd.Flags().StringArrayVar(&f.failIf, "fail-if", nil, "miss a `goal`, and fail, if this condition holds, such as \"latency.p95 > 100\" or \"latency.p50 > recorded + 20ms\"; replaces the goals of the shards; may be repeated")
	cmd.Flags().BoolVar(&f.allowLost, "allow-lost", false, "name shards whose report is missing, but don't fail because of them")
	return cmd
}

type mergeFlags struct {
	output    string
	failIf    []string
	allowLost bool
}

func (f *mergeFlags) run(cmd *cobra.Command, names []string) error {
	form, err := report.FormNamed(f.output)
	if err != nil {
		return err
	}
	goals, err := goalsOf(f.failIf)
	if err != nil {
		return err
	}
	shards := make([]*report.Report, len(names))
	for i, name := range names {
		if shards[i], err = openReport(cmd, name); err != nil {
			return err
		}
	}
	merged, err := replay.Merge(shards)
	if err != nil {
		return err
	}
	merged.Merged.LostAllowed = f.allowLost
	if len(goals) == 0 {
		if goals, err = shards[0].GoalsJudged(); err != nil {
			return err
		}
	}
	merged.Judge(goals)
	if err := form.Write(cmd.OutOrStdout(), merged); err != nil {
		return err
	}
	if form.Name != "pretty" { // which says so itself
		for _, x := range merged.Exits {
			fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: %s\n", x)
		}
	}
	if merged.ExitCode != report.Passed {
		return exitError(merged.ExitCode)
	}
	return nil
}

// goalsOf reads the values of --fail-if.
func goalsOf(texts []string) (goals []goal.Goal, err error) {
	for _, text := range texts {
		g, err := goal.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("flag --fail-if: %w", err)
		}
		goals = append(goals, g)
	}
	return goals, nil
}
