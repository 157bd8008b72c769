package fn_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

const ignoreAnnotation = `operator.speedscale.com/ignore: "true"`

// A render makes the operator ignore rendered workloads, which does not make a later render
// ignore them.
func TestTheOperatorIsToldToIgnoreRenderedWorkloads(t *testing.T) {
	cfg := transformer.DefaultConfig()
	for name, value := range map[string]string{"operator": "ignore", "proxy-type": "forward"} {
		if err := cfg.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	template := "      annotations:\n        sidecar.speedscale.com/inject: \"true\"\n"
	for name, test := range map[string]struct {
		input string
		want  int
	}{
		"on the workload":     {plainDeployment, 1},
		"on the pod template": {strings.Replace(strings.Replace(plainDeployment, "  annotations:\n    sidecar.speedscale.com/inject: \"true\"\n", "", 1), "  template:\n", "  template:\n    metadata:\n"+template, 1), 1},
		"on both":             {strings.Replace(plainDeployment, "  template:\n", "  template:\n    metadata:\n"+template, 1), 2},
		"on a template of Jobs": {`apiVersion: batch/v1
kind: CronJob
metadata: {name: app}
spec:
  jobTemplate:
    metadata:
      annotations:
        sidecar.speedscale.com/inject: "true"
    spec:
      template:
        spec:
          containers:
          - name: app
`, 1},
		"asked for by the configuration": {"apiVersion: v1\nkind: Pod\nmetadata: {name: app}\nspec:\n  containers:\n  - name: app\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg.Clone()
			if test.want == 0 {
				cfg.Defaults["inject"] = "true"
			}
			out, results, err := fn.Render([]fn.Source{{Text: []byte(test.input)}}, cfg)
			if err != nil || results.Failed() {
				t.Fatal(err, results)
			}
			if got := bytes.Count(out, []byte(ignoreAnnotation)); got != test.want {
				t.Errorf("the annotation occurs %d times, want %d:\n%s", got, test.want, out)
			}
			checkPromises(t, []byte(test.input), out, cfg)
			cfg.Operator = ""
			without, _, err := fn.Render([]fn.Source{{Text: out}}, cfg)
			if err != nil || bytes.Contains(without, []byte(ignoreAnnotation)) || !bytes.Contains(without, []byte("name: tapedeck-proxy")) {
				t.Errorf("without the option it is not undone: %v\n%s", err, without)
			}
		})
	}
}

// A user's annotation to ignore a workload remains, whatever a record says.
func TestTheUsersWishToBeIgnoredStays(t *testing.T) {
	wish := strings.Replace(plainDeployment, "  annotations:\n", "  annotations:\n    "+ignoreAnnotation+"\n", 1)
	forged := strings.Replace(wish, "  annotations:\n", "  annotations:\n    tapedeck.dev/undo: '{\"add\":{\"metadata.annotations\":[\"operator.speedscale.com/ignore\"]}}'\n", 1)
	for input, failed := range map[string]bool{wish: false, forged: true} {
		cfg := transformer.DefaultConfig()
		cfg.Operator = "ignore"
		out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
		if err != nil || results.Failed() != failed || bytes.Contains(out, []byte("tapedeck-proxy")) {
			t.Errorf("%s\nwas rendered: %v %v", input, err, results)
		}
	}
	cfg := transformer.DefaultConfig()
	cfg.Operator, cfg.Defaults["proxy-type"] = "ignore", "forward"
	contrary := strings.Replace(wish, `ignore: "true"`, `ignore: "false"`, 1)
	if _, results, _ := fn.Render([]fn.Source{{Text: []byte(contrary)}}, cfg); !results.Failed() {
		t.Errorf("ignore: \"false\" together with the option is not an error: %v", results)
	}
}
