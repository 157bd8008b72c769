package fn_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// A render reports how the rest of the input affects a pod with the sidecar: what rejects it,
// changes it, or prevents it from starting.
func TestWhatTheSurroundingsMakeOfAPod(t *testing.T) {
	const (
		quota      = "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q, namespace: shop}\nspec: "
		limitRange = "apiVersion: v1\nkind: LimitRange\nmetadata: {name: l, namespace: shop}\nspec: {limits: ["
		hpa        = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: h, namespace: shop}\nspec: {scaleTargetRef: {kind: Deployment, name: app}, "
		policy     = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: n, namespace: shop}\nspec: {podSelector: {}, "
		fullSize   = "resources: {limits: {cpu: 500m, memory: 1Gi}, requests: {cpu: 500m, memory: 1024Mi}}"
		trusts     = "tls-out: true, mount-known-ca: true"
		proxied    = "env: [{name: HTTP_PROXY, value: 'http://10.1.2.3:3128'}]"
	)
	pod := func(resources string) string { return "image: x\n      resources: " + resources }
	const other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other, namespace: shop}\nspec: {replicas: 4, template: {spec: {containers: [{name: other, resources: {requests: {memory: 100Mi}}}]}}}"
	configMap := func(namespace, name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: " + namespace + "}"
	}
	mounts := func(volume, mount string) string {
		return "volumeMounts: [{name: v, " + mount + "}]\n      volumes: [{name: v, " + volume + "}]"
	}
	for _, test := range []struct {
		name, annotations, container, beside string
		want                                 []string // code, and part of the message
	}{
		{"a quota of limits", "", "", quota + "{hard: {limits.memory: 4Gi, limits.cpu: 4}}", []string{"quota limits.cpu", "quota limits.memory"}},
		{"a quota of requests, which the sidecar has", "", "", quota + "{hard: {requests.memory: 4Gi, cpu: 4, pods: 1}}", nil},
		{"a quota that is told limits", "memory-limit: 128Mi", "", quota + "{hard: {limits.memory: 4Gi}}", nil},
		{"a quota of the best effort", "", "", quota + "{hard: {limits.memory: 4Gi}, scopes: [BestEffort]}", nil},
		{"a quota of pods that end", "", "", quota + "{hard: {limits.memory: 4Gi}, scopes: [Terminating]}", nil},
		{"a quota of pods that do not end", "", "", quota + "{hard: {limits.memory: 4Gi}, scopes: [NotTerminating]}", []string{"quota limits.memory"}},
		{"a quota of another priority", "", "", quota + "{hard: {limits.memory: 4Gi}, scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}}", nil},
		{"a quota of another namespace", "", "", strings.Replace(quota, "shop", "other", 1) + "{hard: {limits.memory: 4Gi}}", nil},
		{"a quota without room", "", "resources: {requests: {memory: 100Mi}}", quota + "{hard: {requests.memory: 410Mi}}", []string{"quota no room"}},
		{"a quota that was too small before", "", "resources: {requests: {memory: 300Mi}}", quota + "{hard: {requests.memory: 410Mi}}", nil},
		{"a quota beside defaults", "", "", quota + "{hard: {limits.memory: 4Gi}}\n---\n" + limitRange + "{type: Container, default: {memory: 256Mi}}]}", []string{"limits-given memory 256Mi"}},

		{"a quota of a pod with resources of its own", "", pod("{limits: {memory: 1Gi}, requests: {memory: 512Mi}}"), quota + "{hard: {limits.memory: 4Gi, limits.cpu: 4, requests.memory: 2Gi}}", nil},
		{"a quota that two workloads fill", "", "resources: {requests: {memory: 100Mi}}", other + "\n---\n" + quota + "{hard: {requests.memory: 910Mi}}", []string{"quota no room for all pods of 2 workloads"}},
		{"a quota with room for two workloads", "", "resources: {requests: {memory: 100Mi}}", other + "\n---\n" + quota + "{hard: {requests.memory: 928Mi}}", nil},
		{"a quota that two workloads filled before", "", "resources: {requests: {memory: 100Mi}}", other + "\n---\n" + quota + "{hard: {requests.memory: 799Mi}}", nil},
		{"a quota that a Job would fill", "", "resources: {requests: {memory: 100Mi}}", strings.Replace(strings.Replace(other, "apps/v1", "batch/v1", 1), "Deployment", "Job", 1) + "\n---\n" + quota + "{hard: {requests.memory: 910Mi}}", nil},

		{"requests of the pod without room", "", "resources: {requests: {memory: 64Mi}}\n      resources: {requests: {memory: 64Mi, cpu: 1}}", "", []string{"pod-resources the containers request more memory with the sidecar than the 64Mi of the pod"}},
		{"requests of the pod with room", "", "resources: {requests: {memory: 64Mi}}\n      resources: {requests: {memory: 96Mi, cpu: 1}}", "", nil},
		{"requests of the pod that had no room before", "", "resources: {requests: {memory: 64Mi}}\n      resources: {requests: {memory: 63Mi}}", "", nil},
		{"a limit of the pod", "memory-limit: 128Mi", pod("{limits: {memory: 100Mi}}"), "", []string{"pod-resources memory limit of 128Mi is more than the 100Mi of the pod"}},

		{"a minimum", "", "", limitRange + "{type: Container, min: {cpu: 50m, memory: 64Mi}}]}", []string{"limit-range cpu request is 10m", "limit-range memory request is 32Mi"}},
		{"a minimum that is kept", "cpu-request: 50m, memory-request: 64Mi", "", limitRange + "{type: Container, min: {cpu: 50m, memory: 64Mi}}]}", nil},
		{"a maximum", "memory-limit: 1Gi", "", limitRange + "{type: Container, max: {memory: 512Mi}}]}", []string{"limit-range the maximum is 512Mi"}},
		{"a maximum that becomes the default", "", "", limitRange + "{type: Container, max: {memory: 512Mi}}]}", []string{"limits-given memory 512Mi"}},
		{"a ratio", "cpu-limit: 1", "", limitRange + "{type: Container, maxLimitRequestRatio: {cpu: 4}}]}", []string{"limit-range more than 4 times"}},
		{"a ratio without a limit", "", "", limitRange + "{type: Container, maxLimitRequestRatio: {cpu: 4}}]}", []string{"limit-range both are needed"}},
		{"a default that is too small", "", "", limitRange + "{type: Container, default: {memory: 16Mi}}]}", []string{"limit-range request of 32Mi is more than the limit of 16Mi", "memory-limit-small 16Mi", "limits-given memory 16Mi"}},
		{"a maximum of the pod", "memory-limit: 100Mi", "resources: {limits: {memory: 450Mi}}", limitRange + "{type: Pod, max: {memory: 512Mi}}]}", []string{"limit-range with the sidecar,"}},
		{"limits of volumes", "", "", limitRange + "{type: PersistentVolumeClaim, min: {storage: 1Gi}}]}", nil},

		{"Guaranteed becomes Burstable", "", fullSize, "", []string{"qos-class Guaranteed"}},
		{"limits alone are requests, too", "", "resources: {limits: {cpu: 1, memory: 1Gi}}", "", []string{"qos-class Guaranteed"}},
		{"Guaranteed stays", "cpu-request: 200m, cpu-limit: 200m, memory-request: 128Mi, memory-limit: 128Mi", fullSize, "", nil},
		{"Burstable stays", "", fullSize + "\n      initContainers: [{name: init}]", "", nil},

		{"an average of use", "", "", hpa + "metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}", []string{"autoscaler-average type ContainerResource for container app"}},
		{"an average of one container", "", "", hpa + "metrics: [{type: ContainerResource, containerResource: {name: cpu, container: app, target: {type: Utilization, averageUtilization: 50}}}]}", nil},
		{"an average of something else", "", "", hpa + "metrics: [{type: Pods, pods: {}}]}", nil},
		{"the average of another workload", "", "", strings.Replace(hpa, "name: app", "name: other", 1) + "metrics: [{type: Resource, resource: {name: cpu}}]}", nil},
		{"an average in the old way", "", "", strings.Replace(hpa, "v2", "v1", 1) + "targetCPUUtilizationPercentage: 50}", []string{"autoscaler-average use autoscaling/v2"}},
		{"an average by default", "", "", hpa + "maxReplicas: 3}", []string{"autoscaler-average cpu is the default"}},
		{"an average by default, in the old way", "", "", strings.Replace(hpa, "v2", "v1", 1) + "maxReplicas: 3}", []string{"autoscaler-average cpu is the default"}},
		{"metrics in an annotation", "", "", strings.Replace(strings.Replace(hpa, "v2", "v1", 1), "name: h,", "name: h, annotations: {autoscaling.alpha.kubernetes.io/metrics: '[]'},", 1) + "maxReplicas: 3}", nil},
		{"an average by KEDA", "", "", "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: h, namespace: shop}\nspec: {scaleTargetRef: {name: app}, triggers: [{type: memory, metadata: {value: '80'}}, {type: cpu, metadata: {containerName: app}}, {type: kafka}]}", []string{"autoscaler-average memory"}},

		{"a bundle in a ConfigMap", trusts, mounts("configMap: {name: c}", "mountPath: /etc/ssl/certs"), "", []string{"mount-nested remove mount-known-ca"}},
		{"a bundle in a ConfigMap that has the file", trusts, mounts("configMap: {name: c}", "mountPath: /etc/ssl/certs/"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\ndata: {ca-certificates.crt: x}", nil},
		{"a bundle in a Secret by another name", trusts, mounts("secret: {secretName: c, items: [{key: ca-certificates.crt, path: a}]}", "mountPath: /etc/ssl/certs"), "apiVersion: v1\nkind: Secret\nmetadata: {name: c, namespace: shop}\nstringData: {ca-certificates.crt: x}", []string{"mount-nested remove mount-known-ca"}},
		{"a volume that can be written to", trusts, mounts("emptyDir: {}", "mountPath: /etc/ssl/certs"), "", nil},
		{"a volume that this mount can't write to", trusts, mounts("emptyDir: {}", "mountPath: /etc/ssl/certs, readOnly: true"), "", []string{"mount-nested remove mount-known-ca"}},
		{"trust files in a volume", "tls-out: true", mounts("persistentVolumeClaim: {claimName: c, readOnly: true}", "mountPath: /etc/ssl"), "", []string{"mount-nested /etc/ssl/speedscale, inside the read-only volume v"}},
		{"a volume among the trust files", "tls-out: true", mounts("emptyDir: {}", "mountPath: /etc/ssl/speedscale/more"), "", []string{"mount-nested inside the read-only volume tapedeck-trust"}},
		{"a neighbour by name alone", "tls-out: true", mounts("configMap: {name: c}", "mountPath: /etc/ssl/speed"), "", nil},
		{"the application's own nesting", "tls-out: true", "volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /a/b}]\n      volumes: [{name: v, configMap: {name: c}}]", "", nil},
		{"a volume in the trust files' place", "tls-out: true", mounts("emptyDir: {}", "mountPath: /etc/ssl/speedscale/"), "", []string{"name-clash where the trust files belong"}},

		{"a ConfigMap with kustomize's hash", "capture-config: capture", "", configMap("shop", "pre-capture-6fmc9hffgt"), []string{"name-hashed annotation tapedeck.dev/capture-config to pre-capture"}},
		{"a ConfigMap by its name", "capture-config: pre-capture", "", configMap("shop", "pre-capture"), nil},
		{"a ConfigMap by its name beside one with a hash", "capture-config: capture", "", configMap("shop", "capture") + "\n---\n" + configMap("shop", "capture-6fmc9hffgt"), nil},
		{"a ConfigMap with a hash by all of its name", "capture-config: capture-6fmc9hffgt", "", configMap("shop", "capture-6fmc9hffgt"), nil},
		{"a ConfigMap with a hash in another namespace", "capture-config: capture", "", configMap("other", "capture-6fmc9hffgt"), nil},
		{"a ConfigMap of another name with a hash", "capture-config: capture", "", configMap("shop", "recapture-6fmc9hffgt"), nil},
		{"a ConfigMap whose last word is no hash", "capture-config: capture", "", configMap("shop", "capture-abcdefghij"), nil},
		{"the CA with kustomize's hash", "tls-out: true", "", strings.Replace(configMap("shop", "speedscale-certs-v2-6fmc9hffgt"), "ConfigMap", "Secret", 1), []string{"name-hashed option caSecret to speedscale-certs-v2"}},
		{"a client's certificate with kustomize's hash", "tls-out: true, tls-mutual-secret: mine", "", strings.Replace(configMap("shop", "mine-6fmc9hffgt"), "ConfigMap", "Secret", 1), []string{"name-hashed tls-mutual-secret to mine"}},

		{"all egress denied", "", "", policy + "policyTypes: [Egress]}", []string{"egress-policy DNS"}},
		{"egress without DNS", "", "", policy + "egress: [{ports: [{port: 443}]}]}", []string{"egress-policy DNS"}},
		{"egress with DNS", "", "", policy + "egress: [{ports: [{port: 443}]}, {ports: [{protocol: UDP, port: 53}]}]}", nil},
		{"egress with OpenShift's DNS", "", "", policy + "egress: [{ports: [{protocol: UDP, port: dns}]}]}", nil},
		{"egress in a range", "", "", policy + "egress: [{ports: [{port: 1, endPort: 100}]}]}", nil},
		{"egress to everything", "", "", policy + "policyTypes: [Egress], egress: [{}]}", nil},
		{"egress that another policy allows", "", "", policy + "policyTypes: [Egress]}\n---\n" + strings.Replace(policy, "name: n", "name: dns", 1) + "egress: [{ports: [{protocol: UDP, port: 53}]}]}", nil},
		{"egress through a proxy", "", proxied, policy + "policyTypes: [Egress]}", nil},
		{"ingress alone", "", "", policy + "policyTypes: [Ingress]}", nil},
		{"egress of other pods", "", "", strings.Replace(policy, "podSelector: {}", "podSelector: {matchLabels: {app: other}}", 1) + "policyTypes: [Egress]}", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			input := forwarding(test.annotations, test.container, test.beside)
			out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, r := range results {
				usual := []transformer.Code{transformer.CodeInjected, transformer.CodeCASecret, transformer.CodeProxyChained, transformer.CodeNotWritten, transformer.CodeServiceEntryKept, transformer.CodeNotRequested}
				if !slices.Contains(usual, r.Code()) {
					left = append(left, string(r.Code())+" "+r.Message)
				}
			}
			for _, want := range test.want {
				code, part, _ := strings.Cut(want, " ")
				i := slices.IndexFunc(left, func(s string) bool { return strings.HasPrefix(s, code+" ") && strings.Contains(s, part) })
				if i < 0 {
					t.Errorf("no result %s with %q among\n%s", code, part, strings.Join(left, "\n"))
					continue
				}
				left = slices.Delete(left, i, i+1)
			}
			if len(left) > 0 {
				t.Errorf("results that were not wanted:\n%s", strings.Join(left, "\n"))
			}
			if !results.Failed() {
				checkPromises(t, []byte(input), out, transformer.DefaultConfig())
			}
		})
	}
}

// forwarding is a Deployment that requests the forward half, with more annotations
// as NAME: VALUE, NAME: VALUE, with fields of its container, and with objects next to it.
func forwarding(annotations, container, beside string) string {
	var b strings.Builder
	b.WriteString(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  namespace: shop
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: forward
`)
	for _, a := range strings.Split(annotations, ", ") {
		if name, value, ok := strings.Cut(a, ": "); ok {
			prefix := contract.SidecarPrefix
			if name == "capture-config" {
				prefix = contract.OwnPrefix
			}
			fmt.Fprintf(&b, "    %s%s: %q\n", prefix, name, value)
		}
	}
	b.WriteString(`spec:
  replicas: 4
  template:
    metadata:
      labels: {app: app}
    spec:
      containers:
      - name: app
        ` + container + "\n")
	if beside != "" {
		b.WriteString("---\n" + beside + "\n")
	}
	return b.String()
}
