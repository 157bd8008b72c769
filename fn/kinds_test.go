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
