package fn_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// Every kind with a pod template at spec.template is rendered like a Deployment.
func TestKindsWithATemplateAreInjected(t *testing.T) {
	for apiVersion, kind := range map[string]string{
		"v1":                     "ReplicationController",
		"apps.openshift.io/v1":   "DeploymentConfig",
		"apps/v1":                "StatefulSet",
		"argoproj.io/v1alpha1":   "Rollout",
		"extensions/v1beta1":     "Deployment",
		"batch/v1":               "Job",
		"apps/v1beta2":           "DaemonSet",
		"apps.openshift.io/v999": "DeploymentConfig",
	} {
		input := []byte(strings.Replace(forwarding("", "image: registry.example/app:1", ""), "apiVersion: apps/v1\nkind: Deployment", "apiVersion: "+apiVersion+"\nkind: "+kind, 1))
		cfg := transformer.DefaultConfig()
		cfg.Strict = true
		out, results, err := fn.Render([]fn.Source{{Text: input}}, cfg)
		if err != nil || results.Failed() || !bytes.Contains(out, []byte("name: tapedeck-proxy")) {
			t.Errorf("%s of %s was not injected: %v %v", kind, apiVersion, err, results)
			continue
		}
		checkPromises(t, input, out, cfg)
	}
}

// A workload's kind in another group is a typo, or a kind of another project. It is not
// mistaken for an object that a kustomization's commonAnnotations annotated.
func TestKindsInOtherGroupsAreReported(t *testing.T) {
	beside := forwarding("", "image: registry.example/app:1", "")
	for object, want := range map[string]string{
		"apiVersion: v1\nkind: Deployment":           "apiVersion v1: the kind is rendered only in the group apps or extensions",
		"apiVersion: app/v1\nkind: StatefulSet":      "apiVersion app/v1: the kind is rendered only in the group apps",
		"apiVersion: v1\nkind: DeploymentConfig":     "apiVersion v1: the kind is rendered only in the group apps.openshift.io",
		"apiVersion: kafka.strimzi.io/v1\nkind: Pod": "apiVersion kafka.strimzi.io/v1: the kind is rendered only in the group core (v1)",
	} {
		input := beside + "---\n" + object + "\nmetadata:\n  name: slip\n  annotations:\n    sidecar.speedscale.com/inject: \"true\"\nspec: {replicas: 1}\n"
		_, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
		if err != nil || results.Failed() {
			t.Fatal(err, results)
		}
		found := false
		for _, r := range results {
			found = found || r.Code() == transformer.CodeUnsupported && strings.Contains(r.Message, want)
		}
		if !found {
			t.Errorf("%q: no result says %q: %v", object, want, results)
		}
	}
}
