package main

import (
	"flag"
	"io"
	"path"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/internal/markdown"
)

// TestDocsCommands parses every call of the sidecar's program that the documentation shows.
func TestDocsCommands(t *testing.T) {
	files, err := markdown.Pages("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		p, err := markdown.Read(file)
		if err != nil {
			t.Error(err)
			continue
		}
		check := func(line int, text string) {
			for _, words := range markdown.Commands(text) {
				at := slices.IndexFunc(words, func(w string) bool { return path.Base(w) == "tapedeck-proxy" })
				if at < 0 || at > 0 && words[at-1] != "--" || len(words) == at+1 {
					continue
				}
				args := words[at+1:]
				c := slices.IndexFunc(commands(), func(c command) bool { return c.name == args[0] })
				if c < 0 {
					t.Errorf("%s: %q: tapedeck-proxy has no command %s", p.Where(line), text, args[0])
					continue
				}
				flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
				flags.SetOutput(io.Discard)
				commands()[c].prepare(flags)
				if err := flags.Parse(args[1:]); err != nil {
					t.Errorf("%s: %q: %v", p.Where(line), text, err)
				}
			}
		}
		for _, b := range p.Blocks {
			switch b.Lang {
			case "sh", markdown.Setup:
				check(b.Line, b.Text())
			case "console":
				examples, err := b.Examples()
				if err != nil {
					t.Errorf("%s:%v", file, err)
				}
				for _, e := range examples {
					check(e.Line, e.Command)
				}
			}
		}
		for _, span := range p.Code {
			check(span.Line, span.Text)
		}
	}
}
