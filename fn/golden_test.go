package fn_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	udiff "github.com/aymanbagabas/go-udiff"
)

// The standard cases show their whole output. The other cases refer to them.
var standards = []string{"sidecar-native", "sidecar-classic", "sidecar-forward", "sidecar-tls"}

// folding shortens a rendered text, so that a golden shows what is special in its case.
// It folds repeated parts:
//
//   - The sidecar's container becomes one line that names the nearest standard case,
//     followed by the lines that differ from the container there. A field below a name
//     is on the same line as the name. Lines that were only added follow the line above.
//   - The proxy variables and the trust variables of an application become one line, if
//     they are exactly those of a standard case.
//   - The digests in an undo record become "…", because they change with each line of the
//     sidecar. An undo compares them, so checkPromises fails if one is wrong.
type folding struct {
	sidecars  map[string][]string // by standard case
	variables []foldedBlock
}

// foldedBlock is a block of lines that a golden shows as its first line and a note.
type foldedBlock struct {
	lines []string
	note  string
}

// newFolding reads the blocks that repeat from the output of the standard cases.
func newFolding(t testing.TB) *folding {
	t.Helper()
	f := &folding{sidecars: map[string][]string{}}
	outputs := map[string][]string{}
	for _, name := range standards {
		outputs[name] = strings.Split(string(readCase(t, "testdata/render/"+name+".txtar").render(t)), "\n")
		f.sidecars[name] = joinNames(outdent(item(linesFrom(t, outputs[name], sidecarLine))))
	}
	for _, b := range []struct{ standard, first, last string }{
		{"sidecar-native", "- name: HTTP_PROXY", "- name: no_proxy"},
		{"sidecar-tls", "- name: SSL_CERT_FILE", "- name: SPEEDSCALE_JAVA_OPTS"},
	} {
		lines := linesFrom(t, outputs[b.standard], b.first)
		end := len(lines) - len(linesFrom(t, lines, b.last)) + 2
		f.variables = append(f.variables, foldedBlock{outdent(lines[:end]), " … " + strings.TrimPrefix(b.last, "- name: ") + ", as in " + b.standard})
	}
	return f
}

const sidecarLine = "- name: tapedeck-proxy"

// linesFrom returns the lines from the one with the given text on.
func linesFrom(t testing.TB, lines []string, text string) []string {
	t.Helper()
	i := slices.IndexFunc(lines, func(line string) bool { return strings.TrimSpace(line) == text })
	if i < 0 {
		t.Fatalf("no line %q in:\n%s", text, strings.Join(lines, "\n"))
	}
	return lines[i:]
}

// diff returns what a render changes, as a unified diff of the folded texts without its
// file names: empty if nothing changes.
func (f *folding) diff(input, output []byte) string {
	before, after := f.fold(string(input)), f.fold(string(output))
	if string(input) != string(output) && before == after {
		after += "(only digests of the undo record differ)\n"
	}
	text, err := udiff.ToUnified("", "", before, udiff.Lines(before, after), 2)
	if err != nil {
		panic(err) // the edits are those of this text
	}
	return strings.TrimPrefix(text, "--- \n+++ \n")
}

func (f *folding) fold(text string) string {
	lines := strings.Split(digests.ReplaceAllStringFunc(text, func(now string) string {
		return digest.ReplaceAllString(now, `:"…"`)
	}), "\n")
	var out []string
	for len(lines) > 0 {
		if strings.TrimSpace(lines[0]) == sidecarLine {
			container := item(lines)
			indent := strings.Repeat(" ", indentation(lines[0]))
			for _, line := range f.foldSidecar(joinNames(outdent(container))) {
				out = append(out, indent+line)
			}
			lines = lines[len(container):]
			continue
		}
		shown, folded := lines[0], 1
		for _, b := range f.variables {
			if len(b.lines) <= len(lines) && slices.Equal(outdent(lines[:len(b.lines)]), b.lines) {
				shown, folded = lines[0]+b.note, len(b.lines)
			}
		}
		out, lines = append(out, shown), lines[folded:]
	}
	return strings.Join(out, "\n")
}

// foldSidecar returns the lines for a container of the sidecar: the shortest ones.
func (f *folding) foldSidecar(container []string) (shortest []string) {
	for _, name := range standards {
		lines := differences(f.sidecars[name], container)
		first := sidecarLine + ", as in " + name
		if len(lines) > 0 {
			first += ", except:"
		}
		if lines = append([]string{first}, lines...); shortest == nil || len(lines) < len(shortest) {
			shortest = lines
		}
	}
	return shortest
}

// differences returns the removed and the added lines. If a place has only added
// lines, the line above comes first.
func differences(before, after []string) (out []string) {
	text, now := strings.Join(before, "\n")+"\n", strings.Join(after, "\n")+"\n"
	unified, err := udiff.ToUnifiedDiff("", "", text, udiff.Lines(text, now), 0)
	if err != nil {
		panic(err) // the edits are those of this text
	}
	for _, h := range unified.Hunks {
		if h.Lines[0].Kind == udiff.Insert && h.FromLine > 1 {
			out = append(out, "  "+before[h.FromLine-2])
		}
		for _, l := range h.Lines {
			out = append(out, map[udiff.OpKind]string{udiff.Delete: "- ", udiff.Insert: "+ "}[l.Kind]+strings.TrimSuffix(l.Content, "\n"))
		}
	}
	return out
}

var (
	digests = regexp.MustCompile(`"now":\{[^}]*\}`)
	digest  = regexp.MustCompile(`:"[0-9a-z]+"`)
)

// joinNames puts the field below a name on the line of the name.
func joinNames(lines []string) (out []string) {
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if i > 0 && i+1 < len(lines) && strings.HasPrefix(strings.TrimSpace(line), "- name: ") && indentation(lines[i+1]) == indentation(line)+2 {
			i++
			line += ", " + strings.TrimSpace(lines[i])
		}
		out = append(out, line)
	}
	return out
}

// item returns an item of a list, with the lines below it that belong to it.
func item(lines []string) []string {
	indent, end := indentation(lines[0]), 1
	for end < len(lines) && indentation(lines[end]) > indent {
		end++
	}
	return lines[:end]
}

// outdent removes the first line's indentation from all lines.
func outdent(lines []string) []string {
	prefix := strings.Repeat(" ", indentation(lines[0]))
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = strings.TrimPrefix(l, prefix)
	}
	return out
}

func indentation(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// TestFolding checks that folding in a golden can't hide a change.
func TestFolding(t *testing.T) {
	f := newFolding(t)
	c := readCase(t, "testdata/render/"+standards[0]+".txtar")
	input, output := c["input.yaml"], c.render(t)
	folded := f.diff(input, output)
	for _, line := range []string{"value: native", "periodSeconds: 10", "value: http://127.0.0.1:4140", "drop:", `"add":`} {
		changed := strings.Replace(string(output), line, line+"x", 1)
		if changed == string(output) || f.diff(input, []byte(changed)) == folded {
			t.Errorf("the golden does not show a change of %q", line)
		}
	}
}
