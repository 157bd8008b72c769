package fn_test

import (
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// A pod can say in many ways that it runs on Windows. Some settings look like that, but don't mean
// it.
func TestWindowsPodsAreKnownHoweverTheySaySo(t *testing.T) {
	const affinity = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
	for name, test := range map[string]struct {
		spec, beside, field string // with field "", the pod is injected
	}{
		"os":                         {"os: {name: windows}", "", "spec.template.spec.os.name"},
		"node selector":              {"nodeSelector: {kubernetes.io/os: windows}", "", "spec.template.spec.nodeSelector[kubernetes.io/os]"},
		"former node selector":       {"nodeSelector: {beta.kubernetes.io/os: windows}", "", "spec.template.spec.nodeSelector[beta.kubernetes.io/os]"},
		"build in the node selector": {"nodeSelector: {node.kubernetes.io/windows-build: 10.0.20348}", "", "spec.template.spec.nodeSelector[node.kubernetes.io/windows-build]"},
		"AKS's node selector":        {"nodeSelector: {kubernetes.azure.com/os-sku: Windows2022}", "", "spec.template.spec.nodeSelector[kubernetes.azure.com/os-sku]"},
		"Linux's node selector":      {"nodeSelector: {kubernetes.io/os: linux}", "", ""},
		"affinity":                   {affinity + "[{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [windows]}]}]}}}", "", "spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"},
		"affinity that excludes Linux": {affinity + "[{matchExpressions: [{key: zone, operator: Exists}, {key: kubernetes.io/os, operator: NotIn, values: [linux]}]}]}}}", "",
			"spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"},
		"affinity to a build": {affinity + "[{matchExpressions: [{key: node.kubernetes.io/windows-build, operator: Exists}]}]}}}", "",
			"spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"},
		"affinity with a way out":       {affinity + "[{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [windows]}]}, {matchExpressions: [{key: zone, operator: Exists}]}]}}}", "", ""},
		"affinity to both":              {affinity + "[{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [windows, linux]}]}]}}}", "", ""},
		"affinity that excludes it":     {affinity + "[{matchExpressions: [{key: kubernetes.io/os, operator: NotIn, values: [windows]}]}]}}}", "", ""},
		"options":                       {"securityContext: {windowsOptions: {hostProcess: true}}", "", "spec.template.spec.securityContext.windowsOptions"},
		"runtime class by its name":     {"runtimeClassName: windows-2022", "", "spec.template.spec.runtimeClassName"},
		"runtime class of the input":    {"runtimeClassName: legacy", "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: legacy}\nhandler: docker\nscheduling: {nodeSelector: {kubernetes.io/os: windows}}\n", "spec.template.spec.runtimeClassName"},
		"another runtime class":         {"runtimeClassName: gvisor", "", ""},
		"toleration":                    {"tolerations: [{key: os, operator: Equal, value: windows, effect: NoSchedule}]", "", "spec.template.spec.tolerations[#0]"},
		"toleration of a pod for Linux": {"tolerations: [{key: os, value: windows}]\n      nodeSelector: {kubernetes.io/os: linux}", "", ""},
		"toleration of everything":      {"tolerations: [{operator: Exists}]", "", ""},
		"namespace":                     {"hostname: a", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  annotations: {openshift.io/node-selector: \"kubernetes.io/os=windows\"}\n", "Namespace shop metadata.annotations[openshift.io/node-selector]"},
	} {
		t.Run(name, func(t *testing.T) {
			input := forwarding("", "image: registry.example/app:1\n      "+test.spec, test.beside)
			for _, strict := range []bool{false, true} {
				cfg := transformer.DefaultConfig()
				cfg.Strict = strict
				_, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				for _, r := range results {
					if r.Code() == transformer.CodeWindows {
						got = r.Field.Path
					}
				}
				if got != test.field || results.Failed() != (strict && test.field != "") {
					t.Errorf("strict %t: windows was found at %q, want %q; %v", strict, got, test.field, results)
				}
			}
		})
	}
}
