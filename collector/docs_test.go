package collector_test

import (
	"flag"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/internal/docpage"
	"github.com/tapedeck/tapedeck/recording/store"
)

var update = flag.Bool("update", false, "write the table of metrics")

// listed is a registerer that remembers the registered metrics.
type listed struct {
	prometheus.Registerer
	lines []string
}

var desc = regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)".*variableLabels: \{([^}]*)\}`)

func (l *listed) MustRegister(all ...prometheus.Collector) {
	l.Registerer.MustRegister(all...)
	for _, c := range all {
		kind := "gauge"
		switch c.(type) {
		case *prometheus.CounterVec, prometheus.Counter:
			kind = "counter"
		case prometheus.Histogram:
			kind = "histogram"
		}
		if _, ok := c.(prometheus.Gauge); ok {
			kind = "gauge" // which has all methods of a counter
		}
		ch := make(chan *prometheus.Desc, 1)
		c.Describe(ch)
		found := desc.FindStringSubmatch((<-ch).String())
		name := found[1]
		if found[3] != "" {
			name += "{" + found[3] + "}"
		}
		l.lines = append(l.lines, fmt.Sprintf("| `%s` | %s | %s |\n", name, kind, found[2]))
	}
}

func TestThePageListsTheMetrics(t *testing.T) {
	l := &listed{Registerer: prometheus.NewRegistry()}
	if _, err := collector.New(collector.Options{Store: store.Dir(t.TempDir()), Keys: func() [][]byte { return nil }, Metrics: l}); err != nil {
		t.Fatal(err)
	}
	docpage.Tables(t, "../docs/collector.md", *update, map[string]string{"metrics": "| metric | kind | what it counts |\n|---|---|---|\n" + strings.Join(l.lines, "")})
}

// The collector is a library: a program that imports it links no cloud SDK and no framework for
// command lines.
func TestTheCollectorLinksNoSDK(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command to list the packages with")
	}
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		for _, heavy := range []string{"spf13/cobra", "aws-sdk", "azure-sdk", "golang.org/x/oauth2", "kyaml"} {
			if strings.Contains(pkg, heavy) {
				t.Errorf("it links %s", pkg)
			}
		}
	}
}
