package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/replay/report"
)

// formFlags name the files for the report, and for the rules that accept new differences.
type formFlags struct {
	output, report, html, junit, markdown string
	accept                                string
}

func (f *formFlags) register(fs *pflag.FlagSet) {
	fs.StringVarP(&f.output, "output", "o", "pretty", "format of the report on standard output: `pretty`, json, yaml, csv, or none")
	fs.StringVar(&f.report, "report", "", "write the report as JSON to `file`")
	fs.StringVar(&f.html, "html", "", "write the report as one HTML page to `file`")
	fs.StringVar(&f.junit, "junit", "", "write the report as JUnit XML to `file`")
	fs.StringVar(&f.markdown, "markdown", "", "write the report as Markdown to `file`, such as $GITHUB_STEP_SUMMARY")
	fs.StringVar(&f.accept, "accept", "", "write rules that accept the new differences to `file`")
}

// written is a file that a replay writes. The rules of --accept have no form.
type written struct{ flag, file, form string }

func (f *formFlags) files() []written {
	return []written{{"accept", f.accept, ""}, {"report", f.report, "json"}, {"html", f.html, "html"}, {"junit", f.junit, "junit"}, {"markdown", f.markdown, "markdown"}}
}

// checkFiles finds files that can't be written before the replay, which may take hours.
func (f *formFlags) checkFiles() error {
	flags := map[string]string{}
	for _, one := range f.files() {
		if one.file == "" {
			continue
		}
		name := filepath.Clean(one.file)
		if other, ok := flags[name]; ok && name != os.DevNull {
			return fmt.Errorf("--%s and --%s: both would write %s", other, one.flag, one.file)
		}
		flags[name] = one.flag
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			return fmt.Errorf("--%s %s: it is a directory, want the name of a file", one.flag, one.file)
		}
		if _, err := os.Stat(filepath.Dir(name)); err != nil {
			return fmt.Errorf("--%s: %w", one.flag, err)
		}
	}
	return nil
}

// unfired reports rules that had no effect.
func (f *replayFlags) unfired(r *report.Report, l *loaded) {
	if set := l.matcher.Rules(); set != nil {
		for _, rule := range set.Unfired() {
			r.UnfiredRules = append(r.UnfiredRules, fmt.Sprintf("%s:%d: %s", f.rules, rule.Line, rule.Name))
		}
	}
	if l.rules != nil {
		for _, name := range l.rules.Unfired() {
			r.UnfiredRules = append(r.UnfiredRules, fmt.Sprintf("%s: %s", f.carryRules, name))
		}
	}
}

// finish writes the report in all forms, and returns the exit code. If one form can't be
// written, it still writes the others.
func (f *replayFlags) finish(cmd *cobra.Command, r *report.Report, l *loaded) error {
	var failed []error
	for _, one := range f.files() {
		if one.file == "" {
			continue
		}
		write := func() error { return writeReport(one.file, one.form, r) }
		if one.form == "" {
			write = func() error { return f.writeRules(cmd, l) }
		}
		if err := write(); err != nil {
			failed = append(failed, fmt.Errorf("--%s: %w", one.flag, err))
		}
	}
	if f.output != "none" {
		form, err := report.FormNamed(f.output)
		if err == nil {
			err = form.Write(cmd.OutOrStdout(), r)
		}
		failed = append(failed, err)
	}
	switch err := errors.Join(failed...); {
	case err != nil && r.ExitCode == codeIncomplete:
		return &codedError{codeIncomplete, err}
	case err != nil:
		return err
	case r.ExitCode != 0:
		return exitError(r.ExitCode)
	}
	return nil
}

// writeRules writes the rules that accept the new differences.
func (f *replayFlags) writeRules(cmd *cobra.Command, l *loaded) error {
	rules, left, err := l.compare.Comparer.Finish().Accept(l.plan.Endpoints)
	if err != nil {
		return err
	}
	for _, g := range left {
		fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: no rule can accept %s of %s\n", g.Pattern, l.plan.Endpoints[g.Endpoint])
	}
	return writeWhole(f.accept, 0o644, func(w io.Writer) error { _, err := w.Write(rules); return err })
}

// writeReport writes a file in one step: it is whole or not there.
func writeReport(name, form string, r *report.Report) error {
	to, err := report.FormNamed(form)
	if err != nil {
		return err
	}
	return writeWhole(name, 0o644, func(w io.Writer) error { return to.Write(w, r) })
}
