package markdown

import (
	"fmt"
	"regexp"
	"strings"
)

// Example is a command of a console block, with the output that the page shows.
type Example struct {
	// Line is the number of the command's first line in the page.
	Line int
	// Command has all lines of the command, without the prompt.
	Command string
	// Want is the output. A … in a line stands for any text, and a line that is only … for any lines.
	Want []string
}

// heredoc finds the word that ends a here-document.
var heredoc = regexp.MustCompile(`<<-?\s*\\?['"]?(\w+)['"]?`)

// Examples returns the commands of a console block.
func (b Block) Examples() ([]Example, error) {
	var all []Example
	for i := 0; i < len(b.Lines); i++ {
		line := b.Lines[i]
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			if len(all) == 0 {
				return nil, fmt.Errorf("%d: output before the first command; a command begins with %q", b.Line+i+1, "$ ")
			}
			all[len(all)-1].Want = append(all[len(all)-1].Want, strings.TrimRight(line, " "))
			continue
		}
		e := Example{Line: b.Line + i + 1, Command: command}
		for strings.HasSuffix(b.Lines[i], `\`) && i+1 < len(b.Lines) {
			i++
			e.Command += "\n" + b.Lines[i]
		}
		if m := heredoc.FindStringSubmatch(e.Command); m != nil && !strings.Contains(e.Command, "<<<") {
			for {
				if i++; i == len(b.Lines) {
					return nil, fmt.Errorf("%d: the here-document has no end: want a line %s", e.Line, m[1])
				}
				e.Command += "\n" + b.Lines[i]
				if strings.TrimLeft(b.Lines[i], "\t") == m[1] {
					break
				}
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// Shell returns the shell text of a block: each command of a console block, and the whole text of
// an sh or shell block, or of a comment with hidden commands. Other blocks have none.
func (b Block) Shell() ([]Span, error) {
	switch b.Lang {
	case "sh", "shell", Setup:
		return []Span{{b.Line, b.Text()}}, nil
	case "console":
		examples, err := b.Examples()
		all := make([]Span, len(examples))
		for i, e := range examples {
			all[i] = Span{e.Line, e.Command}
		}
		return all, err
	}
	return nil, nil
}

// Matches reports whether the output is what the page shows, and if not, the number of the
// first line of want that isn't found.
func (e Example) Matches(got []string) (bool, int) {
	return matches(trimBlank(e.Want), trimBlank(got))
}

func trimBlank(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func matches(want, got []string) (ok bool, at int) {
	// reach[j] says whether the lines of want so far can match the first j lines of got.
	reach := make([]bool, len(got)+1)
	reach[0] = true
	for i, w := range want {
		next := make([]bool, len(got)+1)
		any := false
		if strings.TrimSpace(w) == "…" {
			open := false
			for j := range next {
				open = open || reach[j]
				next[j] = open
				any = any || open
			}
		} else {
			pattern := linePattern(w)
			for j := range got {
				if reach[j] && pattern.MatchString(strings.TrimRight(got[j], " ")) {
					next[j+1], any = true, true
				}
			}
		}
		if !any {
			return false, i
		}
		reach = next
	}
	return reach[len(got)], len(want)
}

func linePattern(line string) *regexp.Regexp {
	parts := strings.Split(line, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
}

// Merge returns the output with the lines of want that have a … and match, so that an update
// keeps them.
func (e Example) Merge(got []string) []string {
	out := append([]string(nil), trimBlank(got)...)
	next := 0
	for _, w := range e.Want {
		if !strings.Contains(w, "…") || strings.TrimSpace(w) == "…" {
			continue
		}
		for j := next; j < len(out); j++ {
			if linePattern(w).MatchString(out[j]) {
				out[j], next = w, j+1
				break
			}
		}
	}
	return out
}

// Commands splits a shell text into simple commands, and these into words. It supports quotes, comments,
// here-documents, substitutions and the operators between commands. It drops redirections, and
// assignments before a command. It expands nothing.
func Commands(text string) [][]string {
	var (
		all   [][]string
		words []string
		word  strings.Builder
		in    bool   // a word has begun
		skip  bool   // the next word is the target of a redirection
		ends  string // the word that ends a here-document
		runes = []rune(text)
	)
	endWord := func() {
		if !in {
			return
		}
		w := word.String()
		word.Reset()
		in = false
		switch {
		case skip:
			skip = false
		case len(words) == 0 && (assignment.MatchString(w) || reserved[w]):
		default:
			words = append(words, w)
		}
	}
	endCommand := func() {
		endWord()
		skip = false
		if len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '\\' && i+1 < len(runes):
			i++
			if runes[i] != '\n' {
				word.WriteRune(runes[i])
				in = true
			}
		case r == '\'' || r == '"':
			in = true
			for i++; i < len(runes) && runes[i] != r; i++ {
				if r == '"' && runes[i] == '\\' && i+1 < len(runes) {
					i++
				}
				word.WriteRune(runes[i])
			}
		case r == '#' && !in:
			for i+1 < len(runes) && runes[i+1] != '\n' {
				i++
			}
		case r == '$' && i+1 < len(runes) && runes[i+1] == '(', (r == '<' || r == '>') && i+1 < len(runes) && runes[i+1] == '(':
			// The inner commands come first, and the word keeps a mark.
			depth, from := 1, i+2
			for i = from; i < len(runes) && depth > 0; i++ {
				switch runes[i] {
				case '(':
					depth++
				case ')':
					depth--
				}
			}
			i--
			all = append(all, Commands(string(runes[from:i]))...)
			word.WriteString("SUBSTITUTED")
			in = true
		case r == '<' || r == '>':
			if _, ok := number(word.String()); in && ok { // 2>
				word.Reset()
				in = false
			}
			endWord()
			if r == '<' && i+1 < len(runes) && runes[i+1] == '<' {
				if m := heredoc.FindStringSubmatch(string(runes[i:])); m != nil {
					ends = m[1]
				}
			}
			for i+1 < len(runes) && strings.ContainsRune("<>&-", runes[i+1]) {
				i++
			}
			skip = true
		case r == '\n':
			endCommand()
			for ends != "" && i+1 < len(runes) {
				from := i + 1
				for i++; i < len(runes) && runes[i] != '\n'; i++ {
				}
				if strings.TrimLeft(string(runes[from:i]), "\t") == ends {
					ends = ""
				}
			}
		case r == '|' || r == ';' || r == '&' || r == '(' || r == ')':
			endCommand()
		case r == '{' && !in && len(words) == 0, r == '}' && !in && len(words) == 0:
		case r == ' ' || r == '\t':
			endWord()
		default:
			word.WriteRune(r)
			in = true
		}
	}
	endCommand()
	return all
}

var (
	assignment = regexp.MustCompile(`^\w+=`)
	reserved   = map[string]bool{"if": true, "then": true, "else": true, "elif": true, "fi": true, "for": true, "while": true, "do": true, "done": true, "time": true, "!": true, "timeout": false}
)

func number(s string) (string, bool) {
	return s, s != "" && strings.Trim(s, "0123456789") == ""
}
