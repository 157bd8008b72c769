package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/internal/docpage"
	"github.com/tapedeck/tapedeck/replay/report"
)

// exit is an exit code of a command, and its meaning for that command.
type exit struct {
	code int
	doc  string
}

// reportExits are the exit codes of the commands that judge a replay.
var reportExits = []exit{
	{report.GoalsMissed, "a goal was missed"},
	{report.CouldNotRun, "it could not run: wrong flags, an unreachable target, a goal that can't be judged"},
	{report.NewDifferences, "there are new differences"},
	{report.MockMisses, "a request to a dependency was not in the recording"},
	{report.GeneratorBound, "the generator set the pace, not the target: the result is void"},
	{report.Incomplete, "the input is incomplete: a damaged recording, missing credentials, an interrupted run, a lost shard"},
}

// commandExits lists, by command, the exit codes that say more than 0 (it worked) and 1 (it
// failed). Every other command has only these two.
var commandExits = map[string][]exit{
	"tapedeck":        {{1, "a result is an error, or the input could not be read; it writes no manifests"}},
	"tapedeck fn":     {{1, "a result is an error, or the input could not be read; it writes no manifests"}},
	"tapedeck render": {{1, "a result is an error, or the input could not be read; it writes no manifests"}},
	"tapedeck check": {{check.Missing, "something isn't captured, or is lost"},
		{check.CantCheck, "it could not check"}},
	"tapedeck inspect":       {{1, "something can't be read; the rest is listed"}},
	"tapedeck healthz":       {{1, "the sidecar is not ready"}},
	"tapedeck collect":       {{codeCannotRun, "it could not run, or a port failed"}},
	"tapedeck collect key":   {{codeCannotRun, "wrong flags"}},
	"tapedeck collect token": {{codeCannotRun, "wrong flags, or a file without a key"}},
	"tapedeck compact":       {{codeIncomplete, "a segment can't be read; it stays, and the rest is done"}},
	"tapedeck convert": {{codeCannotRun, "it could not run"},
		{codeIncomplete, "the input is damaged, or the format has no place for some exchanges"}},
	"tapedeck snapshot create": {{codeIncomplete, "the recording is damaged"}},
	"tapedeck redact":          {{codeIncomplete, "the recording is damaged"}},
	"tapedeck record": {{codeCannotRun, "it could not run"},
		{codeIncomplete, "the recording is incomplete"},
		{codeCommandFailed, "only the command failed; its own status is printed"}},
	"tapedeck mock": {{codeUnfired, "a fault rule never fired"},
		{codeCannotRun, "it could not run"},
		{codeMissed, "a request was a miss, and `--fail-on-miss` is given"},
		{codeIncomplete, "the recording is damaged or incomplete"},
		{codeCommandFailed, "only the command failed; its own status is printed"}},
	"tapedeck replay": append(slices.Clone(reportExits),
		exit{codePartFailed, "with `--meet`, a shard other than 0 failed; shard 0 has the verdict"}),
	"tapedeck report merge": reportExits,
	"tapedeck report show":  {{codeCannotRun, "the report can't be read"}},
	"tapedeck report diff":  {{codeCannotRun, "a report can't be read"}},
	"tapedeck report list":  {{codeCannotRun, "the place can't be read"}},
}

// commandsOf returns a command and all its subcommands, in the order of the help. It leaves out
// "help", and the shells of "completion", which cobra writes.
func commandsOf(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	if c.Name() == "completion" {
		return all
	}
	for _, child := range c.Commands() {
		if child.Name() != "help" && !child.Hidden {
			all = append(all, commandsOf(child)...)
		}
	}
	return all
}

func TestTheCommandsPageIsWhatTheCommandsAre(t *testing.T) {
	var list, all strings.Builder
	list.WriteString("| command | what it does |\n|---|---|\n")
	for _, c := range commandsOf(newRoot()) {
		fmt.Fprintf(&list, "| [`%s`](#%s) | %s |\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), docCell(c.Short))
		writeCommand(&all, c)
	}
	docpage.Tables(t, "../../docs/commands.md", *update, map[string]string{"list": list.String(), "commands": all.String()})
}

// bounds are the flags that limit a command.
var bounds = map[string][]string{
	"collect": {"concurrency", "wait", "drain", "temp-size", "keep", "keep-bytes"},
	"mock":    {"temp-size"},
	"replay":  {"max-in-flight", "max-lag", "max-rate", "max-requests", "max-time", "timeout", "temp-size"},
	"compact": {"max-bytes"},
}

func TestThePageAboutOperationsHasTheFlagsThatBoundCommands(t *testing.T) {
	var b strings.Builder
	b.WriteString("| command | flag | default | what it bounds |\n|---|---|---|---|\n")
	for _, c := range newRoot().Commands() {
		for _, name := range bounds[c.Name()] {
			f := c.Flags().Lookup(name)
			if f == nil {
				t.Fatalf("tapedeck %s has no flag --%s", c.Name(), name)
			}
			_, usage := pflag.UnquoteUsage(f)
			value := defaultOf(f)
			if value == "" {
				value = "–"
			}
			fmt.Fprintf(&b, "| `%s` | `--%s` | %s | %s |\n", c.Name(), name, value, docCell(usage))
		}
	}
	docpage.Tables(t, "../../docs/operations.md", *update, map[string]string{"bounds": b.String()})
}

func writeCommand(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n", c.CommandPath())
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	writeProse(b, text)
	fmt.Fprintf(b, "```text\n%s\n```\n", c.UseLine())
	if c.Example != "" {
		b.WriteString("\n```sh\n" + undented(c.Example) + "\n```\n")
	}
	writeFlags(b, c.NonInheritedFlags())
	if codes := commandExits[c.CommandPath()]; codes != nil {
		b.WriteString("\n| exit code | meaning |\n|---|---|\n| 0 | it worked |\n")
		for _, e := range codes {
			fmt.Fprintf(b, "| %d | %s |\n", e.code, e.doc)
		}
	}
}

var pageName = regexp.MustCompile(`docs/([a-z-]+\.md)`)

// writeProse writes the text of a help: it keeps paragraphs, and writes indented lines as a block.
// The table of exit codes replaces a paragraph about them.
func writeProse(b *strings.Builder, text string) {
	for part := range strings.SplitSeq(strings.TrimSpace(exitParagraph.ReplaceAllString(text, "\n\n")), "\n\n") {
		indented, between := false, ""
		for line := range strings.Lines(part + "\n") {
			if in := strings.HasPrefix(line, "  "); in != indented {
				if indented = in; in {
					b.WriteString(between + "```text\n")
				} else {
					b.WriteString("```\n\n")
				}
			}
			if indented {
				b.WriteString(strings.TrimPrefix(line, "  "))
				continue
			}
			between = "\n" // a block follows a paragraph after an empty line
			line = strings.NewReplacer("*", `\*`, "<", `\<`).Replace(line)
			b.WriteString(pageName.ReplaceAllString(line, "[$0]($1)"))
		}
		if indented {
			b.WriteString("```\n")
		}
		b.WriteString("\n")
	}
}

// exitParagraph finds the part of a help that lists exit codes, from the start of its line.
var exitParagraph = regexp.MustCompile(`(?ms)\n+^Exit codes?: .*?(\n\n|\z)`)

func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	var rows strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(&rows, "| `%s` | %s | %s |\n", docCell(strings.TrimSpace(name+" "+kind)), defaultOf(f), docCell(usage))
	})
	if rows.Len() > 0 {
		b.WriteString("\n| flag | default | what it does |\n|---|---|---|\n" + rows.String())
	}
}

// defaultOf writes a flag's default as a cell; "" and zero say nothing.
func defaultOf(f *pflag.Flag) string {
	value := f.DefValue
	if slices.Contains([]string{"", "false", "0", "0s", "[]"}, value) {
		return ""
	}
	if f.Value.Type() == "duration" {
		value = regexp.MustCompile(`([hm])0[ms](0s)?$`).ReplaceAllString(value, "$1")
	}
	return "`" + docCell(value) + "`"
}

func docCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// undented removes the help's indent of two spaces from each line.
func undented(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

// The help of a command lists its exit codes as text, and the page as a table.
func TestTheHelpsNameTheExitCodesOfTheTable(t *testing.T) {
	byPath := map[string]*cobra.Command{}
	for _, c := range commandsOf(newRoot()) {
		byPath[c.CommandPath()] = c
	}
	for path := range commandExits {
		if byPath[path] == nil {
			t.Errorf("the table has exit codes of %q, and there is no such command", path)
		}
	}
	for path, c := range byPath {
		_, text, ok := strings.Cut(c.Long, "Exit codes: ")
		if !ok {
			continue
		}
		text, _, _ = strings.Cut(text, "\n\n")
		text = regexp.MustCompile(`(?s)If several apply, .*?\.`).ReplaceAllString(text, "")
		text = regexp.MustCompile(`shard 0`).ReplaceAllString(text, "")
		var got []int
		for _, n := range regexp.MustCompile(`\b\d+\b`).FindAllString(text, -1) {
			code, _ := strconv.Atoi(n)
			got = append(got, code)
		}
		want := []int{0}
		for _, e := range commandExits[path] {
			want = append(want, e.code)
		}
		if len(want) == 1 {
			want = append(want, 1)
		}
		if slices.Sort(got); !slices.Equal(slices.Compact(got), want) {
			t.Errorf("%s: the help names the exit codes %v, and the table %v", path, got, want)
		}
	}
}

// A command line without flags or a place, or with a flag that does not exist, ends with a
// code that is in the table.
func TestTheTableHasTheExitCodesOfMistakes(t *testing.T) {
	for _, c := range commandsOf(newRoot()) {
		args := append(strings.Fields(c.CommandPath())[1:], "--no-such-flag")
		code := run(args, new(bytes.Buffer), io.Discard, io.Discard)
		if code != 1 && !slices.ContainsFunc(commandExits[c.CommandPath()], func(e exit) bool { return e.code == code }) {
			t.Errorf("%s ends with %d, which the table of exit codes lacks", strings.Join(args, " "), code)
		}
	}
}
