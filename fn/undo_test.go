package fn_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// undoCase is a manifest before and after a render, as objects.
type undoCase struct {
	name     string
	cfg      transformer.Config
	rendered []byte
	facts    [2]map[string][]string // of the input and of the render, by object
	said     map[string]bool        // facts of both, by object, also without the sidecar's own ports
}

// says joins an object and one of its facts for the set said.
func says(id, line string) string { return id + "\n" + line }

// undoCases returns the cases of testdata/render that render.
func undoCases(t testing.TB) []undoCase {
	t.Helper()
	files, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var cases []undoCase
	for _, file := range files {
		archive := readCase(t, file)
		input, want := archive["input.yaml"], archive.render(t)
		if want == nil || bytes.Contains(input, []byte("tapedeck.dev/undo")) || bytes.Contains(input, []byte("tapedeck.dev/created-for")) || bytes.Contains(input, []byte("ResourceList")) || !bytes.Contains(want, []byte("tapedeck.dev/undo")) {
			continue
		}
		c := undoCase{filepath.Base(file), archive.config(t), want, [2]map[string][]string{facts(t, input), facts(t, want)}, map[string]bool{}}
		for _, said := range c.facts {
			for id, lines := range said {
				for _, line := range lines {
					c.said[says(id, line)], c.said[says(id, anyPort(line))] = true, true
				}
			}
		}
		cases = append(cases, c)
	}
	return cases
}

// facts returns the facts about the objects of a stream, one line for every value: its path, in
// which items have their names, and the value. Empty values have no line.
func facts(t testing.TB, stream []byte) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	var object func(v any)
	object = func(v any) {
		m, _ := v.(map[string]any)
		if list, ok := m["items"].([]any); ok {
			for _, item := range list {
				object(item)
			}
			return
		}
		metadata, _ := m["metadata"].(map[string]any)
		id := fmt.Sprint(m["kind"], "/", metadata["namespace"], "/", metadata["name"], metadata["generateName"])
		flatten("", v, func(line string) { out[id] = append(out[id], line) })
		sort.Strings(out[id])
	}
	dec := yaml.NewDecoder(bytes.NewReader(stream))
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, stream)
		}
		object(v)
	}
}

func flatten(path string, v any, line func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if key != "tapedeck.dev/undo" {
				flatten(path+"."+key, value, line)
			}
		}
	case []any:
		for _, item := range v {
			id := ""
			if m, ok := item.(map[string]any); ok {
				id = fmt.Sprint(m["name"], m["mountPath"], m["number"])
			}
			flatten(path+"["+id+"]", item, line)
		}
	case nil:
	default:
		line(fmt.Sprintf("%s = %v", path, v))
	}
}

// free reports whether a record may hold any value in a place: in Tapedeck's own labels, in lists
// of hosts, and in references to the application's port, which has several spellings. The
// container of a newly rendered sidecar shows that render's own settings.
func free(line string) bool {
	return strings.HasSuffix(line, ".targetPort = 8080") || strings.HasSuffix(line, ".defaultEndpoint = 127.0.0.1:8080") || strings.Contains(line, "[tapedeck-proxy<nil> <nil>].env") ||
		strings.Contains(line, "labels.tapedeck.dev/") || strings.Contains(line, "labels.sidecar.speedscale.com/injected") ||
		strings.Contains(line, "[NO_PROXY") || strings.Contains(line, "[no_proxy")
}

// checkFacts checks that an undo reverted edits, or left them, and did nothing else: facts of both
// the input and the render are still there, and there are no others. With again, a second render
// may have added variables to a workload.
func (c *undoCase) checkFacts(t *testing.T, out []byte, what string, again bool) {
	t.Helper()
	after := facts(t, out)
	for id, lines := range after {
		for _, line := range lines {
			known := c.said[says(id, line)] || again && c.said[says(id, anyPort(line))]
			if !known && !free(line) && !(again && strings.Contains(line, ".env[")) {
				t.Errorf("%s: %s\n%s now has %s", c.name, what, id, line)
			}
		}
	}
	for id, lines := range c.facts[0] {
		for _, line := range lines {
			// The lines of an object are sorted.
			_, before := slices.BinarySearch(c.facts[1][id], line)
			_, still := slices.BinarySearch(after[id], line)
			if before && !still && !free(line) {
				t.Errorf("%s: %s\n%s no longer has %s", c.name, what, id, line)
			}
		}
	}
}

// ownPort matches a port of the sidecar for inbound calls. A record without a listener prevents the
// next render from using its port again.
var ownPort = regexp.MustCompile(`\b41(4[3-9]|[5-9][0-9])\b`)

func anyPort(line string) string {
	if !strings.Contains(line, "41") {
		return line
	}
	return ownPort.ReplaceAllString(line, "PORT")
}

// record is a tapedeck.dev/undo annotation.
type record struct {
	Add     map[string][]string `json:"add,omitempty"`
	Was     map[string]*string  `json:"was,omitempty"`
	Pairs   map[string]string   `json:"pairs,omitempty"`
	Spelled map[string]string   `json:"spelled,omitempty"`
	Image   string              `json:"image,omitempty"`
}

// forger changes the records of a rendered stream like an attacker who knows the format.
type forger struct {
	*rand.Rand
	docs    []*yaml.Node
	objects []*yaml.Node
	log     []string
}

// forge returns the stream with one or two of its records changed.
func (f *forger) forge(t testing.TB, rendered []byte) []byte {
	t.Helper()
	dec := yaml.NewDecoder(bytes.NewReader(rendered))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			break
		}
		f.docs = append(f.docs, &doc)
		if list := child(doc.Content[0], "items"); list != nil {
			f.objects = append(f.objects, list.Content...)
		} else {
			f.objects = append(f.objects, doc.Content[0])
		}
	}
	f.objects = slices.DeleteFunc(f.objects, func(n *yaml.Node) bool { return child(n, "metadata") == nil })
	for range 1 + f.IntN(4)/3 {
		o := f.objects[0] // usually a workload
		if f.IntN(2) == 0 {
			o = pick(f, f.objects)
		}
		f.change(o)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	for _, doc := range f.docs {
		if err := enc.Encode(doc); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func pick[T any](f *forger, from []T) T { return from[f.IntN(len(from))] }

func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// change gives an object a changed record: its own, another object's, or an invented one.
func (f *forger) change(o *yaml.Node) {
	var rec record
	from := o
	if f.IntN(4) == 0 {
		from = pick(f, f.objects)
	}
	if a := child(child(child(from, "metadata"), "annotations"), "tapedeck.dev/undo"); a != nil {
		json.Unmarshal([]byte(a.Value), &rec)
	}
	for _, m := range []any{&rec.Add, &rec.Was, &rec.Pairs, &rec.Spelled} {
		if data, _ := json.Marshal(m); string(data) == "null" {
			json.Unmarshal([]byte("{}"), m)
		}
	}
	for range 1 + f.IntN(6)/4 {
		path, n := f.somewhere(o, rec)
		token := f.token(n)
		switch f.IntN(10) {
		case 0, 1, 8, 9:
			id := "#0"
			for try := 0; try < 5 && len(n.Content) > 0 && (try == 0 || slices.Contains(rec.Add[path], id)); try++ {
				id = f.childID(n) // if possible one that the render did not add
			}
			rec.Add[path] = append(rec.Add[path], id)
		case 2:
			rec.Was[path] = &token
		case 3:
			rec.Was[path] = nil
		case 4:
			rec.Pairs[path] = pick(f, []string{"valueFrom", "value", "hostPath", "command"}) + ": " + token
		case 5:
			rec.Spelled[path] = token
		case 6:
			delete(rec.Was, path)
			delete(rec.Add, path)
		case 7:
			rec.Image = token
		}
	}
	text, _ := json.Marshal(rec)
	f.log = append(f.log, child(o, "kind").Value+" "+string(text))
	metadata := child(o, "metadata")
	annotations := child(metadata, "annotations")
	if annotations == nil || annotations.Kind != yaml.MappingNode {
		annotations = &yaml.Node{Kind: yaml.MappingNode}
		metadata.Content = append(metadata.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "annotations"}, annotations)
	}
	value := child(annotations, "tapedeck.dev/undo")
	if value == nil {
		value = &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString}
		annotations.Content = append(annotations.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "tapedeck.dev/undo"}, value)
	}
	value.Value = string(text)
}

// somewhere walks to a value of an object, often to one that its record names.
func (f *forger) somewhere(o *yaml.Node, rec record) (string, *yaml.Node) {
	var known []string
	for path := range rec.Add {
		known = append(known, path)
	}
	for path := range rec.Was {
		known = append(known, path)
	}
	sort.Strings(known)
	path, n := "", o
	for depth := f.IntN(12); depth > 0 && len(n.Content) > 0; depth-- {
		id := f.childID(n)
		if n.Kind == yaml.SequenceNode {
			path += "[" + id + "]"
			n = f.item(n, id)
		} else {
			switch n = child(n, id); {
			case strings.ContainsAny(id, "./[]"):
				path += "[" + id + "]"
			case path == "":
				path = id
			default:
				path += "." + id
			}
		}
		if n == nil {
			return path, o
		}
	}
	if len(known) > 0 && f.IntN(5) > 0 {
		path, n = pick(f, known), o
		for _, m := range pathStep.FindAllStringSubmatch(path, -1) {
			if n.Kind == yaml.SequenceNode {
				n = f.item(n, m[1]+m[2])
			} else {
				n = child(n, m[1]+m[2])
			}
			if n == nil {
				return path, o
			}
		}
	}
	return path, n
}

var pathStep = regexp.MustCompile(`([^.[\]]+)|\[([^\]]*)\]`)

func (f *forger) childID(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		return n.Content[2*f.IntN(len(n.Content)/2)].Value
	}
	i := f.IntN(len(n.Content))
	for _, key := range []string{"mountPath", "name", "port"} {
		if id := child(n.Content[i], key); id != nil && id.Kind == yaml.ScalarNode {
			return id.Value
		}
	}
	if n.Content[i].Kind == yaml.ScalarNode {
		return n.Content[i].Value
	}
	return fmt.Sprintf("#%d", i)
}

func (f *forger) item(n *yaml.Node, id string) *yaml.Node {
	for i, c := range n.Content {
		for _, key := range []string{"mountPath", "name", "port"} {
			if v := child(c, key); v != nil && v.Value == id {
				return c
			}
		}
		if c.Value == id || fmt.Sprintf("#%d", i) == id {
			return c
		}
	}
	return nil
}

// token returns the spelling of a value, of an object or invented by the forger.
func (f *forger) token(n *yaml.Node) string {
	if f.IntN(3) == 0 && n.Kind == yaml.ScalarNode {
		return n.Value
	}
	return pick(f, []string{
		"", "~", "[]", "{}", "evil", "8080", "4143", "9999", "127.0.0.1:22", "127.0.0.1:8080", "8080,9090", `"yes"`, "yes", "|\n  x\n", "|\n  ",
		"[{name: evil, hostPath: {path: /}}]", "{privileged: true}", "*env", "*labels", "&a []", "[] # kpt-set: ${x}", "{secretKeyRef: {name: root, key: token}}",
		"http://evil.example:3128", "${held-by-the-pod}", "x${held-by-the-pod}", `"${held-by-the-pod}"`, "-javaagent:evil.jar", "a\n---\nkind: Evil", "http://127.0.0.1:4140",
	})
}

// forged runs one forgery, and reports whether it was accepted.
func (c *undoCase) forged(t *testing.T, seed uint64) (accepted bool) {
	t.Helper()
	f := &forger{Rand: rand.New(rand.NewPCG(seed, 2))}
	input := f.forge(t, c.rendered)
	what := fmt.Sprintf("seed %d: %s", seed, strings.Join(f.log, "\n"))
	back, results, err := fn.Uninject([]fn.Source{{Text: input}})
	switch {
	case err != nil:
		t.Fatalf("%s: uninject: %v", what, err)
	case results.Failed():
		namesTheAnnotation(t, what, results)
	default:
		c.checkFacts(t, back, what, false)
	}
	again, more, err := fn.Render([]fn.Source{{Text: input}}, c.cfg)
	if err != nil {
		t.Fatalf("%s: render: %v", what, err)
	}
	if !results.Failed() && more.Failed() {
		return true // the rest of the manifest can't be rendered
	}
	if !more.Failed() {
		c.checkFacts(t, again, "rendered again, "+what, true)
	}
	return !results.Failed()
}

func namesTheAnnotation(t *testing.T, what string, results transformer.Results) {
	t.Helper()
	for _, r := range results {
		if r.Severity == transformer.Error && !strings.Contains(r.Message, "tapedeck.dev/") {
			t.Errorf("%s: the error names no annotation: %s", what, r.Message)
		}
	}
}

// TestForgedRecords changes records at random. An accepted record reverts edits of the render, and
// changes nothing else.
func TestForgedRecords(t *testing.T) {
	accepted, refused := 0, 0
	for i, c := range undoCases(t) {
		seeds := uint64(2)
		if c.name == "everything-of-its-own.txtar" {
			seeds = 100
		}
		for seed := range seeds {
			if c.forged(t, uint64(i)*1000+seed) {
				accepted++
			} else {
				refused++
			}
		}
	}
	if accepted < 50 || refused < 70 {
		t.Errorf("%d records were accepted and %d refused: the forger does not aim well", accepted, refused)
	}
}

// FuzzForgedUndo does the same endlessly, from a case and a seed that the fuzzer changes. One
// seed is enough to start.
func FuzzForgedUndo(f *testing.F) {
	cases := undoCases(f)
	f.Add(uint(0), uint64(7))
	f.Fuzz(func(t *testing.T, which uint, seed uint64) {
		c := cases[which%uint(len(cases))]
		c.forged(t, seed)
	})
}
