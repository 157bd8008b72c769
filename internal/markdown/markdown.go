// Package markdown reads the pages of the documentation for the tests that check them: blocks of code,
// code in running text, links and headings. Only tests use it.
//
// A fence's language says how a block is checked; CONTRIBUTING.md has the rules for writers.
//
// It imports only the standard library.
package markdown

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Page is a page of the documentation.
type Page struct {
	// File is the page's path as it was given to Read.
	File   string
	Blocks []Block
	// Code is the code between backquotes in running text.
	Code  []Span
	Links []Span
	// Indented are commands in a block that is indented instead of fenced.
	Indented []Span
	// Anchors has the anchors of the headings, as GitHub makes them.
	Anchors map[string]bool
	lines   []string
}

// Block is a fenced block, or a comment with hidden commands.
type Block struct {
	// Lang is the language of the fence, or Setup for a comment.
	Lang string
	// Line is the number of the line that opens the block; its text begins on the next one.
	Line int
	// Lines is the text without the fence's indentation.
	Lines  []string
	indent string
}

// Setup is the language of a comment with hidden commands: <!-- run … -->.
const Setup = "run"

// Text returns the text of the block.
func (b Block) Text() string { return strings.Join(b.Lines, "\n") + "\n" }

// Span is a piece of a line.
type Span struct {
	Line int
	Text string
}

var (
	fence = regexp.MustCompile("^( *)```([^\\s`]*)\\s*$")
	// oddFence is a fence for a renderer, but not for this package.
	oddFence = regexp.MustCompile("^[\\s>*+-]*(```[^`]*$|````|~~~)")
	heading  = regexp.MustCompile(`^#{1,6} +(.*?) *$`)
	// indented is the first line of a block without a fence, which shows a command.
	indented = regexp.MustCompile(`^ {4,}(\$|tapedeck|tapedeck-proxy|kubectl|helm|kustomize|kpt|make|go|curl|docker) \S`)
	code     = regexp.MustCompile("(`+)(.+?)`+")
	link     = regexp.MustCompile(`\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)`)
	named    = regexp.MustCompile(`<a (?:name|id)="([^"]+)"`)
	label    = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	notSlug  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// Read reads a page.
func Read(file string) (*Page, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := &Page{File: file, Anchors: map[string]bool{}, lines: strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("%s:%w", file, err)
	}
	return p, nil
}

func (p *Page) parse() error {
	seen := map[string]int{}
	for i := 0; i < len(p.lines); i++ {
		line := p.lines[i]
		if m := fence.FindStringSubmatch(line); m != nil {
			b := Block{Lang: m[2], Line: i + 1, indent: m[1]}
			for i++; ; i++ {
				if i == len(p.lines) {
					return fmt.Errorf("%d: the block has no end", b.Line)
				}
				if strings.TrimSpace(p.lines[i]) == "```" {
					break
				}
				if m := fence.FindStringSubmatch(p.lines[i]); m != nil {
					return fmt.Errorf("%d: the block of line %d has no end before this one", i+1, b.Line)
				}
				b.Lines = append(b.Lines, strings.TrimPrefix(p.lines[i], b.indent))
			}
			p.Blocks = append(p.Blocks, b)
			continue
		}
		if oddFence.MatchString(line) {
			return fmt.Errorf("%d: a fence that no test reads: want a line with three backquotes, a language and nothing else", i+1)
		}
		if rest, ok := strings.CutPrefix(line, "<!-- "+Setup); ok && (rest == "" || rest[0] == ' ') {
			b := Block{Lang: Setup, Line: i + 1}
			for first := true; ; first = false {
				if !first {
					if i++; i == len(p.lines) {
						return fmt.Errorf("%d: the comment has no end", b.Line)
					}
					rest = p.lines[i]
				}
				before, _, ends := strings.Cut(rest, "-->")
				if strings.TrimSpace(before) != "" || !first && !ends {
					b.Lines = append(b.Lines, strings.TrimRight(before, " "))
				}
				if ends {
					break
				}
			}
			p.Blocks = append(p.Blocks, b)
			continue
		}
		if i > 0 && p.lines[i-1] == "" && indented.MatchString(line) {
			p.Indented = append(p.Indented, Span{i + 1, strings.TrimSpace(line)})
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			slug := Slug(m[1])
			if n := seen[slug]; n > 0 {
				p.Anchors[fmt.Sprintf("%s-%d", slug, n)] = true
			}
			seen[slug]++
			p.Anchors[slug] = true
		}
		for _, m := range named.FindAllStringSubmatch(line, -1) {
			p.Anchors[m[1]] = true
		}
		for _, m := range code.FindAllStringSubmatch(line, -1) {
			p.Code = append(p.Code, Span{i + 1, strings.ReplaceAll(strings.TrimSpace(m[2]), `\|`, "|")})
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, "code"), -1) {
			p.Links = append(p.Links, Span{i + 1, m[1]})
		}
	}
	return nil
}

// Slug returns the anchor that GitHub gives to a heading.
func Slug(title string) string {
	title = label.ReplaceAllString(title, "$1")
	return strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
}

// Where returns FILE:LINE for a line of the page.
func (p *Page) Where(line int) string { return fmt.Sprintf("%s:%d", filepath.ToSlash(p.File), line) }

// Write writes the page with new lines in its blocks. If they are nil, the block is unchanged.
func (p *Page) Write(texts [][]string) error {
	var out []string
	next := 0
	for i, b := range p.Blocks {
		out = append(out, p.lines[next:b.Line]...)
		next = b.Line + len(b.Lines)
		if texts[i] == nil {
			out = append(out, p.lines[b.Line:next]...)
			continue
		}
		for _, line := range texts[i] {
			out = append(out, strings.TrimRight(b.indent+line, " "))
		}
	}
	out = append(out, p.lines[next:]...)
	return os.WriteFile(p.File, []byte(strings.Join(out, "\n")+"\n"), 0o644)
}

// file matches the first line of a block that shows a file.
var file = regexp.MustCompile(`^# ([\w.-]+(?:/[\w.-]+)*)$`)

// FileName returns the name of the file that a yaml block shows, which is in its first line, or "".
func (b Block) FileName() string {
	if b.Lang != "yaml" || len(b.Lines) == 0 {
		return ""
	}
	m := file.FindStringSubmatch(b.Lines[0])
	if m == nil || !strings.Contains(m[1], ".") && filepath.Base(m[1]) != "Kptfile" {
		return ""
	}
	return m[1]
}

// ReadAll reads the documentation's pages under the root of the repository.
func ReadAll(root string) (pages []*Page, err error) {
	files, err := Pages(root)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, file := range files {
		p, err := Read(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pages = append(pages, p)
	}
	return pages, errors.Join(errs...)
}

// Pages returns the documentation's pages under the root of the repository.
func Pages(root string) ([]string, error) {
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", "examples/*/*.md", "deploy/*.md", "deploy/*/*.md", "deploy/kpt/examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("found no pages under %s", root)
	}
	return files, nil
}
