package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/mock/front"
	"github.com/tapedeck/tapedeck/recording/inspect"
	"github.com/tapedeck/tapedeck/view"
)

// viewFlags are the flags of view.
type viewFlags struct {
	inspect      inspect.Options
	listen       string
	open, forget bool
}

// viewSelects names the filters of inspect that limit what is indexed. The page has filters for
// everything else.
var viewSelects = []string{"cluster", "namespace", "workload", "since", "from", "to", "direction"}

// newViewCommand serves pages that show traffic.
func newViewCommand() *cobra.Command {
	var f viewFlags
	cmd := &cobra.Command{
		Use:   "view PLACE|REPORT|RECEIPT...",
		Short: "Look at recordings, reports and receipts in a browser",
		Long: `Serves pages on loopback that show recordings, until it is interrupted: a table to filter, search and sort, each
exchange in full, waterfalls, who calls whom, and two recordings side by side. PLACE is a directory, the URL of a
bucket or of a collector's read port, a snapshot (PLACE/snapshots/ID), or a file, which may come from another tool.
REPORT is the JSON report of a replay, RECEIPT the JSON receipt of a mock. View recognises files by their content.

The first time, view reads the whole recording into an index in your cache directory, which only you can read. Use
the flags to read less.

Exit codes: 0 if it was interrupted, 1 if something can't be read.`,
		Example: `  tapedeck view recordings
  tapedeck view --namespace shop --since 1h --open s3://recordings/prod
  tapedeck view before.jsonl after.jsonl
  tapedeck view report.json recordings
  kubectl port-forward -n speedscale deploy/collector 4311 & tapedeck view http://localhost:4311`,
		Annotations: map[string]string{onSignal: drains},
		Args:        cobra.MinimumNArgs(1),
		RunE:        f.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", "localhost:4170", "`address` to listen on, as PORT or HOST:PORT, which must be on loopback; port 0 is any free one")
	fs.BoolVar(&f.open, "open", false, "open the page in the browser")
	fs.BoolVar(&f.forget, "forget", false, "don't keep the index for the next run")
	for _, flag := range f.inspect.Flags() {
		if !slices.Contains(viewSelects, flag.Name) {
			continue
		}
		fs.StringVarP(flag.Value, flag.Name, flag.Short, flag.Default, flag.Usage)
		if len(flag.Allowed) > 0 {
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, cobra.FixedCompletions(flag.Allowed, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	return cmd
}

func (f *viewFlags) run(cmd *cobra.Command, args []string) error {
	filter := f.inspect.Filter
	if filter.From != "" && f.inspect.Since != "" {
		return errors.New("--since and --from: want one of them")
	}
	filter.From = cmp.Or(filter.From, f.inspect.Since)
	query, err := filter.Query(time.Now())
	if err == nil {
		err = query.Check()
	}
	if err != nil {
		return err
	}
	address, err := front.ParseListen(f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	opener := viewer{cmd: cmd, query: query, forget: f.forget, progress: newProgress(cmd.ErrOrStderr())}
	var items []view.Item
	for _, name := range args {
		it, err := opener.item(name)
		if err != nil {
			return err
		}
		items = append(items, it)
	}
	s, err := view.New(view.Options{Items: items, Version: buildVersion(), Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))})
	if err != nil {
		return err
	}
	l, err := view.Listen(cmd.Context(), address)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	url := "http://" + l.Addr().String() + "/"
	if host, _, _ := net.SplitHostPort(address); host == "localhost" {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		url = "http://localhost:" + port + "/"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "tapedeck: look at %s; press Ctrl-C to stop\n", url)
	if f.open {
		openBrowser(cmd.Context(), cmd.ErrOrStderr(), url)
	}
	err = s.Serve(cmd.Context(), l)
	opener.progress.clear()
	return err
}

// browsers are the programs that open a URL, by operating system; elsewhere it is xdg-open.
var browsers = map[string][]string{"darwin": {"open"}, "windows": {"rundll32", "url.dll,FileProtocolHandler"}}

// openBrowser tries to open a URL. A failure is only noted, because the URL was printed, too.
func openBrowser(ctx context.Context, notes io.Writer, url string) {
	program := browsers[runtime.GOOS]
	if program == nil {
		program = []string{"xdg-open"}
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program[0], append(program[1:], url)...)
	cmd.Env = os.Environ()
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(notes, "tapedeck: --open: %s: %v\n", strings.Join(program, " "), err)
		return
	}
	go func() { _ = cmd.Wait() }() // it may run as long as the browser does
}
