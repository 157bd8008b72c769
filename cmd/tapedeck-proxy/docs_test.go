package main

import (
	"flag"
	"fmt"
	"io"
	"path"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/internal/markdown"
)

// TestDocsCommands parses every call of the sidecar's program that the documentation shows.
func TestDocsCommands(t *testing.T) {
	pages, err := markdown.ReadAll("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		texts := slices.Clone(p.Code)
		for _, b := range p.Blocks {
			shell, err := b.Shell()
			if err != nil {
				t.Errorf("%s:%v", p.File, err)
			}
			texts = append(texts, shell...)
		}
		for _, text := range texts {
			for _, words := range markdown.Commands(text.Text) {
				if err := parses(words); err != nil {
					t.Errorf("%s: %q: %v", p.Where(text.Line), text.Text, err)
				}
			}
		}
	}
}

// parses parses the flags of a call, if the words have one.
func parses(words []string) error {
	at := slices.IndexFunc(words, func(w string) bool { return path.Base(w) == "tapedeck-proxy" })
	if at < 0 || at > 0 && words[at-1] != "--" || len(words) == at+1 {
		return nil
	}
	name, args := words[at+1], words[at+2:]
	c := slices.IndexFunc(commands(), func(c command) bool { return c.name == name })
	if c < 0 {
		return fmt.Errorf("tapedeck-proxy has no command %s", name)
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	commands()[c].prepare(flags)
	return flags.Parse(args)
}
