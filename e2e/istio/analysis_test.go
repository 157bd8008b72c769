package istio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"istio.io/istio/istioctl/pkg/analyze"
	"istio.io/istio/istioctl/pkg/cli"
	"istio.io/istio/istioctl/pkg/validate"
	"istio.io/istio/pkg/config/analysis/analyzers"
	"istio.io/istio/pkg/config/analysis/local"
	"istio.io/istio/pkg/test"
)

// TestFindings runs istioctl validate and istioctl analyze on everything that is
// rendered, here and in the renderer's own cases. Their findings about the output
// are those about the input. In files, istioctl analyze checks only Istio's
// objects. So the test also runs its analyzers on the cluster, as without
// --use-kube=false, where they check Services, workloads and injected pods, too.
func TestFindings(t *testing.T) {
	in, compared := newInjector(t, true), 0
	for _, r := range everything(t, "native") {
		if r.output == r.input {
			continue
		}
		compared++
		t.Run(r.name, func(t *testing.T) {
			rest := "\n---\n" + r.cluster
			before, after := r.input+rest, r.output+rest
			asked := func(who string, was, is map[string]bool) {
				for finding := range is {
					// In the cluster, the analyzers find that a Sidecar outside the input selects the pods, too.
					seen := slices.Contains(older, r.name) && strings.Contains(finding, "IST0110")
					if !was[finding] && !seen && !unnamed(finding) {
						t.Errorf("%s has a new finding: %s", who, finding)
					}
				}
			}
			meshConfig := write(t, "mesh.yaml", r.mesh)
			asked("istioctl analyze", analysis(t, before, meshConfig), analysis(t, after, meshConfig))
			asked("istioctl analyze, in the cluster,", live(t, newCluster(t, in, before, "", nil), before), live(t, newCluster(t, in, after, "", nil), after))
			asked("istioctl validate", validation(t, r.input), validation(t, r.output))
		})
	}
	if compared < 120 {
		t.Errorf("only %d renders were compared", compared)
	}
}

// unnamed is the finding that the pods of a replay have no labels app and version, from which Istio
// takes the name of a workload in its metrics. The pods must not have those of the original. Istio
// uses the name of the Deployment instead.
func unnamed(finding string) bool {
	return strings.Contains(finding, "-replay-") && strings.Contains(finding, "may not provide Istio metrics and telemetry labels")
}

// TestFindingsAreSeen plants two faults in a render, one for each command.
func TestFindingsAreSeen(t *testing.T) {
	c := readCase(t, "testdata/ports-one.txtar")
	elsewhere := strings.ReplaceAll(c.out, "127.0.0.1:4143", "192.0.2.1:4143")
	if said := fmt.Sprint(validation(t, elsewhere)); !strings.Contains(said, "defaultEndpoint") {
		t.Errorf("istioctl validate takes an endpoint outside the pod: %s", said)
	}
	twice := c.out + "---\n" + strings.ReplaceAll(c.out[strings.Index(c.out, "kind: Sidecar")-len("apiVersion: networking.istio.io/v1\n"):], "app-tapedeck", "second")
	if said := fmt.Sprint(live(t, newCluster(t, newInjector(t, true), twice, "", nil), twice)); !strings.Contains(said, "IST0110") {
		t.Errorf("istioctl analyze takes two Sidecars for the same pods: %s", said)
	}
	astray := c.out + `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: astray}
spec: {hosts: [app], gateways: [nowhere], http: [{route: [{destination: {host: app}}]}]}
`
	if said := fmt.Sprint(analysis(t, astray, "")); !strings.Contains(said, "IST0101") {
		t.Errorf("istioctl analyze takes a gateway that is not there: %s", said)
	}
}

// istioctl runs a command of istioctl in this process.
func istioctl(args ...string) (stdout, stderr string, err error) {
	root := &cobra.Command{Use: "istioctl", SilenceUsage: true, SilenceErrors: true}
	ctx := cli.NewCLIContext(cli.AddRootFlags(root.PersistentFlags()))
	root.AddCommand(analyze.Analyze(ctx), validate.NewValidateCommand(ctx))
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(append(args, "--istioNamespace", "istio-system"))
	err = root.Execute()
	return out.String(), errs.String(), err
}

// analysis returns what istioctl analyze finds in manifests.
func analysis(t *testing.T, manifests, meshConfig string) map[string]bool {
	t.Helper()
	file := write(t, "manifests.yaml", stream(t, manifests))
	if file == "" {
		return nil
	}
	args := []string{"analyze", "--use-kube=false", "--all-namespaces", "--output", "json", file}
	if meshConfig != "" {
		args = append(args, "--meshConfigFile", meshConfig)
	}
	out, errs, _ := istioctl(args...) // findings are also an error; the test compares the findings
	var messages []struct{ Code, Level, Message, Origin string }
	if err := json.Unmarshal([]byte(out), &messages); err != nil {
		t.Fatalf("istioctl analyze gave no JSON: %v\n%s%s", err, out, errs)
	}
	findings := map[string]bool{}
	for _, m := range messages {
		findings[finding(m.Level, m.Code, m.Origin, m.Message)] = true
	}
	return findings
}

// live returns what the analyzers of istioctl find in a cluster.
func live(t *testing.T, c *cluster, manifests string) map[string]bool {
	t.Helper()
	docs := []string{stream(t, manifests)}
	for _, p := range c.pods {
		text, err := yaml.Marshal(p.Pod)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, string(text))
	}
	a := local.NewIstiodAnalyzer(analyzers.AllCombined(), "", "istio-system", nil)
	// An object that Istio can't read is a different kind of finding.
	_ = a.AddTestReaderKubeSource([]local.ReaderSource{{Name: "manifests.yaml", Reader: strings.NewReader(strings.Join(docs, "---\n"))}})
	result, err := a.Analyze(test.NewStop(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(result.SkippedAnalyzers) > 0 {
		t.Fatalf("analyzers were skipped: %v", result.SkippedAnalyzers)
	}
	findings := map[string]bool{}
	for _, m := range result.Messages {
		origin := ""
		if m.Resource != nil {
			origin = m.Resource.Origin.FriendlyName()
		}
		findings[finding(m.Type.Level().String(), m.Type.Code(), origin, fmt.Sprintf(m.Type.Template(), m.Parameters...))] = true
	}
	return findings
}

// finding writes a finding without quoted parts of an object that a render may change: a
// VirtualService's hosts, and a Service's targetPort.
func finding(level, code, origin, message string) string {
	return fmt.Sprintf("%s [%s] %s: %s", level, code, origin, quotedFields.ReplaceAllString(message, "…"))
}

var quotedFields = regexp.MustCompile(`host \[[^\]]*\]|targetPort: [^,)]*`)

// quoted matches what istioctl validate quotes and a render may change: the labels
// of pods, and line numbers.
var quoted = regexp.MustCompile(`map\[[^\]]*\]|\d+ errors? occurred:|line \d+`)

// validation returns the output of istioctl validate for manifests, line by line.
func validation(t *testing.T, manifests string) map[string]bool {
	t.Helper()
	if strings.Contains(manifests, "kind: ResourceList") {
		manifests = stream(t, manifests)
	}
	file := write(t, "manifests.yaml", manifests)
	out, errs, err := istioctl("validate", "--filename", file)
	if out += errs; err != nil {
		out += "\n" + err.Error()
	}
	findings := map[string]bool{}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(quoted.ReplaceAllString(strings.ReplaceAll(line, file, ""), ""))
		if line != "" && !strings.HasSuffix(line, "is valid") {
			findings[line] = true
		}
	}
	return findings
}

// write writes a separate file, unless its content is empty.
func write(t *testing.T, name, text string) string {
	t.Helper()
	if text == "" {
		return ""
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// stream writes manifests with the namespaces in which they are applied.
func stream(t *testing.T, manifests string) string {
	t.Helper()
	var docs []string
	for _, o := range parse(t, manifests) {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, string(text))
	}
	return strings.Join(docs, "---\n")
}
