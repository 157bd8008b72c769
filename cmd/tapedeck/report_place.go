package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/oneline"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/replay/meet"
	"github.com/tapedeck/tapedeck/replay/report"
)

// reader opens a file, standard input if the name is -, or an object of a place.
func reader(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	switch {
	case name == "-":
		return io.NopCloser(cmd.InOrStdin()), nil
	case !strings.Contains(name, "://"):
		return os.Open(name)
	}
	p, err := contract.ParsePlace(name)
	if err != nil {
		return nil, err
	}
	dir, key := path.Split(p.Path)
	if key == "" {
		return nil, fmt.Errorf("%s: want the report of a run, as tapedeck report list prints it", p)
	}
	if p.Path = strings.TrimSuffix(dir, "/"); p.IsDir() && p.Path == "" {
		p.Path = "/"
	}
	s, err := openPlace(cmd.Context(), p)
	if err != nil {
		return nil, err
	}
	return s.Get(cmd.Context(), key)
}

func newReportListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list PLACE",
		Short: "List the reports that replays in a cluster left in a place",
		Long: `Lists the runs of a place, the latest first: those of Jobs that were rendered, and of
commands with --meet. A run without a report is still running, or ended before it wrote one.`,
		Example: `  tapedeck report list s3://recordings/prod
  tapedeck report list -o json s3://recordings/prod`,
		Args: wants(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return coded(listReports(cmd, output, args[0]))
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	outputFlag(cmd, &output)
	return cmd
}

// maxListed bounds how much the list shows of text that another program may have written.
const maxListed = 2 << 10

// listedRun is a run of a place.
type listedRun struct {
	// Report is the argument for `tapedeck report show`; empty if there is no report.
	Report string `json:"report,omitempty"`
	Run    string `json:"run"`
	// Ended is nil if there is no readable report, and Verdict says why.
	Ended    *time.Time `json:"ended,omitempty"`
	ExitCode *int       `json:"exitCode,omitempty"`
	Verdict  string     `json:"verdict"`
}

func listReports(cmd *cobra.Command, output, name string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	p, err := contract.ParsePlace(name)
	if err != nil {
		return err
	}
	s, err := openPlace(cmd.Context(), p)
	if err != nil {
		return err
	}
	runs, failed := runsIn(cmd.Context(), s, p)
	if output == "json" {
		return errors.Join(writeJSON(cmd.OutOrStdout(), runs), failed)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, r := range runs {
		ended := "-"
		if r.Ended != nil {
			ended = r.Ended.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", ended, oneline.Text(r.Verdict, maxListed), oneline.Text(cmp.Or(r.Report, r.Run), maxListed))
	}
	return errors.Join(w.Flush(), failed)
}

// runsIn finds the runs of a place: first those without a report, then the others, the latest
// first. If some could not be listed, it returns an error along with the rest.
func runsIn(ctx context.Context, s store.Store, p contract.Place) ([]listedRun, error) {
	runs, failed := []listedRun{}, []error(nil)
	for job, err := range s.Folders(ctx, contract.RunsDir+"/") {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for run, err := range s.Folders(ctx, job) {
			if err != nil {
				failed = append(failed, err)
				continue
			}
			run = strings.TrimSuffix(run, "/")
			one := listedRun{Run: strings.TrimPrefix(run, contract.RunsDir+"/"), Verdict: "no report yet"}
			key := run + "/" + meet.ReportName
			switch r, err := storedReport(ctx, s, key); {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil && ctx.Err() != nil:
				return runs, err
			case err != nil:
				one.Verdict = fmt.Sprintf("can't be read: %v", err)
			case r.Run != run:
				one.Verdict = fmt.Sprintf("%s belongs to the run %q", meet.ReportName, r.Run)
			default:
				one.Report, one.Ended, one.ExitCode, one.Verdict = p.Join(strings.Split(key, "/")...).String(), &r.Ended, &r.ExitCode, r.Verdict()
			}
			runs = append(runs, one)
		}
	}
	slices.SortStableFunc(runs, func(a, b listedRun) int {
		switch {
		case a.Ended != nil && b.Ended != nil:
			return b.Ended.Compare(*a.Ended)
		case b.Ended != nil:
			return -1
		case a.Ended != nil:
			return 1
		}
		return 0
	})
	return runs, errors.Join(failed...)
}

func storedReport(ctx context.Context, s store.Store, key string) (*report.Report, error) {
	body, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return report.Read(body)
}
