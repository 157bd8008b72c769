package markdown

import (
	"fmt"
	"strings"
)

// section is what stands below a title.
type section struct {
	line   int // of the title
	blocks []string
	lines  []int // of the blocks' first lines
}

// block returns the n-th block, "" if there are fewer.
func (s *section) block(n int) string {
	if s == nil || n >= len(s.blocks) {
		return ""
	}
	return s.blocks[n]
}

// at returns the line on which the n-th block begins.
func (s *section) at(n int) int {
	if n < len(s.lines) {
		return s.lines[n]
	}
	return s.line
}

// maxSections is how many sections, and blocks in each, are looked at.
const maxSections = 20

// lines reads a text line by line. What it returns are parts of the text: a list of the lines
// would take many times as much memory as a text of empty ones.
type lines struct {
	text string
	at   int // where the next line begins; behind the text's end, there is none
	n    int // of the last line, from 1
}

// next returns the next line without its end, and whether there is one.
func (l *lines) next() (line string, ok bool) {
	if l.at > len(l.text) {
		return "", false
	}
	line, _, _ = strings.Cut(l.text[l.at:], "\n")
	l.at += len(line) + 1
	l.n++
	return strings.TrimRight(line, " \t\r"), true
}

// split finds the sections and their blocks.
func (p *parser) split(text string) error {
	p.sections = map[string]*section{}
	var current *section
	l := lines{text: text}
	for line, ok := l.next(); ok; line, ok = l.next() {
		if name, ok := title(line); ok {
			switch {
			case p.sections[name] != nil:
				return &Error{l.n, fmt.Sprintf("section %.40q again: one file has one exchange", name)}
			case len(p.sections) == maxSections:
				return &Error{l.n, fmt.Sprintf("more than %d sections", maxSections)}
			}
			current = &section{line: l.n}
			p.sections[name] = current
			continue
		}
		switch {
		case line == "":
		case !strings.HasPrefix(line, fence):
			return &Error{l.n, fmt.Sprintf("found %.40q, want a section such as ### REQUEST ###, or a block between lines of %s", line, fence)}
		case current == nil:
			return &Error{l.n, "a block before the first section"}
		case len(current.blocks) == maxSections:
			return &Error{l.n, fmt.Sprintf("more than %d blocks in a section", maxSections)}
		default:
			opened := l.n
			block, ok := l.block()
			if !ok {
				return &Error{opened, "a block that has no end"}
			}
			current.blocks = append(current.blocks, block)
			current.lines = append(current.lines, opened+1)
		}
	}
	return nil
}

// block returns what comes before the fence that ends a block, and goes behind it. That is the
// first fence behind which another block, a section, or the end of the file comes. Others belong
// to a body.
func (l *lines) block() (text string, ok bool) {
	begin := l.at
	for {
		end := l.at
		line, ok := l.next()
		if !ok {
			return "", false
		}
		if line == fence && l.endsBlock() {
			return l.text[begin:max(begin, end-1)], true
		}
	}
}

// endsBlock tells by what comes next whether a fence ends a block.
func (l lines) endsBlock() bool {
	fenced := l.n
	line, ok := l.next()
	for ok && line == "" {
		line, ok = l.next()
	}
	_, isTitle := title(line)
	return !ok || isTitle || l.n > fenced+1 && strings.HasPrefix(line, fence)
}
