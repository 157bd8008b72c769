package splice

import (
	"errors"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Sources returns a lookup of the texts of nodes of have, which is Parse(text). It moves the lines of
// a block collection to the left margin if all of them can be moved. They include the comments of the
// collection: those at its end, and those below it with its indentation.
func Sources(text []byte, have *yaml.Node) (func(*yaml.Node) (string, error), error) {
	text = ended(text)
	find, err := finder(text, have)
	if err != nil {
		return nil, err
	}
	return func(n *yaml.Node) (string, error) {
		start, end, col, err := lines(text, find(n))
		if err != nil {
			return "", err
		}
		raw := string(text[start:end])
		if moved, ok := moved(raw, -col); ok {
			if back, ok := moveBack(moved, col); ok && back == raw {
				return moved, nil
			}
		}
		return spaces(col) + raw, nil
	}, nil
}

// Replace replaces nodes of have, which is Parse(text), with texts from [Sources] or similar ones. The
// result may not be valid YAML, so the caller must parse it.
func Replace(text []byte, have *yaml.Node, with map[*yaml.Node]string) ([]byte, error) {
	whole := ended(text)
	find, err := finder(whole, have)
	if err != nil {
		return nil, err
	}
	var c cuts
	for n, source := range with {
		start, end, col, err := lines(whole, find(n))
		if err != nil {
			return nil, err
		}
		source, _ = moveBack(source, col)
		c.replace(start, end, source)
	}
	out, err := c.apply(whole)
	if err != nil {
		return nil, err
	}
	return out[:len(out)-(len(whole)-len(text))], nil
}

// finder returns a lookup of the extents of nodes.
func finder(text []byte, have *yaml.Node) (func(*yaml.Node) *extent, error) {
	root, err := measure(text, content(have))
	if err != nil {
		return nil, err
	}
	at := map[*yaml.Node]*extent{}
	root.each(func(x *extent) { at[x.node] = x })
	return func(n *yaml.Node) *extent { return at[n] }, nil
}

var errSource = errors.New("it has an anchor or a tag, or it is part of an alias")

// lines returns the bytes for Sources and Replace, and the column, from 0, of a block collection; 0
// for any other node.
func lines(text []byte, x *extent) (start, end, col int, err error) {
	switch {
	case x == nil || x.node.Kind == yaml.AliasNode || x.start != x.body:
		return 0, 0, 0, errSource
	case !x.isBlock():
		return x.start, x.end, 0, nil
	}
	col = column(text, x.start)
	return x.start, trailing(text, x.end, col), col, nil
}

// trailing skips the comments after a block collection that belong to it.
func trailing(text []byte, end, col int) int {
	end = commentEnd(text, end)
	for at := nextLine(text, end); at < len(text); at = nextLine(text, at) {
		word := skipBlanks(text, at)
		switch {
		case word < len(text) && text[word] == '#' && word-at >= max(col, 1):
			end = lineEnd(text, at)
		case breakLen(text, word) == 0:
			return end
		}
	}
	return end
}

// moved moves all lines except the first, which begins where the block does. It returns false if one
// of them can't be moved.
func moved(text string, by int) (string, bool) {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		switch {
		case i == 0 || strings.Trim(line, "\r\n") == "":
		case by > 0:
			lines[i] = spaces(by) + line
		case !strings.HasPrefix(line, spaces(-by)):
			return text, false
		default:
			lines[i] = line[-by:]
		}
	}
	return strings.Join(lines, ""), true
}

// moveBack moves a block from the column of its first line to another one.
func moveBack(text string, col int) (string, bool) {
	first := strings.TrimLeft(text, " ")
	return moved(first, col-(len(text)-len(first)))
}
