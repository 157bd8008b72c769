package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/internal/markdown"
)

// TestDocsCommands parses every command that the documentation shows. In blocks, it parses the whole
// command line; in running text, the command and its flags. TestDocs in e2e runs the console blocks.
func TestDocsCommands(t *testing.T) {
	parsed := 0
	eachPage(t, func(t *testing.T, p *markdown.Page) {
		for _, c := range p.Indented {
			t.Errorf("%s: a command in an indented block: want a fence, as console or sh", p.Where(c.Line))
		}
		for _, b := range p.Blocks {
			for _, c := range shellOf(t, p, b) {
				for _, args := range calls(c.Text) {
					parsed++
					if err := parses(args); err != nil {
						t.Errorf("%s: tapedeck %s: %v", p.Where(c.Line), strings.Join(args, " "), err)
					}
				}
			}
		}
		for _, span := range p.Code {
			for _, words := range markdown.Commands(span.Text) {
				if words[0] != "tapedeck" || len(words) < 2 || !commandName.MatchString(words[1]) {
					continue
				}
				parsed++
				if err := exists(words[1:]); err != nil {
					t.Errorf("%s: `%s`: %v", p.Where(span.Line), span.Text, err)
				}
			}
		}
	})
	if parsed < 100 {
		t.Errorf("found %d commands of tapedeck in the documentation: want more than 100", parsed)
	}
}

// TestDocsShell has bash parse the blocks that no test runs.
func TestDocsShell(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not on the PATH")
	}
	eachPage(t, func(t *testing.T, p *markdown.Page) {
		for _, b := range p.Blocks {
			for _, c := range shellOf(t, p, b) {
				cmd := exec.Command(bash, "-n")
				cmd.Stdin = strings.NewReader(c.Text)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s: %s", p.Where(c.Line), out)
				}
			}
		}
	})
}

func eachPage(t *testing.T, check func(*testing.T, *markdown.Page)) {
	t.Helper()
	all, err := markdown.ReadAll("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		check(t, p)
	}
}

// shellOf returns the commands of a block, each with its line. It fails the test if the block has
// commands and the wrong language.
func shellOf(t *testing.T, p *markdown.Page, b markdown.Block) []markdown.Span {
	t.Helper()
	if !slices.Contains(languages, b.Lang) {
		t.Errorf("%s: no test knows blocks of the language %q: want one of %q", p.Where(b.Line), b.Lang, languages)
	}
	for i, l := range b.Lines {
		switch {
		case b.Lang == "" && plainCommand.MatchString(l), b.Lang == "text" && strings.HasPrefix(l, "$ "):
			t.Errorf("%s: a command in a block of text: want console, which is run, or sh, which is parsed", p.Where(b.Line+i+1))
		case (b.Lang == "sh" || b.Lang == "shell") && strings.HasPrefix(l, "$ "):
			t.Errorf("%s: a prompt in an sh block: want a console block, which is run, or no prompt", p.Where(b.Line+i+1))
		}
	}
	all, err := b.Shell()
	if err != nil {
		t.Errorf("%s:%v", p.File, err)
	}
	return all
}

// languages has the languages of blocks. CONTRIBUTING.md says how the first ones are checked; kpt's
// catalogs have shell for sh.
var languages = []string{"console", "sh", "shell", "yaml", markdown.Setup, "", "text", "sql", "python", "dockerfile"}

var (
	commandName  = regexp.MustCompile(`^[a-z][a-z-]*$`)
	plainCommand = regexp.MustCompile(`^(\$ |tapedeck [a-z]+ |(kubectl|helm|kustomize|kpt|make|go|curl|docker) [a-z-]+)`)
)

// calls returns the arguments of each call of tapedeck in shell text, including those that
// another program passes on.
func calls(text string) (all [][]string) {
	for _, words := range markdown.Commands(text) {
		for i, w := range words {
			if filepath.Base(w) == "tapedeck" && (i == 0 || words[i-1] == "--") {
				all = append(all, words[i+1:])
				break
			}
		}
		var passed []string
		for i, w := range words {
			if value, ok := strings.CutPrefix(w, "--post-renderer-args="); ok {
				passed = append(passed, value)
			} else if w == "--post-renderer-args" && i+1 < len(words) {
				passed = append(passed, words[i+1])
			}
		}
		if len(passed) > 0 {
			all = append(all, passed)
		}
	}
	return all
}

// parses parses a command line as run does, up to the command's own work.
func parses(args []string) error {
	root := newRoot()
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if cmd.DisableFlagParsing {
		return nil
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if help, err := cmd.Flags().GetBool("help"); err == nil && help {
		return nil
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return err
	}
	return cmd.ValidateFlagGroups()
}

// exists finds the command and each of its flags.
func exists(args []string) error {
	root := newRoot()
	root.InitDefaultHelpCmd()
	cmd, _, err := root.Find(args)
	if err != nil {
		return err
	}
	if cmd == root {
		return knownCommand(root, args)
	}
	cmd.InitDefaultHelpFlag()
	for _, arg := range args {
		if arg == "--" {
			break
		}
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			continue
		}
		name, _, _ := strings.Cut(arg, "=")
		if flagOf(cmd, name) == nil {
			return fmt.Errorf("%s has no flag %s", cmd.CommandPath(), name)
		}
	}
	return nil
}

func flagOf(cmd *cobra.Command, name string) (found *pflag.Flag) {
	for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.InheritedFlags()} {
		if long, ok := strings.CutPrefix(name, "--"); ok {
			found = set.Lookup(long)
		} else if len(name) > 1 {
			found = set.ShorthandLookup(name[1:2])
		}
		if found != nil {
			return found
		}
	}
	return nil
}
