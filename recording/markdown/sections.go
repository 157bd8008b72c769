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

// split finds the sections and their blocks.
func (p *parser) split(text string) error {
	p.sections = map[string]*section{}
	lines := strings.Split(text, "\n")
	var current *section
	for i := 0; i < len(lines); i++ {
		line := strings.TrimRight(lines[i], " \t\r")
		if name, ok := title(line); ok {
			switch {
			case p.sections[name] != nil:
				return &Error{i + 1, fmt.Sprintf("section %.40q again: one file has one exchange", name)}
			case len(p.sections) == maxSections:
				return &Error{i + 1, fmt.Sprintf("more than %d sections", maxSections)}
			}
			current = &section{line: i + 1}
			p.sections[name] = current
			continue
		}
		switch {
		case line == "":
		case !strings.HasPrefix(line, fence):
			return &Error{i + 1, fmt.Sprintf("found %.40q, want a section such as ### REQUEST ###, or a block between lines of %s", line, fence)}
		case current == nil:
			return &Error{i + 1, "a block before the first section"}
		case len(current.blocks) == maxSections:
			return &Error{i + 1, fmt.Sprintf("more than %d blocks in a section", maxSections)}
		default:
			end := closing(lines, i+1)
			if end < 0 {
				return &Error{i + 1, "a block that has no end"}
			}
			current.blocks = append(current.blocks, strings.Join(lines[i+1:end], "\n"))
			current.lines = append(current.lines, i+2)
			i = end
		}
	}
	return nil
}

// closing finds the fence that ends a block: the first one behind which another block,
// a section, or the end of the file comes. Others belong to a body.
func closing(lines []string, from int) int {
	for i := from; i < len(lines); i++ {
		if strings.TrimRight(lines[i], " \t\r") != fence {
			continue
		}
		next := i + 1
		for next < len(lines) && strings.TrimSpace(lines[next]) == "" {
			next++
		}
		if next == len(lines) {
			return i
		}
		if _, ok := title(strings.TrimRight(lines[next], " \t\r")); ok || next > i+1 && strings.HasPrefix(lines[next], fence) {
			return i
		}
	}
	return -1
}
