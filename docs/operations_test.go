package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/archive"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// operating fills the tables of operations.md.
func operating() string {
	return filled("operations.md", map[string]func(*strings.Builder){"limits": limits, "drops": drops, "alerts": alerts})
}

func limits(b *strings.Builder) {
	env := map[string]string{}
	for _, v := range contract.Envs() {
		env[v.Name] = v.Default
	}
	l, a := framework.DefaultLimits(), archive.DefaultLimits()
	b.WriteString("| bound | default | to change it | beyond it |\n|---|---|---|---|\n")
	for _, row := range [][4]string{
		{"memory for capture", env[contract.EnvMemory], "`" + contract.EnvMemory + "`, or `memory-limit`", "bytes and exchanges are dropped and counted"},
		{"bytes kept of a body or a message", env[contract.EnvBodyLimit], "option `bodyLimit`", "the rest is counted; the record is `truncated`"},
		{"bytes kept of a conversation, for each side", size(l.Stream), "–", "later messages have their sizes alone"},
		{"head of a message that is decoded", size(l.Head), "–", "the exchange is not decoded; the bytes pass"},
		{"field lines of a message that is decoded", strconv.Itoa(l.Headers), "–", "the same"},
		{"exchanges under way on a connection", strconv.Itoa(l.Streams), "–", "further ones are dropped: `too_many_at_once`"},
		{"encoded exchanges that wait for the disk", "an eighth of the memory for capture", "`" + contract.EnvMemory + "`, or `memory-limit`", "exchanges are dropped: `queue_full`"},
		{"size of a segment", size(spool.DefaultSegmentBytes), "–", "the next one begins"},
		{"age of a segment", fmt.Sprintf("%.0f minutes", spool.DefaultSegmentAge.Minutes()), "–", "the next one begins"},
		{"size of the pod's directory", env[contract.EnvSinkSize], "option `sinkSize`", "the oldest segments go"},
		{"segments that wait for a collector", "10,000", "–", "the oldest segments go"},
		{"time to drain after SIGTERM", env[contract.EnvDrain], "`" + contract.EnvDrain + "`", "open connections are reset"},
		{"captured hosts", strconv.Itoa(contract.MaxCaptureHosts), "–", "the render reports an error"},
		{"connections that wait for a responder", "1,024", "–", "502"},
		{"connections to the admin port", "16", "–", "the oldest one is closed"},
		{"JSON of one record", size(recording.MaxLine), "–", "readers report damage"},
		{"a segment in a `pull` from a pod", size(a.Segment), "–", "an error"},
		{"all of a `pull` from a pod", size(a.Bytes), "–", "an error"},
	} {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", row[0], row[1], row[2], row[3])
	}
}

// size writes a number of bytes as settings do.
func size[N int | int64](n N) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%dGi", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%dMi", n>>20)
	}
	return fmt.Sprintf("%dKi", n>>10)
}

// drops writes the reasons for which records are lost. A reason in the code that has no text here
// fails the test.
func drops(b *strings.Builder) {
	const exchanges, chunks, flows = "tapedeck_exchanges_dropped_total", "tapedeck_tap_dropped_bytes_total", "tapedeck_undecoded_bytes_total"
	docs := map[string]string{
		exchanges + spool.QueueFull.String():   "The disk is slower than the traffic. Use a faster volume, more memory, or capture less.",
		exchanges + spool.TooLarge.String():    "One exchange is larger than the queue. Raise `memory-limit`, or lower `bodyLimit`.",
		exchanges + spool.StoreFailed.String(): "The disk is full, read-only or gone. The log has the error; `tapedeck_sink_up` is 0.",
		exchanges + spool.Closed.String():      "The exchange ended after the sidecar had closed the recording. This is normal at a stop.",
		exchanges + spool.RedactPanic.String(): "A bug in the search for secrets. The log has the stack: report it.",
		exchanges + "too_many_at_once":         "More exchanges were under way on one connection than the bound, or than memory allowed.",
		exchanges + recording.BytesLost:        "The tap dropped bytes of these exchanges: see the next rows.",
		exchanges + tap.ReasonPanic:            "A bug in a decoder. The connection went on. The log has the stack: report it.",
		chunks + tap.ReasonFull:                "The decoders are slower than the traffic. Raise `cpu-limit` or `memory-limit`, or capture less.",
		chunks + tap.ReasonMemory:              "The container was near its memory limit. Raise `memory-limit`.",
		chunks + tap.ReasonPanic:               "What followed on a connection whose decoder met a bug.",
		chunks + tap.ReasonShutdown:            "The sidecar ended before it had decoded them. This is normal at a stop.",
		flows + recording.BytesLost:            "Bytes between two messages were lost. The decoder looks for a place to begin again.",
		flows + recording.Malformed:            "The bytes are not the protocol's that they seemed to be.",
		flows + recording.NoMemory:             "The decoder needed more memory than there was. Raise `memory-limit`.",
	}
	b.WriteString("| metric | reason | meaning, and what helps |\n|---|---|---|\n")
	row := func(metric, reason string) {
		doc, ok := docs[metric+reason]
		if !ok {
			doc = "NOT DOCUMENTED in docs/operations_test.go"
		}
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", metric, reason, doc)
	}
	for _, r := range spool.Reasons() {
		row(exchanges, r.String())
	}
	for _, r := range []string{"too_many_at_once", recording.BytesLost, tap.ReasonPanic} {
		row(exchanges, r)
	}
	for _, r := range []string{tap.ReasonFull, tap.ReasonMemory, tap.ReasonPanic, tap.ReasonShutdown} {
		row(chunks, r)
	}
	for _, r := range []string{recording.BytesLost, recording.Malformed, recording.NoMemory} {
		row(flows, r)
	}
}

// ruleFile is a file of Prometheus' rules.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

func readAlerts() (f ruleFile, err error) {
	text, err := os.ReadFile("../deploy/alerts/tapedeck.yaml")
	if err != nil {
		return f, err
	}
	return f, yaml.UnmarshalStrict(text, &f)
}

func alerts(b *strings.Builder) {
	f, err := readAlerts()
	if err != nil {
		panic(err)
	}
	b.WriteString("| alert | severity | what it means | what to do |\n|---|---|---|---|\n")
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", r.Alert, r.Labels["severity"], cell(r.Annotations["summary"]), cell(r.Annotations["action"]))
		}
	}
}

// Prometheus takes a name that no program has for a series without samples, so an alert on it
// never fires. Every name and label of the rules has to be one of a metric.
func TestTheAlertsNameMetricsAndLabelsThatExist(t *testing.T) {
	labels := metrics(t)
	f, err := readAlerts()
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`tapedeck_[a-z_]+`)
	matcher := regexp.MustCompile(`(tapedeck_[a-z_]+)\{([^}]*)\}`)
	label := regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping := regexp.MustCompile(`(?:by|on) \(([^)]*)\)`)
	seen := map[string]bool{}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if seen[r.Alert] || r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("%s %q: want a name of its own, a severity, a summary and an action", g.Name, r.Alert)
			}
			seen[r.Alert] = true
			known := map[string]bool{"namespace": true, "pod": true}
			found := name.FindAllString(r.Expr, -1)
			for _, n := range found {
				of, ok := labels[n]
				if !ok {
					t.Errorf("%s: there is no metric %s", r.Alert, n)
				}
				for _, l := range of {
					known[l] = true
				}
			}
			if len(found) == 0 || strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") {
				t.Errorf("%s: %q is no expression about a metric", r.Alert, r.Expr)
			}
			for _, m := range matcher.FindAllStringSubmatch(r.Expr, -1) {
				for _, l := range label.FindAllStringSubmatch(m[2], -1) {
					if !slices.Contains(labels[m[1]], l[1]) {
						t.Errorf("%s: %s has no label %s", r.Alert, m[1], l[1])
					}
				}
			}
			for _, m := range grouping.FindAllStringSubmatch(r.Expr, -1) {
				for l := range strings.SplitSeq(m[1], ",") {
					if l = strings.TrimSpace(l); !known[l] {
						t.Errorf("%s: no metric of it has the label %s", r.Alert, l)
					}
				}
			}
		}
	}
}

// metrics returns the labels of every metric, by its name: of the sidecar and the mock from
// their sources, and of the collector from its page, which a test of it writes.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, dir := range []string{"../proxy", "../sidecar", "../mock"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no sources (%v)", dir, err)
		}
		for _, file := range files {
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) < 2 {
					return true
				}
				if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "Desc" {
					return true
				}
				texts := make([]string, len(call.Args))
				for i, arg := range call.Args {
					if lit, ok := arg.(*ast.BasicLit); ok {
						texts[i], _ = strconv.Unquote(lit.Value)
					}
				}
				all["tapedeck_"+texts[0]] = texts[2:]
				return true
			})
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(tapedeck_collector_[a-z_]+)(?:\\{([a-z,]*)\\})?`").FindAllStringSubmatch(read(t, "collector.md"), -1) {
		all[m[1]] = strings.Split(m[2], ",")
	}
	if len(all["tapedeck_exchanges_dropped_total"]) == 0 || len(all["tapedeck_collector_refused_total"]) != 2 {
		t.Fatalf("the metrics were not found: %v", all)
	}
	return all
}

// A metric that the page about operations names exists.
func TestOperationsNamesMetricsThatExist(t *testing.T) {
	all := metrics(t)
	for _, n := range regexp.MustCompile(`tapedeck_[a-z_]+`).FindAllString(read(t, "operations.md"), -1) {
		if _, ok := all[n]; !ok {
			t.Errorf("operations.md names %s, and there is no such metric", n)
		}
	}
}

func TestOperationsExplainsEveryReason(t *testing.T) {
	var b strings.Builder
	if drops(&b); strings.Contains(b.String(), "NOT DOCUMENTED") {
		t.Errorf("a reason has no text:\n%s", b.String())
	}
}
