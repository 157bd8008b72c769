// Package docs_test keeps the reference pages equal to the tables in the code.
// `go test ./docs -update` writes them.
package docs_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/textproto"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/internal/docpage"
	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/wire"
	"github.com/tapedeck/tapedeck/transformer"
)

var update = flag.Bool("update", false, "write the reference pages")

func TestReferencePages(t *testing.T) {
	pages := map[string]func() string{
		"annotations.md":       annotations,
		"cluster-replay.md":    clusterReplay,
		"collector.md":         collecting,
		"configuration.md":     configuration,
		"reason-codes.md":      reasonCodes,
		"environment.md":       environment,
		"filters.md":           filters,
		"matching.md":          matching,
		"mock.md":              mocking,
		"migration.md":         migrating,
		"operations.md":        operating,
		"places.md":            places,
		"replay.md":            replaying,
		"trust-variables.md":   trust,
		"tapedeck.schema.json": func() string { return schema(fn.Schema()) },

		"match-rules.schema.json": func() string { return schema(rules.Schema()) },
		"carry-rules.schema.json": func() string { return schema(carry.Schema()) },
	}
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			want := page()
			if strings.HasSuffix(name, ".md") {
				want = describing(want)
			}
			if *update {
				if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("the page is not what the tables say; run go test ./docs -update (-tables +page):\n%s", diff)
			}
		})
	}
}

// generated says, on each page, where its text comes from.
const generated = "<!-- Generated from the tables in the code by `go test ./docs -update`. -->\n\n"

// cell writes text into a table's cell.
func cell(s string) string {
	if s == "" {
		return "–"
	}
	return strings.ReplaceAll(s, "|", `\|`)
}

func code(s string) string {
	if s == "" {
		return "–"
	}
	return "`" + s + "`"
}

func allowed(k transformer.Kind) string {
	if k.Enum == nil {
		return k.Allowed
	}
	var values []string
	for _, v := range k.Enum {
		if v != "" {
			values = append(values, "`"+v+"`")
		}
	}
	return strings.Join(values, ", ")
}

func annotations() string {
	var b strings.Builder
	b.WriteString(generated + "# Annotations\n\nKeys without a prefix here begin with `" + contract.SidecarPrefix + "`. They go on the workload, on its pod template, or on a CronJob's template of Jobs; the workload's win,\n" +
		"then the template of Jobs', the pod template's, and the configuration's `defaults`. All values are strings. `tapedeck explain NAME` prints a row.\n\n" +
		"`" + contract.AnnotationIgnore + ": \"true\"` in any of these places leaves the workload alone whatever else it says.\n\n" +
		"| annotation | allowed | default | what it does | valid with |\n|---|---|---|---|---|\n")
	for _, a := range transformer.Annotations() {
		if a.NoMeaning != "" {
			continue
		}
		when := ""
		if a.When != nil {
			when = a.When.Doc
		}
		key := a.Name
		if a.Own {
			key = a.Key()
		}
		value := code(a.Default)
		if a.Inferred != "" {
			value = "inferred: " + cell(a.Inferred)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", key, cell(allowed(a.Kind)), value, cell(a.Doc), cell(when))
	}
	replayAnnotations(&b)
	b.WriteString("\n## Accepted, without effect\n\nMost of these are for a sidecar that has iptables redirect packets to it, and Tapedeck redirects none. A workload that sets one gets the result `no-meaning`.\n\n" +
		"| annotation | what it was for | why it has no effect |\n|---|---|---|\n")
	for _, a := range transformer.Annotations() {
		if a.NoMeaning != "" {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", a.Name, cell(a.Doc), cell(a.NoMeaning))
		}
	}
	for _, a := range transformer.ReplayAnnotations() {
		if a.NoMeaning != "" {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", a.Key(), cell(a.Doc), cell(a.NoMeaning))
		}
	}
	b.WriteString("\n## Old spellings\n\nAccepted with the warning `legacy-annotation`.\n\n| old | new |\n|---|---|\n")
	for _, a := range transformer.Annotations() {
		for _, former := range a.Former {
			fmt.Fprintf(&b, "| `%s` | `%s` |\n", former, a.Name)
		}
	}
	for _, a := range transformer.ReplayAnnotations() {
		for _, former := range a.Former {
			fmt.Fprintf(&b, "| `%s%s` | `%s` |\n", transformer.FormerReplayPrefix, former, a.Key())
		}
	}
	return b.String()
}

// replayAnnotations writes the table of those that ask for a replay.
func replayAnnotations(b *strings.Builder) {
	b.WriteString("\n## Replay\n\nThese ask for a [replay in the cluster](cluster-replay.md). Keys without a prefix here begin with `" + contract.ReplayPrefix + "`. They go where the others do, and have no `defaults`.\n" +
		"Those with the prefix `" + contract.OwnPrefix + "` go on a TrafficReplay, too.\n\n" +
		"| annotation | allowed | default | what it does | valid with |\n|---|---|---|---|---|\n")
	for _, a := range transformer.ReplayAnnotations() {
		if a.NoMeaning != "" {
			continue
		}
		key, when := a.Name, ""
		if a.Own {
			key = a.Key()
		}
		if a.When != nil {
			when = a.When.Doc
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", key, cell(allowed(a.Kind)), code(a.Default), cell(a.Doc), cell(when))
	}
}

// clusterReplay fills the tables of a page that is otherwise written by hand.
func clusterReplay() string {
	return filled("cluster-replay.md", map[string]func(*strings.Builder){
		"fields": func(b *strings.Builder) {
			b.WriteString("| field of `spec` | allowed | default | what it does | valid with |\n|---|---|---|---|---|\n")
			for _, f := range transformer.TrafficReplayFields() {
				when := ""
				if f.When != nil {
					when = f.When.Doc
				}
				if f.NoMeaning == "" {
					fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", f.Path, cell(allowed(f.Kind)), code(f.Default), cell(f.Doc), cell(when))
				}
			}
		},
		"no-meaning": func(b *strings.Builder) {
			b.WriteString("| field of `spec` | why it has no effect |\n|---|---|\n")
			for _, f := range transformer.TrafficReplayFields() {
				if f.NoMeaning != "" {
					fmt.Fprintf(b, "| `%s` | %s |\n", f.Path, cell(f.NoMeaning))
				}
			}
		},
		"built-in": func(b *strings.Builder) {
			b.WriteString("| id | what it does |\n|---|---|\n")
			for _, c := range transformer.BuiltInConfigs() {
				fmt.Fprintf(b, "| `%s` | %s |\n", c.Name, cell(c.Doc))
			}
		},
		"test-config": func(b *strings.Builder) {
			b.WriteString("| field of `spec` | allowed | what it does | flag of `tapedeck replay` | of `tapedeck mock` |\n|---|---|---|---|---|\n")
			for _, f := range transformer.TestConfigFields() {
				fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", f.Path, cell(allowed(f.Kind)), cell(f.Doc), flags(f.Flags), flags(f.MockFlags))
			}
		},
		"ecosystem": func(b *strings.Builder) {
			b.WriteString("| field | what becomes of it |\n|---|---|\n")
			for _, f := range transformer.EcosystemFields() {
				fmt.Fprintf(b, "| `%s` | %s |\n", f.Path, cell(f.Doc+f.NoMeaning))
			}
		},
	})
}

func flags(names []string) string {
	if len(names) == 0 {
		return "–"
	}
	return "`--" + strings.Join(names, "`, `--") + "`"
}

func configuration() string {
	var b strings.Builder
	b.WriteString(generated + "# Configuration\n\nThe same names hold everywhere: in a functionConfig of kind `" + fn.ConfigKind + "` (`" + fn.ConfigAPIVersion + "`) under `spec`,\n" +
		"in a ConfigMap under `data`, in a file given with `--config`, and after `--set`. A list is a YAML list under `spec`, and\n" +
		"comma-separated elsewhere. `tapedeck schema` prints the JSON Schema ([tapedeck.schema.json](tapedeck.schema.json)).\n\n" +
		"```yaml\napiVersion: " + fn.ConfigAPIVersion + "\nkind: " + fn.ConfigKind + "\nmetadata:\n  name: capture\nspec:\n  image: registry.example/tapedeck:v1\n  strict: true\n  defaults:\n    tls-out: \"true\"\n```\n\n" +
		"| option | allowed | default | what it does |\n|---|---|---|---|\n")
	for _, o := range transformer.Options() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.Name, cell(allowed(o.Kind)), code(o.Default), cell(o.Doc))
	}
	b.WriteString("| `defaults` | [annotations](annotations.md), by name without prefix | – | Annotations for every workload that does not set them itself; `inject` here requests the sidecar for all workloads. In a ConfigMap and after `--set` they stand beside the options. |\n")
	return b.String()
}

func reasonCodes() string {
	var b strings.Builder
	b.WriteString(generated + "# Reason codes\n\nEvery result carries its code in `tags.code`. Codes are stable; sentences may change. The severity of a *skip* is a warning,\nand an error with the option `strict`.\n\n" +
		"| code | severity | what happened | what to do |\n|---|---|---|---|\n")
	reasons := transformer.Reasons()
	var codes []string
	for c := range reasons {
		codes = append(codes, string(c))
	}
	rank := map[transformer.Severity]int{transformer.Error: 0, transformer.Warning: 1, transformer.Info: 2}
	sort.Slice(codes, func(i, j int) bool {
		a, b := reasons[transformer.Code(codes[i])], reasons[transformer.Code(codes[j])]
		if a.Severity != b.Severity {
			return rank[a.Severity] < rank[b.Severity]
		}
		return codes[i] < codes[j]
	})
	for _, c := range codes {
		r := reasons[transformer.Code(c)]
		severity := string(r.Severity)
		if r.Skip {
			severity = "skip"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c, severity, cell(r.Sentence), cell(r.Help))
	}
	return b.String()
}

func environment() string {
	var b strings.Builder
	b.WriteString(generated + "# Environment of the sidecar\n\nThe sidecar, `/tapedeck-proxy` in the image, reads these variables. The renderer writes them; by hand they work the same.\n\n| variable | default | what it does |\n|---|---|---|\n")
	for _, e := range contract.Envs() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", e.Name, code(e.Default), cell(e.Doc))
	}
	return b.String()
}

// filters fills the tables of a page that is otherwise written by hand.
func filters() string {
	tables := map[string]func(*strings.Builder){
		"settings": func(b *strings.Builder) {
			b.WriteString("| annotation | variable | ConfigMap key | default | allowed | what it does |\n|---|---|---|---|---|---|\n")
			for _, k := range filter.Keys() {
				annotation, variable := "capture-"+k.Name, contract.EnvCapture+"_"+strings.ToUpper(k.Name)
				if k.Name == "capture" {
					annotation, variable = k.Name, contract.EnvCapture
				}
				fmt.Fprintf(b, "| `%s%s` | `%s` | `%s` | %s | %s | %s |\n", contract.OwnPrefix, annotation, variable, k.Name, code(k.Default), cell(k.Allowed), cell(k.Doc))
			}
		},
		"terms": func(b *strings.Builder) {
			b.WriteString("| term | what it is about | example |\n|---|---|---|\n")
			for _, f := range filter.Fields() {
				name := f.Name
				if strings.HasSuffix(name, ".") {
					name += "NAME"
				}
				fmt.Fprintf(b, "| `%s` | %s | `%s` |\n", name, cell(f.Doc), f.Example)
			}
		},
		"operators": func(b *strings.Builder) {
			b.WriteString("| operator | matches if |\n|---|---|\n")
			for _, op := range filter.Operators() {
				fmt.Fprintf(b, "| `%s` | %s |\n", op.Sign, cell(op.Doc))
			}
		},
	}
	return filled("filters.md", tables)
}

// places fills the tables of a page that is otherwise written by hand.
func places() string {
	schemes := contract.PlaceSchemes()
	return filled("places.md", map[string]func(*strings.Builder){
		"schemes": func(b *strings.Builder) {
			b.WriteString("| place | what it is | credentials |\n|---|---|---|\n")
			for _, s := range schemes {
				fmt.Fprintf(b, "| `%s` | %s | %s |\n", s.Form, cell(s.Doc), cell(s.Credentials))
			}
		},
		"rights": func(b *strings.Builder) {
			b.WriteString("| scheme | put | get | list | delete |\n|---|---|---|---|---|\n")
			for _, s := range schemes {
				if r := s.Rights; r != nil {
					fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", s.Name, r.Put, r.Get, r.List, r.Delete)
				}
			}
		},
		"settings": func(b *strings.Builder) {
			b.WriteString("| scheme | setting | allowed | what it does |\n|---|---|---|---|\n")
			for _, s := range schemes {
				for _, setting := range s.Settings {
					fmt.Fprintf(b, "| `%s` | `%s` | %s | %s |\n", s.Name, setting.Name, cell(setting.Allowed), cell(setting.Doc))
				}
			}
		},
	})
}

// collecting fills the table of reasons; the others are filled where their code is.
func collecting() string {
	return filled("collector.md", map[string]func(*strings.Builder){
		"refusals": func(b *strings.Builder) {
			b.WriteString("| code | status | the segment is | what it means, and what to do |\n|---|---|---|---|\n")
			for _, r := range contract.Refusals() {
				fmt.Fprintf(b, "| `%s` | %d | %s | %s |\n", r.Code, r.Status, r.Fate, cell(r.Doc))
			}
		},
	})
}

// filled returns the page with what the tables write between their marks.
func filled(name string, tables map[string]func(*strings.Builder)) string {
	texts := map[string]string{}
	for table, write := range tables {
		var b strings.Builder
		write(&b)
		texts[table] = b.String()
	}
	text, err := docpage.Fill(name, texts)
	if err != nil {
		panic(err)
	}
	return text
}

// matching fills the tables of a page that is otherwise written by hand.
func matching() string {
	names := func(all []string) func(*strings.Builder) {
		return func(b *strings.Builder) {
			for i, name := range all {
				all[i] = code(textproto.CanonicalMIMEHeaderKey(name))
			}
			b.WriteString(strings.Join(all, ", ") + ".\n")
		}
	}
	return filled("matching.md", map[string]func(*strings.Builder){
		"selecting": names(match.Selecting()),
		"unheard":   names(match.Unheard()),
		"formats": func(b *strings.Builder) {
			b.WriteString("| format | media types | what makes no difference |\n|---|---|---|\n")
			for _, f := range canon.Formats() {
				types := make([]string, len(f.Types))
				for i, t := range f.Types {
					types[i] = code(t)
				}
				fmt.Fprintf(b, "| %s | %s | %s |\n", f.Name, strings.Join(types, ", "), cell(f.Doc))
			}
		},
		"verdicts": func(b *strings.Builder) {
			b.WriteString("| a value | is masked | by |\n|---|---|---|\n")
			for _, v := range match.Verdicts() {
				masked := "no"
				if v.Mask {
					masked = "yes"
				}
				fmt.Fprintf(b, "| %s | %s | %s |\n", cell(v.Doc), masked, cell(string(v.Why)))
			}
		},
		"classes": func(b *strings.Builder) {
			b.WriteString("| class | what it is for | what it looks like | example |\n|---|---|---|---|\n")
			for _, c := range class.Docs() {
				fmt.Fprintf(b, "| `%s` | %s | %s | `%s` |\n", c.Name, c.Role, cell(c.Looks), c.Example)
			}
		},
		"keys": func(b *strings.Builder) {
			b.WriteString("| key | what it says | example |\n|---|---|---|\n")
			for _, k := range rules.Keys() {
				fmt.Fprintf(b, "| `%s` | %s | `%s` |\n", k.Name, cell(k.Doc), k.Example)
			}
		},
		"places": func(b *strings.Builder) {
			b.WriteString("| place | of | what it is | example |\n|---|---|---|---|\n")
			for _, p := range rules.Places() {
				of := "request"
				if p.Response {
					of = "request, response"
				}
				if !p.Request {
					of = "response"
				}
				fmt.Fprintf(b, "| `%s` | %s | %s | `%s` |\n", p.Name, of, cell(p.Doc), p.Example)
			}
		},
	})
}

// mocking fills the tables of a page that is otherwise written by hand.
func mocking() string {
	return filled("mock.md", map[string]func(*strings.Builder){
		"tags": func(b *strings.Builder) {
			b.WriteString("| tag | meaning |\n|---|---|\n")
			for _, tag := range recording.MockTagDocs() {
				fmt.Fprintf(b, "| `%s` | %s |\n", tag.Name, cell(tag.Doc))
			}
		},
		"faults": func(b *strings.Builder) {
			b.WriteString("| name | value | what it does |\n|---|---|---|\n")
			for _, f := range contract.FaultDocs() {
				fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", f.Name, cell(f.Value), cell(f.Doc))
			}
		},
	})
}

func replaying() string {
	return filled("replay.md", map[string]func(*strings.Builder){
		"keys": func(b *strings.Builder) {
			b.WriteString("| key | what it says | example |\n|---|---|---|\n")
			for _, k := range carry.Keys() {
				fmt.Fprintf(b, "| `%s` | %s | `%s` |\n", k.Name, cell(k.Doc), cell(k.Example))
			}
		},
		"metrics": func(b *strings.Builder) {
			b.WriteString("| metric | unit | what it is |\n|---|---|---|\n")
			for _, m := range goal.Metrics() {
				fmt.Fprintf(b, "| `%s` | %s | %s |\n", m.Name, cell(m.Unit), cell(m.Doc))
			}
		},
		"failures": func(b *strings.Builder) {
			b.WriteString("| failure | meaning |\n|---|---|\n")
			for _, f := range wire.Failures() {
				fmt.Fprintf(b, "| `%s` | %s |\n", f.Failure, cell(f.Doc))
			}
		},
	})
}

func trust() string {
	var b strings.Builder
	b.WriteString(generated + "# Trust variables\n\nWith `tls-out` the application's containers get these, unless they set them already. A variable that replaces the runtime's\nroots names a bundle that holds the public roots too, so connections past the proxy verify as before.\n\n| variable | value | read by | effect |\n|---|---|---|---|\n")
	for _, v := range transformer.TrustVariables() {
		effect := "replaces the roots"
		if v.Adds {
			effect = "adds to the roots"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", v.Name, v.Value, cell(v.Runtimes), effect)
	}
	b.WriteString("\nJava reads no such variable. `SPEEDSCALE_JAVA_OPTS` holds the truststore's flags for start scripts; the annotation\n`tls-java-tool-options` adds them to `JAVA_TOOL_OPTIONS`, which every JVM reads.\n")
	return b.String()
}

func schema(of any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(of); err != nil {
		panic(err)
	}
	return b.String()
}
