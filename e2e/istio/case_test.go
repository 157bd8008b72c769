package istio

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/collections"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

var update = flag.Bool("update", false, "rewrite the outcomes and the results in testdata")

// TestCalls runs the cases of testdata. Each is one file:
//
//	what the case shows
//	-- config.yaml --   Tapedeck's configuration, optional
//	-- mesh.yaml --     Istio's MeshConfig, optional
//	-- cluster.yaml --  objects that are in the cluster but not in the input, optional
//	-- input.yaml --    what is rendered
//	-- calls --         calls, and where each lands without and with Tapedeck
//	-- results --       what the render reports besides the injected workloads
//
// A call is one of
//
//	to POD [mtls|tls] PROTOCOL PORT       from outside the mesh, to the pod itself
//	from POD [tls] PROTOCOL HOST:PORT     by a pod's application, through its Envoy
//	policies POD PORT                     no call: what the port's filter chains enforce
//
// with PROTOCOL http, http2, grpc or tcp, optionally followed by host=NAME and path=PATH.
// A pod named …@previous is of the revision before the render, in a rollout.
func TestCalls(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			c := readCase(t, file)
			without, with := c.judge(t)
			got := c.outcomes(t, without, with)
			if *update {
				c.rewrite(t, file, got)
				return
			}
			if diff := cmp.Diff(c.section("calls"), got); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.section("results"), c.report); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}

// testCase is one file, and the render of its input.
type testCase struct {
	*txtar.Archive
	cfg    transformer.Config
	out    string // "" if nothing may be written
	report string
}

func readCase(t *testing.T, file string) *testCase {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &testCase{Archive: archive, cfg: transformer.DefaultConfig()}
	if text := c.section("config.yaml"); text != "" {
		if c.cfg, err = fn.LoadConfig(c.cfg, fn.Source{Name: "config.yaml", Text: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	out, results := render(t, c.section("input.yaml"), c.cfg)
	results = slices.DeleteFunc(results, func(r transformer.Result) bool {
		return r.Code() == transformer.CodeInjected || r.Code() == transformer.CodeNotRequested
	})
	var report bytes.Buffer
	if err := fn.WriteText(&report, results); err != nil {
		t.Fatal(err)
	}
	c.out, c.report = out, report.String()
	return c
}

func render(t *testing.T, input string, cfg transformer.Config) (string, transformer.Results) {
	t.Helper()
	out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), results
}

func (c *testCase) section(name string) string {
	for _, f := range c.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// judge runs the input and the output in separate meshes. with is nil if
// nothing may be written.
func (c *testCase) judge(t *testing.T) (without, with *control) {
	t.Helper()
	in := newInjector(t, true)
	var err error
	if in.mesh, err = mesh.ApplyMeshConfig(c.section("mesh.yaml"), in.mesh); err != nil {
		t.Fatal(err)
	}
	rest := "\n---\n" + c.section("cluster.yaml")
	former := ""
	if strings.Contains(c.section("calls"), previous) {
		former = c.section("input.yaml")
	}
	before := newCluster(t, in, c.section("input.yaml")+rest, "", nil)
	before.enroll(t)
	without = newControl(t, before, c.section("mesh.yaml"))
	if c.out == "" {
		return without, nil
	}
	after := newCluster(t, in, c.out+rest, former, nil)
	after.enroll(t)
	for _, warning := range after.warnings(t) {
		if !slices.Contains(before.warnings(t), warning) {
			t.Errorf("Istio warns of what was rendered: %s", warning)
		}
	}
	return without, newControl(t, after, c.section("mesh.yaml"))
}

// warnings validates the configuration as Istio's own webhook does.
func (c *cluster) warnings(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, cfg := range c.istioConfig(t) {
		s, ok := collections.Pilot.FindByGroupVersionAliasesKind(cfg.GroupVersionKind)
		if !ok {
			t.Fatalf("Istio knows no %s", cfg.GroupVersionKind)
		}
		warning, err := s.ValidateConfig(cfg)
		if err != nil {
			t.Errorf("%s %s is not valid: %v", cfg.GroupVersionKind.Kind, cfg.Name, err)
		}
		if warning != nil {
			out = append(out, fmt.Sprintf("%s %s: %v", cfg.GroupVersionKind.Kind, cfg.Name, warning))
		}
	}
	return out
}

// outcomes writes the section of calls with the outcome of each.
func (c *testCase) outcomes(t *testing.T, without, with *control) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(c.section("calls")) {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		out.WriteString(line)
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k := parseCall(t, line)
		var before []string
		if !strings.HasSuffix(k.pod, previous) {
			before = without.make(t, k)
		}
		after := []string{"nothing is written"}
		if with != nil {
			after = with.make(t, k)
		}
		write := func(label string, lines []string) {
			for i, l := range lines {
				if i > 0 {
					label = strings.Repeat(" ", len(label))
				}
				fmt.Fprintf(&out, "\t%s %s\n", label, l)
			}
		}
		if slices.Equal(before, after) {
			write("both:   ", before)
			continue
		}
		write("without:", before)
		write("with:   ", after)
	}
	return out.String()
}

// make makes one call.
func (c *control) make(t *testing.T, k call) []string {
	t.Helper()
	p := c.pod(t, k.pod)
	switch k.verb {
	case "to":
		return []string{c.in(t, p, k, k.port)}
	case "from":
		return c.out(t, p, k)
	default:
		switch {
		case p.ambient():
			return []string{c.ztunnel(t).enforces(p.ip, k.port)}
		case !p.injected():
			return []string{"no Envoy"}
		}
		return c.envoy(t, p).policies(t, k.port)
	}
}

func parseCall(t *testing.T, line string) call {
	t.Helper()
	k := call{tls: simulation.Plaintext, path: "/"}
	var words []string
	for _, w := range strings.Fields(line) {
		switch name, value, option := strings.Cut(w, "="); {
		case option && name == "host":
			k.name = value
		case option && name == "path":
			k.path = value
		case w == "mtls":
			k.tls = simulation.MTLS
		case w == "tls":
			k.tls = simulation.TLS
		default:
			words = append(words, w)
		}
	}
	if len(words) == 3 && words[0] == "policies" {
		words = []string{"policies", words[1], "http", words[2]}
	}
	if len(words) != 4 || !slices.Contains([]string{"to", "from", "policies"}, words[0]) || shapes[words[2]] == "" {
		t.Fatalf("a call that is none: %s", line)
	}
	k.verb, k.pod, k.protocol = words[0], words[1], words[2]
	at := words[3]
	if i := strings.LastIndex(at, ":"); i >= 0 {
		k.host, at = at[:i], at[i+1:]
	}
	var err error
	if k.port, err = strconv.Atoi(at); err != nil {
		t.Fatalf("a call that is none: %s", line)
	}
	return k
}

func (c *testCase) rewrite(t *testing.T, file, calls string) {
	t.Helper()
	for name, text := range map[string]string{"calls": calls, "results": c.report} {
		i := slices.IndexFunc(c.Files, func(f txtar.File) bool { return f.Name == name })
		if i < 0 {
			c.Files = append(c.Files, txtar.File{Name: name})
			i = len(c.Files) - 1
		}
		c.Files[i].Data = []byte(text)
	}
	if err := os.WriteFile(file, txtar.Format(c.Archive), 0o644); err != nil {
		t.Fatal(err)
	}
}
