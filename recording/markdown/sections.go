package markdown

import (
	"fmt"
	"strings"
)

// section holds the blocks below a title.
type section struct {
	line   int // the line of the title
	blocks []string
	lines  []int // the first lines of the blocks
}

// block returns the n-th block, or "" if there are fewer.
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

// maxSections is how many sections a file may have, and how many blocks a section may have.
const maxSections = 20

// lines reads a text line by line. The lines share the memory of the text. A list of all lines could take
// many times that memory if most lines are empty.
type lines struct {
	text string
	at   int // where the next line begins; beyond the end of text if there is none
	n    int // the number of the last line, from 1
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
				return &Error{l.n, fmt.Sprintf("found section %.40q again; a file has one exchange", name)}
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
			return &Error{l.n, "found a block before the first section"}
		case len(current.blocks) == maxSections:
			return &Error{l.n, fmt.Sprintf("more than %d blocks in a section", maxSections)}
		default:
			opened := l.n
			block, ok := l.block()
			if !ok {
				return &Error{opened, "the block has no end"}
			}
			current.blocks = append(current.blocks, block)
			current.lines = append(current.lines, opened+1)
		}
	}
	return nil
}

// block returns the text up to the fence that ends a block, and skips the fence. This is the first fence
// that is followed by another block, a section or the end of the file. Other fences belong to a body.
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

// endsBlock reports whether the text that follows a fence shows that the fence ends a block.
func (l lines) endsBlock() bool {
	fenced := l.n
	line, ok := l.next()
	for ok && line == "" {
		line, ok = l.next()
	}
	_, isTitle := title(line)
	return !ok || isTitle || l.n > fenced+1 && strings.HasPrefix(line, fence)
}
