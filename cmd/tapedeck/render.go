package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/terminal"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// renderFlags are the flags of render and fn.
type renderFlags struct {
	config string
	set    []string
	strict bool
	report string
	diff   bool
	colour string
	quiet  bool
}

func newRenderCommand() *cobra.Command {
	var flags renderFlags
	var build kustomizeFlags
	cmd := &cobra.Command{
		Use:   "render [FILE|DIRECTORY...]",
		Short: "Edit annotated manifests so that their workloads capture traffic",
		Long: `Reads Kubernetes manifests, adds the sidecar and its configuration to the annotated
workloads, and writes all manifests to standard output. Lines that render doesn't
edit are the same, byte for byte. Without a file, or with "-", it reads standard input.
With -k, it builds the kustomization first, as kustomize build does.

The report goes to standard error. --report writes it to a file too, because Helm 4
doesn't show the standard error of a post-renderer.`,
		Example: `  tapedeck render deployment.yaml service.yaml | kubectl apply -f -
  tapedeck render -k overlays/production --set image=registry.example/tapedeck:v1 | kubectl apply -f -
  helm template my-app ./chart --post-renderer tapedeck
  tapedeck render --diff manifests/
  tapedeck render --config tapedeck.yaml --strict --report report.json manifests/ > out.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			sources, err := build.sources()
			if err != nil {
				return err
			}
			return flags.run(cmd, sources, args)
		},
	}
	flags.register(cmd)
	build.register(cmd)
	cmd.Flags().BoolVar(&flags.diff, "diff", false, "print a unified diff instead of the manifests")
	colourFlag(cmd, &flags.colour, "diff")
	return cmd
}

func newFnCommand() *cobra.Command {
	var flags renderFlags
	cmd := &cobra.Command{
		Use:   "fn",
		Short: "Run as a KRM function or a Helm post-renderer, from standard input to standard output",
		Long: `Renders as kustomize, kpt and Helm expect it: reads a ResourceList or a YAML stream
from standard input, and writes the same kind to standard output. Tapedeck also runs
fn if it is called without a command and standard input is not a terminal.`,
		Example: `  kpt fn eval . --exec "tapedeck fn" -- proxy-type=dual
  kustomize build --enable-alpha-plugins --enable-exec .
  helm template my-app ./chart --post-renderer tapedeck --post-renderer-args fn`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.run(cmd, nil, nil) },
	}
	flags.register(cmd)
	return cmd
}

func (f *renderFlags) register(cmd *cobra.Command) {
	f.registerConfig(cmd)
	cmd.Flags().BoolVar(&f.strict, "strict", false, "fail if a workload asks for the sidecar and is skipped, and for some warnings, such as egress-not-inherited; docs/reason-codes.md marks them")
	cmd.Flags().StringVar(&f.report, "report", "", "also write the report to `FILE`, as text, or as JSON if the name ends in .json")
	cmd.Flags().BoolVar(&f.quiet, "quiet", false, "report only warnings and errors on standard error")
}

// registerConfig adds the flags for the configuration.
func (f *renderFlags) registerConfig(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "configuration `file`: kind Tapedeck, or a ConfigMap")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "set an option, or the default of an annotation: `name=value` (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("set", completeOptions)
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// completeOptions completes the names that --set takes, and a choice's values.
func completeOptions(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	name, _, chosen := strings.Cut(typed, "=")
	var out []string
	offer := func(option string, kind transformer.Kind, doc string) {
		switch {
		case !chosen:
			out = append(out, option+"=\t"+doc)
		case option == name:
			for _, v := range kind.Enum {
				out = append(out, option+"="+v)
			}
		}
	}
	for _, o := range transformer.Options() {
		offer(o.Name, o.Kind, o.Doc)
	}
	for _, a := range transformer.Annotations() {
		offer(a.Name, a.Kind, a.Doc)
	}
	return out, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// run renders the sources, and the files that the arguments name, and writes the
// output, the report and the exit code.
func (f *renderFlags) run(cmd *cobra.Command, sources []fn.Source, args []string) error {
	if err := checkColour(f.colour); err != nil {
		return err
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	if sources, err = withArguments(cmd, sources, args); err != nil {
		return err
	}
	noteEmpty(cmd.ErrOrStderr(), sources)
	out, results, err := fn.Render(sources, cfg)
	if err != nil {
		return err
	}
	if fn.IsResourceList(out) {
		f.quiet = true // the results are in the output, and the caller shows them
	}
	if f.diff && out != nil {
		out = []byte(colourDiff(diff(sources, out), coloured(f.colour, cmd.OutOrStdout())))
	}
	return f.conclude(cmd, out, results)
}

// conclude writes the report's file, then the output, then the report to standard error, and sets the exit
// code. The file comes first, because nobody should use the output without it. Standard error comes
// last, so that a terminal shows it below the output.
func (f *renderFlags) conclude(cmd *cobra.Command, out []byte, results transformer.Results) error {
	failed := f.writeReport(results)
	if failed == nil {
		if _, err := cmd.OutOrStdout().Write(out); err != nil {
			failed = fmt.Errorf("write standard output: %w", err)
		}
	}
	show := fn.WriteText
	if f.quiet {
		show = fn.WriteBrief
	}
	if err := errors.Join(failed, show(cmd.ErrOrStderr(), results)); err != nil {
		return err
	}
	if results.Failed() {
		return exitError(1)
	}
	return nil
}

// colours are the values of --color.
var colours = []string{"auto", "always", "never"}

// colourFlag adds the flag --color.
func colourFlag(cmd *cobra.Command, colour *string, what string) {
	cmd.Flags().StringVar(colour, "color", colours[0], "colour the "+what+": `auto`, always or never")
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(colours, cobra.ShellCompDirectiveNoFileComp))
}

// checkColour rejects unknown values of --color. Commands without the flag have "".
func checkColour(colour string) error {
	if colour != "" && !slices.Contains(colours, colour) {
		return fmt.Errorf("flag --color: found %q, allowed: auto, always or never", colour)
	}
	return nil
}

// coloured reports whether to colour the output. It obeys NO_COLOR (https://no-color.org).
func coloured(colour string, stdout io.Writer) bool {
	switch colour {
	case "always":
		return true
	case "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && terminal.Is(stdout)
}

// load reads the configuration: defaults, then the file, then --set, then
// --strict.
func (f *renderFlags) load() (transformer.Config, error) {
	cfg := baseConfig()
	if f.config != "" {
		text, err := os.ReadFile(f.config)
		if err != nil {
			return cfg, fmt.Errorf("read configuration: %w", err)
		}
		if cfg, err = fn.LoadConfig(cfg, fn.Source{Name: f.config, Text: text}); err != nil {
			return cfg, err
		}
	}
	for _, s := range f.set {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return cfg, fmt.Errorf("flag --set: found %q, allowed: name=value", s)
		}
		if err := cfg.Set(name, value); err != nil {
			return cfg, fmt.Errorf("flag --set: %w", err)
		}
	}
	if f.strict {
		cfg.Strict = true
	}
	return cfg, nil
}

// writeReport writes the report to the file of --report.
func (f *renderFlags) writeReport(results transformer.Results) error {
	if f.report == "" {
		return nil
	}
	var text bytes.Buffer
	write := fn.WriteText
	if strings.EqualFold(filepath.Ext(f.report), ".json") {
		write = fn.WriteJSON
	}
	if err := write(&text, results); err != nil {
		return err
	}
	if err := os.WriteFile(f.report, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// withArguments adds the files that the arguments name to sources. If there are neither, it adds
// standard input.
func withArguments(cmd *cobra.Command, sources []fn.Source, args []string) ([]fn.Source, error) {
	if len(sources) > 0 && len(args) == 0 {
		return sources, nil
	}
	read, err := readSources(cmd.InOrStdin(), args)
	return append(sources, read...), err
}

// readSources reads the named files, the YAML and JSON files of the named
// directories, or standard input.
func readSources(stdin io.Reader, args []string) ([]fn.Source, error) {
	if len(args) == 0 {
		args = []string{"-"}
	}
	var sources []fn.Source
	add := func(path string, found bool) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read manifest: %w", err)
		}
		sources = append(sources, fn.Source{Name: path, Text: text, Found: found})
		return nil
	}
	for _, arg := range args {
		if arg == "-" {
			text, err := io.ReadAll(stdin)
			if err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
			sources = append(sources, fn.Source{Text: text})
			continue
		}
		if strings.HasPrefix(arg, "https://") || strings.HasPrefix(arg, "http://") {
			return nil, fmt.Errorf("read manifest: %s: URLs are not read: download it and pipe it in, as in curl -fsSL %[1]s | tapedeck render", arg)
		}
		info, err := os.Stat(arg)
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		if !info.IsDir() {
			if err := add(arg, false); err != nil {
				return nil, err
			}
			continue
		}
		err = filepath.WalkDir(arg, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !mayBeManifest(path) {
				return err
			}
			return add(path, true)
		})
		if err != nil {
			return nil, err
		}
	}
	if len(sources) == 0 {
		return nil, errors.New("no manifest found; allowed: files ending in .yaml, .yml or .json")
	}
	return sources, nil
}

// noteEmpty warns that there is nothing to edit, for example because a command in a pipe failed. It is not an
// error, because kustomize and Helm may have nothing to render.
func noteEmpty(w io.Writer, sources []fn.Source) {
	for _, s := range sources {
		if len(bytes.TrimSpace(s.Text)) > 0 {
			return
		}
	}
	fmt.Fprintln(w, "tapedeck: the input is empty")
}

// mayBeManifest reports whether a file of a directory is read, by its extension.
func mayBeManifest(path string) bool {
	switch filepath.Ext(path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// diff shows what a render changed, over all sources.
func diff(sources []fn.Source, out []byte) string {
	return udiff.Unified("before", "after", string(fn.Join(sources)), string(out))
}

// colourDiff colours a unified diff for a terminal.
func colourDiff(text string, colour bool) string {
	if !colour {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		code := map[byte]string{'+': "\x1b[32m", '-': "\x1b[31m", '@': "\x1b[36m"}[line[0]]
		if code == "" {
			b.WriteString(line)
			continue
		}
		b.WriteString(code + strings.TrimSuffix(line, "\n") + "\x1b[0m\n")
	}
	return b.String()
}
