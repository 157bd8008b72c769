package transformer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

const (
	snapshotID  = "0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e"
	snapshotPin = snapshotID + "@sha256:5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e5d3e"
)

// asked returns the replays that a manifest requests, with a place for their snapshots.
func asked(t testing.TB, manifest string, options ...string) ([]*replay, Results) {
	t.Helper()
	var objects []*Object
	for text := range strings.SplitSeq(manifest, "\n---\n") {
		objects = append(objects, parsed(t, text))
	}
	cfg := DefaultConfig()
	for _, option := range append([]string{"replayPlace=s3://recordings/shop"}, options...) {
		name, value, _ := strings.Cut(option, "=")
		if err := cfg.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return newInput(objects, &cfg).readReplays()
}

// annotated returns a Deployment with annotations, one per line.
func annotated(annotations ...string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata:
  name: checkout
  namespace: shop
  annotations:
    ` + strings.Join(annotations, "\n    ") + `
spec: {template: {metadata: {labels: {app: checkout}}, spec: {containers: [{name: app}]}}}`
}

// trafficReplayOf returns a TrafficReplay with a spec, next to the workloads of the shop.
func trafficReplayOf(spec string) string {
	return `apiVersion: speedscale.com/v1
kind: TrafficReplay
metadata: {name: nightly, namespace: shop}
spec:
  ` + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n---\n" + annotated(`note: ""`) + `
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: orders, namespace: shop}
spec: {template: {metadata: {labels: {app: orders}}, spec: {containers: [{name: app}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {selector: {app: checkout}}`
}

// findings returns the codes and messages of results, without those of severity info.
func findings(results Results) (out []string) {
	for _, r := range results {
		if r.Severity != Info {
			out = append(out, fmt.Sprintf("%s %s: %s", r.Severity, r.Code(), r.Message))
		}
	}
	return out
}

// usual returns the replay without settings, modified by change.
func usual(change func(*replaySpec)) replaySpec {
	ref, _ := contract.ParseSnapshotRef(snapshotPin)
	s := replaySpec{Snapshot: ref, Mode: fullReplay, Timeout: "20m", Shards: 1, Replicas: 1}
	if change != nil {
		change(&s)
	}
	return s
}

func diffSpecs(want, got replaySpec) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(contract.Place{}), cmpopts.EquateEmpty())
}

func TestAnnotationsAskForAReplay(t *testing.T) {
	const asks = "replay.speedscale.com/snapshot-id: " + snapshotPin
	for name, c := range map[string]struct {
		annotations []string
		options     []string
		want        func(*replaySpec)
	}{
		"the snapshot alone": {},
		"everything that is sent": {
			annotations: []string{`replay.speedscale.com/build-tag: "1.10"`, `replay.speedscale.com/timeout: 90s`, `replay.speedscale.com/secrets: login, api-key,login`, `tapedeck.dev/replay-shards: "3"`,
				`tapedeck.dev/replay-replicas: "2"`, `tapedeck.dev/replay-tests: "checkout:api.shop:80"`, `replay.speedscale.com/sut-url: ":8081"`, `tapedeck.dev/replay-fail-if: "latency.p95 > 100\n\nGET /: requests.failed > 0"`},
			want: func(s *replaySpec) {
				s.BuildTag, s.Timeout, s.Secrets, s.Shards, s.Replicas, s.URL = "1.10", "90s", []string{"login", "api-key"}, 3, 2, ":8081"
				s.Tests.Keys = []string{"checkout:api.shop:80"}
				s.GeneratorFlags = []string{"--fail-if=latency.p95 > 100", "--fail-if=GET /: requests.failed > 0"}
			},
		},
		"everything that is answered": {
			annotations: []string{`replay.speedscale.com/mode: responder-only`, `tapedeck.dev/replay-mocks: "*"`, `tapedeck.dev/replay-routing: hostalias`, `tapedeck.dev/replay-passthrough: auth.example.com, *.internal:443`},
			options:     []string{"replayPassthrough=dns.example.com"},
			want: func(s *replaySpec) {
				s.Mode, s.Mocks.All, s.Tests.None, s.HostsFile = responderOnly, true, true, true
				s.Passthrough = []string{"dns.example.com", "auth.example.com", "*.internal:443"}
			},
		},
		"a generator alone, at another host": {
			annotations: []string{`replay.speedscale.com/mode: generator-only`, `replay.speedscale.com/sut-url: https://staging.example.com`},
			want: func(s *replaySpec) {
				s.Mode, s.URL, s.Mocks.None = generatorOnly, "https://staging.example.com", true
			},
		},
		"in place": {
			annotations: []string{`tapedeck.dev/replay: in-place`},
			want:        func(s *replaySpec) { s.InPlace = true },
		},
		"low data compares nothing": {
			annotations: []string{`replay.speedscale.com/generator-low-data: "true"`},
			want:        func(s *replaySpec) { s.GeneratorFlags = []string{"--no-compare"} },
		},
		"low data twice": {
			annotations: []string{`replay.speedscale.com/generator-low-data: "true"`, `replay.speedscale.com/testconfig-id: performance_10replicas`},
			want:        func(s *replaySpec) { s.GeneratorFlags = []string{"--copies=10", "--no-compare"} },
		},
		"passthrough": {
			annotations: []string{`replay.speedscale.com/testconfig-id: standard-passthrough`},
			options:     []string{"replayPassthrough=auth.example.com"},
			want:        func(s *replaySpec) { s.Passthrough = []string{"auth.example.com"} },
		},
		"annotations of the Job": {
			annotations: []string{`tapedeck.dev/replay-annotations: "argocd.argoproj.io/hook=PostSync\nhelm.sh/hook-weight=5=6"`},
			want: func(s *replaySpec) {
				s.Hooks = map[string]string{"argocd.argoproj.io/hook": "PostSync", "helm.sh/hook-weight": "5=6"}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			replays, results := asked(t, annotated(append(c.annotations, asks)...), c.options...)
			if found := findings(results); found != nil || len(replays) != 1 {
				t.Fatalf("%d replays, %q", len(replays), found)
			}
			if diff := diffSpecs(usual(c.want), replays[0].replaySpec); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnnotationsOfTheWorkloadWinOverThoseOfItsPods(t *testing.T) {
	replays, results := asked(t, `apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout, annotations: {replay.speedscale.com/build-tag: workload}}
spec: {template: {metadata: {annotations: {replay.speedscale.com/build-tag: pods, replay.speedscale.com/snapshot-id: `+snapshotPin+`}}}}`)
	if found := findings(results); found != nil || len(replays) != 1 || replays[0].BuildTag != "workload" {
		t.Errorf("%d replays, %q", len(replays), found)
	}
}

func TestWhatIsWrongWithAnnotations(t *testing.T) {
	const asks = "replay.speedscale.com/snapshot-id: " + snapshotPin
	for annotation, want := range map[string]string{
		`replay.speedscale.com/snapshot-id: 7`:                                         "error bad-value: annotation replay.speedscale.com/snapshot-id: found 7, which YAML reads as int; allowed: a string",
		`replay.speedscale.com/snapshot-id: latest`:                                    `error bad-value: annotation replay.speedscale.com/snapshot-id: found "latest"; allowed: a snapshot ID`,
		`replay.speedscale.com/snapshot-id: ` + strings.ToUpper(snapshotID):            "error bad-value",
		`replay.speedscale.com/snapshot-id: ` + snapshotID + `@sha256:5d`:              "error bad-value",
		`replay.speedscale.com/snapshot-id: "` + snapshotPin + `\n--only=safe"`:        "error bad-value",
		`replay.speedscale.com/snapshot-id: s3://key:secret@b/snapshots/` + snapshotID: "found a path or a URL; the place of snapshots is the option replayPlace",
		`replay.speedscale.com/snapshot-id: ` + snapshotID:                             "warning snapshot-unpinned",
		`replay.speedscale.com/mode: mocks-only`:                                       `found "mocks-only", allowed: full-replay, generator-only or responder-only`,
		`replay.speedscale.com/testconfig-id: ../x`:                                    "error bad-value",
		`replay.speedscale.com/testconfig-id: regression`:                              "error replay-test-config: annotation replay.speedscale.com/testconfig-id names \"regression\", which is not a test config; allowed: standard, standard-passthrough, performance_10replicas, performance_100replicas, performance_500replicas",
		`replay.speedscale.com/testconfig-id: standard-passthrough`:                    "no host is listed; allowed: a list in annotation tapedeck.dev/replay-passthrough or option replayPassthrough",
		`replay.speedscale.com/build-tag: "a\nb"`:                                      "error bad-value",
		`replay.speedscale.com/build-tag: 1.10`:                                        "which YAML reads as float; allowed: a string, so put it in quotes",
		`replay.speedscale.com/timeout: "20"`:                                          "not a duration",
		`replay.speedscale.com/timeout: 0s`:                                            "out of range",
		`replay.speedscale.com/timeout: 999h`:                                          "out of range",
		`replay.speedscale.com/secrets: ../login`:                                      "error bad-value",
		`replay.speedscale.com/secrets: ","`:                                           "found no value",
		`replay.speedscale.com/sut-url: http://me:hunter2@host`:                        "found a user or a password; put it into a Secret",
		`replay.speedscale.com/sut-url: http://host/path?token=hunter2`:                "found a path, a query or a fragment",
		`replay.speedscale.com/sut-url: ftp://host`:                                    "found scheme ftp; allowed: ",
		`replay.speedscale.com/sut-url: host:0`:                                        "found port 0, which is not allowed",
		`replay.speedscale.com/sut-url: "me:hunter2"`:                                  "its port is not a number",
		`replay.speedscale.com/sut-url: me:hunter2@x://y`:                              "found another scheme",
		`replay.speedscale.com/sut-url: "$(POD_IP)"`:                                   "its host is not valid",
		`replay.speedscale.com/sut-url: "8080"`:                                        "its host is not valid",
		`replay.speedscale.com/sut-url: ""`:                                            "found nothing",
		`replay.speedscale.com/sut-url: "http://a\nb"`:                                 "its host is not valid",
		`replay.speedscale.com/sut-url: http://checkout.shop:8080`:                     "would go to host checkout.shop, where the copy is not",
		`tapedeck.dev/replay: inplace`:                                                 "allowed: copy or in-place",
		`tapedeck.dev/replay-shards: "0"`:                                              "out of range",
		`tapedeck.dev/replay-shards: "100000"`:                                         "out of range",
		`tapedeck.dev/replay-replicas: "-1"`:                                           "out of range",
		`tapedeck.dev/replay-fail-if: latency.p96 > 1`:                                 `no metric is named "latency.p96"`,
		`tapedeck.dev/replay-fail-if: Authorization hunter2`:                           "found a line that may contain a credential, so it is not shown; allowed: goals",
		`tapedeck.dev/replay-passthrough: "*"`:                                         "is not a host",
		`tapedeck.dev/replay-passthrough: http://a`:                                    "found a value that may contain a credential, so it is not shown; allowed: HOST",
		`tapedeck.dev/replay-passthrough: me:hunter2@api.x`:                            "found a value that may contain a credential",
		`replay.speedscale.com/secrets: header.Authorization=Bearer hunter2`:           "found a value that may contain a credential, so it is not shown; allowed: names of Secrets",
		`replay.speedscale.com/snapshot-id: Bearer hunter2`:                            "found something else; allowed: a snapshot ID",
		`replay.speedscale.com/mode: token=hunter2`:                                    "found a value that may contain a credential",
		`tapedeck.dev/replay-annotations: token=hunter2`:                               "found a value that may contain a credential",
		`tapedeck.dev/replay-tests: https://me:hunter2@api.x/`:                         "found a value that may contain a credential, so it is not shown; allowed: slice keys",
		`tapedeck.dev/replay-annotations: sidecar.istio.io/inject=false`:               "line 1 is not an allowed KEY=VALUE",
		`tapedeck.dev/replay-annotations: argocd.argoproj.io/tracking-id=x`:            "line 1 is not an allowed KEY=VALUE",
		`tapedeck.dev/replay-annotations: "helm.sh/hook=a\nhelm.sh/hook=b"`:            "line 2 repeats the key of an earlier line",
		`tapedeck.dev/replay-tests: "a,,\u0007"`:                                       "is not a slice key",
		`tapedeck.dev/replay-routing: nat`:                                             "warning no-meaning: routing nat has no effect: it needs iptables",
		`replay.speedscale.com/cleanup: none`:                                          "warning no-meaning: annotation replay.speedscale.com/cleanup has no effect: to remove what was rendered",
		`replay.speedscale.com/env-id: x`:                                              "warning no-meaning",
		`replay.speedscale.com/responder-low-data: "true"`:                             "warning no-meaning",
		`replay.speedscale.com/collect-logs: "true"`:                                   "warning no-meaning",
		`replay.speedscale.com/snapshotid: x`:                                          "warning unknown-annotation: annotation replay.speedscale.com/snapshotid is unknown; did you mean replay.speedscale.com/snapshot-id?",
		`tapedeck.dev/replay-shard: "3"`:                                               "did you mean tapedeck.dev/replay-shards?",
		`test.speedscale.com/tag: v1`:                                                  `warning legacy-annotation: annotation test.speedscale.com/tag is an old name; write replay.speedscale.com/build-tag: "v1"`,
		`test.speedscale.com/sutURL: http://me:hunter2@host`:                           "is an old name; write replay.speedscale.com/sut-url",
		`test.speedscale.com/deployGenerator: "false"`:                                 "has no effect: write replay.speedscale.com/mode: responder-only",
		`test.speedscale.com/jwt: hunter2`:                                             "has no effect: write replay.speedscale.com/secrets",
	} {
		t.Run(annotation, func(t *testing.T) {
			annotations := []string{annotation}
			if !strings.Contains(annotation, "/snapshot-id:") {
				annotations = append(annotations, asks)
			}
			_, results := asked(t, annotated(annotations...))
			found := strings.Join(findings(results), "\n")
			if !strings.Contains(strings.ReplaceAll(found, `\"`, `"`), want) {
				t.Errorf("found %s\nwant %s", found, want)
			}
			for _, r := range results {
				if strings.Contains(fmt.Sprint(r, *r.Field), "hunter2") {
					t.Errorf("a password is quoted: %v", r)
				}
			}
		})
	}
}

func TestSettingsWithoutSnapshotAreAnError(t *testing.T) {
	_, results := asked(t, annotated(`tapedeck.dev/replay-shards: "2"`))
	if found := findings(results); len(found) != 1 || !strings.Contains(found[0], "error replay-no-snapshot: annotation tapedeck.dev/replay-shards is set, but replay.speedscale.com/snapshot-id") {
		t.Errorf("found %q", found)
	}
	replays, results := asked(t, annotated(`replay.speedscale.com/env-id: x`)) // which an operator leaves behind
	if len(replays) > 0 || results.Failed() {
		t.Errorf("%d replays, %q", len(replays), findings(results))
	}
}

func TestStrictMakesErrorsOfWhatIsUnknownOrUnpinned(t *testing.T) {
	for code, manifest := range map[Code]string{
		CodeSnapshotUnpinned:  annotated(`replay.speedscale.com/snapshot-id: ` + snapshotID),
		CodeUnknownAnnotation: annotated(`replay.speedscale.com/snapshot-id: `+snapshotPin, `replay.speedscale.com/x: "1"`),
		CodeReplayField:       trafficReplayOf("snapshotID: " + snapshotPin + "\nx: 1\nworkloads: [{ref: {name: checkout}, mocks: ['*']}]"),
	} {
		for _, strict := range []bool{false, true} {
			replays, results := asked(t, manifest, fmt.Sprintf("strict=%v", strict))
			i := slices.IndexFunc(results, func(r Result) bool { return r.Code() == code })
			if i < 0 || results.Failed() != strict || (len(replays) == 1) == strict {
				t.Errorf("%s, strict %v: %d replays, %q", code, strict, len(replays), findings(results))
			}
		}
	}
}

func TestWhatIsLeftAloneIsNotReplayed(t *testing.T) {
	const asks = "replay.speedscale.com/snapshot-id: " + snapshotPin
	for _, manifest := range []string{
		annotated(asks, `operator.speedscale.com/ignore: "true"`),
		annotated(asks, `config.kubernetes.io/local-config: "true"`),
		strings.Replace(trafficReplayOf("snapshotID: x"), "namespace: shop}", `namespace: shop, annotations: {operator.speedscale.com/ignore: "True"}}`, 1),
		strings.Replace(trafficReplayOf("snapshotID: x"), "namespace: shop}", `namespace: shop, annotations: {config.kubernetes.io/local-config: "true"}}`, 1),
	} {
		replays, results := asked(t, manifest)
		if len(replays) > 0 || len(results) != 1 || results[0].Code() != CodeReplayIgnored || results[0].Severity != Info {
			t.Errorf("%d replays, %v of %s", len(replays), results, manifest)
		}
	}
	_, results := asked(t, strings.Replace(trafficReplayOf("snapshotID: x"), "namespace: shop}", `namespace: shop, annotations: {operator.speedscale.com/ignore: "yes"}}`, 1))
	if !results.Failed() {
		t.Errorf("an invalid value is accepted: %q", findings(results))
	}
}

func TestAPlaceIsNeeded(t *testing.T) {
	for place, want := range map[string]string{
		"":                   "a replay needs the option replayPlace",
		"file:///recordings": "the option replayClaim is not set",
	} {
		_, results := asked(t, annotated("replay.speedscale.com/snapshot-id: "+snapshotPin), "replayPlace="+place)
		if found := findings(results); len(found) != 1 || !strings.Contains(found[0], "error replay-no-place: ") || !strings.Contains(found[0], want) {
			t.Errorf("%q: found %q", place, found)
		}
	}
	replays, results := asked(t, annotated("replay.speedscale.com/snapshot-id: "+snapshotPin), "replayPlace=file:///recordings", "replayClaim=recordings")
	if len(replays) != 1 || findings(results) != nil {
		t.Errorf("%d replays, %q", len(replays), findings(results))
	}
}

func TestTrafficReplays(t *testing.T) {
	for name, c := range map[string]struct {
		spec string
		want map[string]func(*replaySpec) // by what each is of
	}{
		"everything": {
			spec: `
snapshotID: ` + snapshotPin + `
testConfigID: performance_100replicas
mode: full-replay
buildTag: v1
customURL: "https://:8443"
timeout: 5m
secretRefs: [{name: login}, {name: api}]
workloads:
- ref: {name: checkout, kind: Deployment, namespace: shop, apiVersion: apps/v1}
  tests: ["*"]
  mocks: ["checkout:db:5432", "*"]
  routing: hostalias`,
			want: map[string]func(*replaySpec){"Deployment/checkout": func(s *replaySpec) {
				s.BuildTag, s.URL, s.Timeout, s.Secrets, s.HostsFile = "v1", "https://:8443", "5m", []string{"login", "api"}, true
				s.GeneratorFlags = []string{"--copies=100", "--no-compare"}
				s.Tests, s.Mocks = traffic{All: true}, traffic{All: true}
			}},
		},
		"several workloads, in order": {
			spec: `
snapshotID: ` + snapshotPin + `
workloads:
- ref: {name: orders, kind: StatefulSet}
  mocks: [db]
- ref: {name: front, kind: Service}
  tests: [front]
  mocks: ["*"]`,
			want: map[string]func(*replaySpec){
				"Deployment/checkout": func(s *replaySpec) { s.Tests.Keys, s.Mocks.All = []string{"front"}, true },
				"StatefulSet/orders":  func(s *replaySpec) { s.Mocks.Keys = []string{"db"} },
			},
		},
		"deprecated fields": {
			spec: `
snapshotID: ` + snapshotPin + `
workloadRef: {name: checkout}
generatorLowData: true`,
			want: map[string]func(*replaySpec){"Deployment/checkout": func(s *replaySpec) { s.GeneratorFlags = []string{"--no-compare"} }},
		},
		"deprecated keys": {
			spec: `
snapshotID: ` + snapshotPin + `
workloads: [{ref: {name: checkout}, inTrafficKey: a, inTrafficKeys: [b], outTrafficKeys: [c, d]}]`,
			want: map[string]func(*replaySpec){"Deployment/checkout": func(s *replaySpec) {
				s.Tests.Keys, s.Mocks.Keys = []string{"a", "b"}, []string{"c", "d"}
			}},
		},
		"a URL alone": {
			spec: `
snapshotID: ` + snapshotPin + `
customURL: https://staging.example.com`,
			want: map[string]func(*replaySpec){"TrafficReplay/nightly": func(s *replaySpec) {
				s.Mode, s.URL, s.Tests.All, s.Mocks.None = generatorOnly, "https://staging.example.com", true, true
			}},
		},
		"a URL for one entry, in place of that for all": {
			spec: `
snapshotID: ` + snapshotPin + `
customURL: "https://:8443"
workloads:
- {ref: {name: checkout}, mocks: ["*"]}
- {customURI: staging.example.com}`,
			want: map[string]func(*replaySpec){
				"Deployment/checkout": func(s *replaySpec) { s.URL, s.Mocks.All = "https://:8443", true },
				"TrafficReplay/nightly": func(s *replaySpec) {
					s.Mode, s.URL, s.Tests.All, s.Mocks.None = generatorOnly, "staging.example.com", true, true
				},
			},
		},
		"a URL for one entry": {
			spec: `
snapshotID: ` + snapshotPin + `
workloads: [{customURI: staging.example.com, tests: [api]}]`,
			want: map[string]func(*replaySpec){"TrafficReplay/nightly": func(s *replaySpec) {
				s.Mode, s.URL, s.Tests.Keys, s.Mocks.None = generatorOnly, "staging.example.com", []string{"api"}, true
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			replays, results := asked(t, trafficReplayOf(c.spec))
			if found := findings(results); found != nil || len(replays) != len(c.want) {
				t.Fatalf("%d replays, %q", len(replays), found)
			}
			var order []string
			for _, r := range replays {
				of := r.subject().kind() + "/" + r.subject().name()
				order = append(order, of)
				if diff := diffSpecs(usual(c.want[of]), r.replaySpec); diff != "" {
					t.Errorf("%s (-want +got):\n%s", of, diff)
				}
			}
			if !slices.Equal(order, sortedKeys(c.want)) {
				t.Errorf("in the order %q", order)
			}
		})
	}
}

func TestWhatIsWrongWithATrafficReplay(t *testing.T) {
	const good = "workloads: [{ref: {name: checkout}, mocks: ['*']}]"
	for spec, want := range map[string]string{
		good:                     "error replay-no-snapshot: spec.snapshotID: found nothing, allowed: a snapshot ID",
		"snapshotID: 7\n" + good: "error bad-value: spec.snapshotID: found 7, which YAML reads as int",
		"snapshotID: S\ncustomURL: http://me:hunter2@host\n" + good:                                           "found a user or a password",
		"snapshotID: S\nsecretRefs: [{name: Bearer hunter2}]\n" + good:                                        "error bad-value: spec.secretRefs[#0].name: found a value that may contain a credential",
		"snapshotID: S\nsecretRefs: token=hunter2\n" + good:                                                   "spec.secretRefs: found a single value, allowed: a list",
		"snapshotID: S\nbuildTag: 1.10\n" + good:                                                              "spec.buildTag: found 1.10, which YAML reads as float",
		"snapshotID: S\nttlAfterReady: 1h\ncleanup: all\n" + good:                                             "warning no-meaning: spec.cleanup, spec.ttlAfterReady have no effect: to remove what was rendered",
		"snapshotID: S\nneedsReport: true\nsidecar: {inject: true}\n" + good:                                  "spec.sidecar has no effect: the annotations sidecar.speedscale.com/*",
		"snapshotID: S\nworklods: []\n" + good:                                                                "warning replay-field-unknown: spec.worklods is unknown; did you mean workloads?; allowed: snapshotID, testConfigID,",
		"snapshotID: S\nworkloads: [{ref: {name: checkout, uid: x}, mocks: ['*']}]":                           "spec.workloads[#0].ref.uid is unknown; allowed: name, kind, namespace or apiVersion",
		"snapshotID: S\nworkloads: {ref: {name: checkout}}":                                                   "spec.workloads: found a map, allowed: a list",
		"snapshotID: S\nworkloads: [checkout]":                                                                "spec.workloads[#0]: found a single value, allowed: a map",
		"snapshotID: [S]\n" + good:                                                                            "spec.snapshotID: found a list, allowed: a snapshot ID",
		"snapshotID: S\nworkloads: []":                                                                        "spec.workloads: found no workload, and no spec.customURL",
		"snapshotID: S\nworkloads: [{}]":                                                                      "spec.workloads[#0]: found neither ref nor customURI",
		"snapshotID: S\nworkloads: [{ref: {kind: Deployment}}]":                                               "spec.workloads[#0]: the name of the workload is missing or wrong",
		"snapshotID: S\nworkloadRef: {name: checkout}\n" + good:                                               "spec.workloadRef.name is set together with spec.workloads",
		"snapshotID: S\nworkloads: [{ref: {name: nope}, mocks: ['*']}]":                                       "error replay-workload: spec.workloads[#0].ref: found Deployment/nope in namespace shop, which is not in the input, allowed: a workload that is rendered together with the TrafficReplay; the input has Deployment/checkout, StatefulSet/orders",
		"snapshotID: S\nworkloads: [{ref: {name: checkout, namespace: other}, mocks: ['*']}]":                 "the input has shop/Deployment/checkout, shop/StatefulSet/orders",
		"snapshotID: S\nworkloads: [{ref: {name: checkout, apiVersion: argoproj.io/v1}, mocks: ['*']}]":       "found apiVersion argoproj.io/v1 of Deployment/checkout in namespace shop, allowed: apps/v1, which it has in the input",
		"snapshotID: S\nworkloads: [{ref: {name: checkout}}]":                                                 "warning replay-not-mocked: spec.workloads[#0].mocks: found none",
		"snapshotID: S\nmode: responder-only\nworkloads: [{ref: {name: checkout}}]":                           "found none, so with mode responder-only nothing runs",
		"snapshotID: S\nmode: responder-only\ncustomURL: http://a.b":                                          "a responder mocks the dependencies of a workload",
		"snapshotID: S\ncustomURL: ':80'":                                                                     "error bad-combination: spec.customURL: found no host",
		"snapshotID: S\ncustomURL: http://a.b\nworkloads: [{customURI: http://c.d}, {customURI: http://c.e}]": "warning needless-annotation: spec.customURL has no effect, because every entry of spec.workloads has a customURI",
		"snapshotID: S\nmode: responder-only\ntimeout: 5m\n" + good:                                           "warning needless-annotation: spec.timeout has no effect; allowed: with mode full-replay or generator-only",
		"snapshotID: S\nworkloads: [{ref: {name: checkout}, mocks: ['*'], routing: nat}]":                     "routing nat has no effect",
		"snapshotID: S\nworkloads: [{ref: {name: \"$(X)\"}, mocks: ['*']}]":                                   "error bad-value: spec.workloads[#0].ref.name: found \"$(X)\"",
		"snapshotID: S\nbuildTag: \"\\u202e1\"\n" + good:                                                      "error bad-value: spec.buildTag: found",
		"snapshotID: S\ngeneratorLowData: maybe\n" + good:                                                     `found "maybe", allowed: "true" or "false"`,
	} {
		t.Run(spec, func(t *testing.T) {
			_, results := asked(t, trafficReplayOf(strings.ReplaceAll(spec, "ID: S", "ID: "+snapshotPin)))
			found := strings.Join(findings(results), "\n")
			if !strings.Contains(found, want) {
				t.Errorf("found %s\nwant %s", found, want)
			}
			for _, r := range results {
				if strings.Contains(fmt.Sprint(r, r.Field), "hunter2") || r.Field != nil && strings.Contains(fmt.Sprint(*r.Field), "hunter2") {
					t.Errorf("a password is quoted: %v", r)
				}
			}
		})
	}
}

func TestOneVersionOfATrafficReplayIsRead(t *testing.T) {
	_, results := asked(t, strings.Replace(trafficReplayOf("snapshotID: "+snapshotPin), "speedscale.com/v1", "speedscale.com/v2", 1))
	if found := findings(results); len(found) != 1 || !strings.Contains(found[0], `error bad-value: apiVersion: found "speedscale.com/v2", allowed: speedscale.com/v1`) {
		t.Errorf("found %q", found)
	}
}

func TestWithoutMocksNothingIsSaidOfAResponder(t *testing.T) {
	spec := "snapshotID: " + snapshotPin + "\nworkloads: [{ref: {name: checkout}, routing: hostalias}]"
	replays, results := asked(t, trafficReplayOf(spec), "replayPassthrough=auth.example.com")
	if len(replays) != 1 || len(replays[0].Passthrough) > 0 || replays[0].HostsFile {
		t.Errorf("%+v, %q", replays, findings(results))
	}
}

func TestATrafficReplayNamesNothingThatIsToBeLeftAlone(t *testing.T) {
	manifest := trafficReplayOf("snapshotID: " + snapshotPin + "\nworkloads: [{ref: {name: checkout}, mocks: ['*']}]")
	_, results := asked(t, strings.Replace(manifest, `note: ""`, `operator.speedscale.com/ignore: "true"`, 1))
	if found := findings(results); len(found) != 1 || !strings.Contains(found[0], "error bad-combination: spec.workloads[#0].ref: found shop/Deployment/checkout, which must not be rendered") {
		t.Errorf("found %q", found)
	}
}

func TestAnnotationsOfATrafficReplay(t *testing.T) {
	manifest := trafficReplayOf("snapshotID: " + snapshotPin + "\nworkloads: [{ref: {name: checkout}, mocks: ['*']}]")
	replays, results := asked(t, strings.Replace(manifest, "namespace: shop}", `namespace: shop, annotations: {
  tapedeck.dev/replay-shards: "4", tapedeck.dev/replay-mocks: "x", replay.speedscale.com/mode: generator-only,
  argocd.argoproj.io/hook: Sync, argocd.argoproj.io/tracking-id: "a:b", helm.sh/hook: test, example.com/x: "y"}}`, 1))
	want := usual(func(s *replaySpec) {
		s.Shards, s.Mocks.All = 4, true
		s.Hooks = map[string]string{"argocd.argoproj.io/hook": "Sync", "helm.sh/hook": "test"}
	})
	if len(replays) != 1 {
		t.Fatalf("found %q", findings(results))
	}
	if diff := diffSpecs(want, replays[0].replaySpec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	found := strings.Join(findings(results), "\n")
	for _, want := range []string{
		"annotation tapedeck.dev/replay-mocks has no effect: a TrafficReplay has spec.workloads[].mocks",
		"annotation replay.speedscale.com/mode has no effect: it is for workloads",
	} {
		if !strings.Contains(found, want) {
			t.Errorf("found %s\nwant %s", found, want)
		}
	}
}

func TestAWorkloadIsReplayedToInPlaceOnce(t *testing.T) {
	manifest := annotated("replay.speedscale.com/snapshot-id: "+snapshotPin, "tapedeck.dev/replay: in-place") + `
---
apiVersion: speedscale.com/v1
kind: TrafficReplay
metadata: {name: nightly, namespace: shop, annotations: {tapedeck.dev/replay: in-place}}
spec: {snapshotID: ` + snapshotPin + `, workloads: [{ref: {name: checkout}, mocks: ["*"]}]}`
	for name, manifest := range map[string]string{
		"both in place":        manifest,
		"a copy, and in place": strings.Replace(manifest, "in-place", "copy", 1),
	} {
		_, results := asked(t, manifest)
		if found := findings(results); len(found) != 1 || !strings.Contains(found[0], "error replay-in-place-shared: a replay uses shop/Deployment/checkout in place, and shop/Deployment/checkout asks for another replay of it") {
			t.Errorf("%s: found %q", name, found)
		}
	}
	if replays, results := asked(t, strings.ReplaceAll(manifest, "in-place", "copy")); len(replays) != 2 || results.Failed() {
		t.Errorf("%d replays, %q", len(replays), findings(results))
	}
}

// A setting without effect does not change the replay: its hash leaves such settings out.
func TestASettingWithoutEffectChangesNothing(t *testing.T) {
	asks := []string{"replay.speedscale.com/snapshot-id: " + snapshotPin, "replay.speedscale.com/mode: responder-only"}
	plain, _ := asked(t, annotated(asks...))
	more, results := asked(t, annotated(append(asks, `replay.speedscale.com/build-tag: v1`, `tapedeck.dev/replay-shards: "3"`, `replay.speedscale.com/timeout: 5m`, `replay.speedscale.com/testconfig-id: performance_10replicas`)...))
	if len(plain) != 1 || len(more) != 1 {
		t.Fatalf("found %q", findings(results))
	}
	if diff := diffSpecs(plain[0].replaySpec, more[0].replaySpec); diff != "" {
		t.Errorf("(-plain +more):\n%s", diff)
	}
}

func TestReplaysComeInOneOrder(t *testing.T) {
	asks := "replay.speedscale.com/snapshot-id: " + snapshotPin
	a, b := annotated(asks), strings.Replace(annotated(asks), "name: checkout", "name: cart", 1)
	var orders []string
	for _, manifest := range []string{a + "\n---\n" + b, b + "\n---\n" + a} {
		replays, _ := asked(t, manifest)
		orders = append(orders, replays[0].from.name()+" "+replays[1].from.name())
	}
	if orders[0] != "cart checkout" || orders[1] != orders[0] {
		t.Errorf("orders %q", orders)
	}
}

// Foreign input may have any shape. Nothing panics, and no replay has a value that a shell, YAML
// or a flag could read as something else.
func FuzzReplays(f *testing.F) {
	f.Add(trafficReplayOf("snapshotID: "+snapshotPin+"\nworkloads: [{ref: {name: checkout}, tests: [a], mocks: ['*']}]"), "standard", "{}")
	f.Add(annotated("replay.speedscale.com/snapshot-id: "+snapshotPin, `tapedeck.dev/replay-fail-if: "latency.p95 > 1"`), "x", `{"generator":{"stages":[{"virtualUsers":{"virtualUsers":"3"}}]}}`)
	f.Add("kind: TrafficReplay\napiVersion: speedscale.com/v1\nspec: [1]", "x", `[`)
	f.Fuzz(func(t *testing.T, manifest, id, text string) {
		cfg := DefaultConfig()
		cfg.ReplayPlace = "s3://recordings/shop"
		objects := []*Object{{Node: nodes.Mapping("apiVersion", "v1", "kind", "ConfigMap", "metadata", nodes.Mapping("name", "x", "namespace", "shop"), "data", nodes.Mapping(id, text))}}
		for one := range strings.SplitSeq(manifest, "\n---\n") {
			n, err := yaml.Parse(one)
			if err != nil {
				return
			}
			objects = append(objects, &Object{Node: n.YNode()})
		}
		replays, _ := newInput(objects, &cfg).readReplays()
		for _, r := range replays {
			for _, one := range slices.Concat(r.Secrets, r.Passthrough, r.GeneratorFlags, r.ResponderFlags, r.Tests.Keys, r.Mocks.Keys, []string{r.URL, r.BuildTag, r.Timeout, r.Snapshot.String()}) {
				if !isLine(one) {
					t.Errorf("%q is not one line", one)
				}
			}
			for _, flag := range slices.Concat(r.GeneratorFlags, r.ResponderFlags) {
				if !strings.HasPrefix(flag, "--") {
					t.Errorf("%q is not a flag", flag)
				}
			}
			if r.Shards < 1 || r.Shards > maxReplayPods || r.Replicas < 1 || r.Replicas > maxReplayPods {
				t.Errorf("%d shards, %d replicas", r.Shards, r.Replicas)
			}
		}
	})
}
