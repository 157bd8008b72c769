package manifests_test

import (
	"bytes"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/check/manifests"
	"github.com/tapedeck/tapedeck/fn"
)

// fixOfPort matches a fix that consists of one annotation: its key, its value, and possibly the
// annotation that it replaces.
var fixOfPort = regexp.MustCompile(`^set ([a-z.]+/proxy-ports|[a-z.]+/proxy-type): "?([a-z0-9,]+)"?(?: in place of ([a-z./-]+))?$`)

// portOf matches the beginning of a finding about inbound calls.
var portOf = regexp.MustCompile(`^port \d+`)

// TestFixesOfPortsWork follows each fix that sets an annotation for a port, in the inputs of all
// cases of package fn. The port must then be captured: a fix that only leads to the next problem
// would be of no use.
func TestFixesOfPortsWork(t *testing.T) {
	files, err := filepath.Glob("../../fn/testdata/render/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	obeyed := 0
	for _, file := range append(files, globs(t, "testdata/*.txtar")...) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, input := config(t, archive), section(archive, "input.yaml")
			report, err := manifests.Check([]fn.Source{{Text: []byte(input)}}, cfg)
			if err != nil || report.ExitCode() == check.CantCheck {
				return
			}
			for _, f := range report.Findings {
				port, m := portOf.FindString(f.Found), fixOfPort.FindStringSubmatch(f.Fix)
				if f.Area != check.Inbound || port == "" || m == nil {
					continue
				}
				changed, ok := annotate(input, f.Subject, m[1], m[2], m[3])
				if !ok {
					continue // a file that a YAML library can't write back, or that has the object twice
				}
				after, err := manifests.Check([]fn.Source{{Text: changed}}, cfg)
				if err != nil {
					t.Fatal(err)
				}
				obeyed++
				if !slices.ContainsFunc(after.Findings, func(g check.Finding) bool {
					return g.Subject == f.Subject && portOf.FindString(g.Found) == port && strings.Contains(g.Found, " is captured")
				}) {
					t.Errorf("%s: %s\n→ %s\nand after that:\n%s", f.Subject, f.Found, f.Fix, text(t, after))
				}
			}
		})
	}
	if obeyed < 20 {
		t.Errorf("%d fixes were obeyed, want 20 or more", obeyed)
	}
}

func globs(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// annotate sets an annotation of the one object that a finding is about, and removes another one.
func annotate(input, subject, key, value, inPlaceOf string) (text []byte, ok bool) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	found := 0
	for dec := yaml.NewDecoder(strings.NewReader(input)); ; {
		var object map[string]any
		if err := dec.Decode(&object); err == io.EOF {
			break
		} else if err != nil {
			return nil, false
		}
		meta, _ := object["metadata"].(map[string]any)
		if kind, _ := object["kind"].(string); meta != nil && nameOf(kind, meta) == subject {
			found++
			annotations, _ := meta["annotations"].(map[string]any)
			if annotations == nil {
				annotations = map[string]any{}
				meta["annotations"] = annotations
			}
			delete(annotations, inPlaceOf)
			annotations[key] = value
		}
		if err := enc.Encode(object); err != nil {
			return nil, false
		}
	}
	return out.Bytes(), found == 1
}

func nameOf(kind string, meta map[string]any) string {
	name, _ := meta["name"].(string)
	if ns, _ := meta["namespace"].(string); ns != "" {
		name = ns + "/" + name
	}
	return kind + " " + name
}
