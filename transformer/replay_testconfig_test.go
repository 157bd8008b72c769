package transformer

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// configured returns a replay with a test config called load, and the object that defines it.
func configured(definition string) string {
	return annotated("replay.speedscale.com/snapshot-id: "+snapshotPin, "replay.speedscale.com/testconfig-id: load") + "\n---\n" + definition
}

// ownConfigOf returns a TestConfig with a spec.
func ownConfigOf(spec string) string {
	return "apiVersion: tapedeck.dev/v1alpha1\nkind: TestConfig\nmetadata: {name: load, namespace: shop}\nspec:\n  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ")
}

// foreignConfigOf returns a ConfigMap with the JSON of Speedscale's tools.
func foreignConfigOf(name, key, text string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: shop}\ndata:\n  " + key + ": " + strconv.Quote(text)
}

func TestTestConfigsSetFlags(t *testing.T) {
	for name, c := range map[string]struct {
		definition                        string
		generator, responder, passthrough []string
		mode                              replayMode
	}{
		"an empty one": {definition: ownConfigOf("{}")},
		"flags in the order of the table": {
			definition: ownConfigOf(`
failIf: ["latency.p95 > 100", "requests.failed > 0"]
latency: 0.5x
load: {for: 5m, speed: 2x, copies: 3, maxRequests: 0}
compare: true
allowIncomplete: true
repeat: cycle
faults: ["api.stripe.com:status=503,rate=1/10"]
passthrough: [auth.example.com, "*.internal:443"]
only: safe`),
			generator:   []string{"--speed=2x", "--copies=3", "--for=5m", "--max-requests=0", "--only=safe", "--fail-if=latency.p95 > 100", "--fail-if=requests.failed > 0", "--allow-incomplete=true"},
			responder:   []string{"--latency=0.5x", "--repeat=cycle", "--fault=api.stripe.com:status=503,rate=1/10", "--allow-incomplete=true"},
			passthrough: []string{"auth.example.com", "*.internal:443"},
		},
		"stages": {
			definition: ownConfigOf("load: {stages: [{rate: 50, for: 30s, ramp: 5s}, {for: 1m, rate: 0.5}]}\ncompare: false"),
			generator:  []string{"--no-compare", "--stage=rate=50,for=30s,ramp=5s", "--stage=rate=0.5,for=1m"},
		},
		"stages of users": {
			definition: ownConfigOf("load: {stages: [{users: 5, for: 30s}]}"),
			generator:  []string{"--stage=vus=5,for=30s"},
		},
		"the ecosystem's, as a key": {
			definition: foreignConfigOf("configs", "load.json", `{"id": "load", "version": 3, "cluster": {"replayMode": "GENERATOR_ONLY"},
 "generator": {"stages": [{"virtualUsers": {"virtualUsers": "5", "requestDelay": {}}}]}, "responder": {"numReplicas": 1, "responseDelay": {"mode": "RECORDED"}},
 "rules": [{"metricName": "passAssertPct", "type": "TOO_LOW", "value": 100}]}`),
			generator: []string{"--copies=5", "--fail-if=requests.result-match-pct < 100"},
			mode:      generatorOnly,
		},
		"the ecosystem's, as the only value": {
			definition: foreignConfigOf("load", "config", `{"responder": {"responseDelay": {"mode": "RECORDED"}}, "generator": {"stages": [{"virtualUsers": {"virtualUsers": "1"}}]}}`),
			responder:  []string{"--latency=recorded"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			replays, results := asked(t, configured(c.definition))
			if found := findings(results); found != nil || len(replays) != 1 {
				t.Fatalf("%d replays, %q", len(replays), found)
			}
			r := replays[0]
			if c.mode == "" {
				c.mode = fullReplay
			}
			if !slices.Equal(r.GeneratorFlags, c.generator) || !slices.Equal(r.ResponderFlags, c.responder) || !slices.Equal(r.Passthrough, c.passthrough) || r.Mode != c.mode {
				t.Errorf("mode %s, flags %q and %q, passthrough %q", r.Mode, r.GeneratorFlags, r.ResponderFlags, r.Passthrough)
			}
		})
	}
}

func TestWhatIsWrongWithTestConfigs(t *testing.T) {
	for definition, want := range map[string]string{
		ownConfigOf("load: {rate: 5, users: 5}"):                                     "error bad-combination: spec.load: found rate and users, allowed: one of",
		ownConfigOf("load: {copies: 2, sessions: 5}"):                                "spec.load.copies: it applies to recorded times; allowed: without sessions",
		ownConfigOf("load: {rate: NaN}"):                                             "error bad-value: spec.load.rate",
		ownConfigOf("load: {speed: 0}"):                                              "out of range",
		ownConfigOf("load: {copies: 1e3}"):                                           "not a number",
		ownConfigOf("load: {for: -5m}"):                                              "out of range",
		ownConfigOf("load: {stages: [{rate: 5}]}"):                                   "spec.load.stages[0]: found no for",
		ownConfigOf("load: {stages: [{for: 5s}]}"):                                   "allowed: one of rate and users",
		ownConfigOf("load: {stages: [{rate: 5, for: 5s, ramp: 6s}]}"):                "found ramp 6s, which is longer than the stage",
		ownConfigOf("load: {stages: [{rate: 5, for: 5s}, {users: 5, for: 5s}]}"):     "found rates and users",
		ownConfigOf("load: {stages: [{rate: '5,for=9h', for: 5s}]}"):                 "error bad-value: spec.load.stages[#0].rate",
		ownConfigOf("load: {speeed: 2}"):                                             "warning replay-field-unknown: spec.load.speeed is unknown; did you mean speed?",
		ownConfigOf("compare: false\nverifyFix: true"):                               "spec.compare: found false, but verifyFix needs answers to be compared",
		ownConfigOf("failIf: [latency > 5]"):                                         `no metric is named "latency"`,
		ownConfigOf("failIf: \"latency.p95 > 5\""):                                   "spec.failIf: found a single value, allowed: a list",
		ownConfigOf("latency: fast"):                                                 "not a latency",
		ownConfigOf("latency: NaNx"):                                                 "not a number",
		ownConfigOf("passthrough: ['a,b']"):                                          "not a host",
		ownConfigOf("faults: [nonsense]"):                                            "error bad-value: spec.faults[#0]: it names no fault; allowed: PATTERN:NAME=VALUE",
		ownConfigOf("faults: ['']"):                                                  "spec.faults[#0]: it names no fault",
		ownConfigOf("faults: ['/v1:status=503', '/v1:status=999']"):                  "spec.faults[#1]: status: want a status from 200 to 599",
		ownConfigOf("faults: ['*:status=503']"):                                      "spec.faults[#0]: the pattern: error parsing regexp",
		ownConfigOf("faults: ['/v1:status=503,percent=10']"):                         `there is no fault "percent"`,
		ownConfigOf("faults: [\"a\\nb\"]"):                                           "error bad-value: spec.faults[#0]",
		strings.Replace(ownConfigOf("{}"), "v1alpha1", "v1", 1):                      `apiVersion: found "tapedeck.dev/v1", allowed: tapedeck.dev/v1alpha1`,
		strings.Replace(ownConfigOf("{}"), "namespace: shop", "namespace: other", 1): "error replay-test-config: annotation replay.speedscale.com/testconfig-id names \"load\", which is not a test config",
		strings.Replace(ownConfigOf("{}"), "name: load", "name: lode", 1):            "performance_500replicas, lode, a TestConfig in the input",
		strings.Replace(ownConfigOf("{}"), "namespace: shop", "namespace: shop, annotations: {operator.speedscale.com/ignore: \"true\"}", 1): "names a TestConfig that is marked to be ignored",
		foreignConfigOf("load", "load", "# not JSON"):                                                                                                    "data.load: found no test config: it is not a JSON object",
		foreignConfigOf("load", "load", "[1]"):                                                                                                           "it is not a JSON object",
		foreignConfigOf("load", "load", `{"cluster": {"cleanup": "all", "cleanup": "none"}}`):                                                            `found no test config: key "cleanup" occurs twice in one object`,
		foreignConfigOf("load", "load", "{} {}"):                                                                                                         "something follows the JSON object",
		foreignConfigOf("load", "load", `{"x":"`+strings.Repeat("x", maxForeign)+`"}`):                                                                   "which is more than",
		foreignConfigOf("load", "load", `{"generator": {"rps": 5, "stages": [{"duration": 5}]}}`):                                                        "data.load: generator.rps is unknown; allowed: evaluationIntervals or stages",
		foreignConfigOf("load", "load", `{"generator": {"stages": [{"virtualUsers": {"virtualUsers": "2"}}, {"virtualUsers": {"virtualUsers": "3"}}]}}`): "generator.stages: found 2, allowed: one",
		foreignConfigOf("load", "load", `{"generator": {"stages": [{"virtualUsers": {"virtualUsers": "0"}}]}}`):                                          "out of range",
		foreignConfigOf("load", "load", `{"cluster": {"replayMode": "mocks"}}`):                                                                          `warning replay-field-unknown: data.load: cluster.replayMode is "mocks", which is unknown; allowed: full-replay`,
		foreignConfigOf("load", "load", `{"responder": {"responseDelay": {"mode": "NORMAL"}}}`):                                                          `responder.responseDelay.mode is "NORMAL", which is unknown; allowed: RECORDED or NONE`,
		foreignConfigOf("load", "load", `{"cluster": {"cleanup": "all", "logLevel": "debug", "logsCollected": true}}`):                                   "warning no-meaning: data.load: cluster.logsCollected, cluster.logLevel have no effect: nothing collects logs",
		foreignConfigOf("load", "load", `{"responder": {"passthrough_mode": "ALL"}}`):                                                                    "which lets the responder reach hosts for which the snapshot has no answer, but no host is listed",
		foreignConfigOf("load", "load", `{"rules": [{"metricName": "p95", "type": "TOO_HIGH", "value": 5}]}`):                                            "warning replay-field-unknown: data.load: rules[0] is an unknown goal",
		foreignConfigOf("load", "a", "{}") + "\n---\n" + foreignConfigOf("b", "load", "{}"):                                                              "names a test config that exists 2 times: in shop/ConfigMap/b and shop/ConfigMap/load",
	} {
		t.Run(strings.TrimSpace(definition[len(definition)-min(len(definition), 80):]), func(t *testing.T) {
			_, results := asked(t, configured(definition))
			found := strings.Join(findings(results), "\n")
			if !strings.Contains(found, want) {
				t.Errorf("found %.500s\nwant %s", found, want)
			}
		})
	}
}

// A generator that compares no answers can't judge them. The error names both settings.
func TestNothingIsJudgedThatIsNotCompared(t *testing.T) {
	const (
		low  = `replay.speedscale.com/generator-low-data: "true"`
		goal = `tapedeck.dev/replay-fail-if: "latency.p95 > 9\nGET /: requests.result-match-pct < 90"`
	)
	for _, c := range []struct{ config, annotations, want string }{
		{ownConfigOf("verifyFix: true"), low, "annotation replay.speedscale.com/generator-low-data turns the comparison of answers off, but verifyFix of test config load needs it"},
		{ownConfigOf("compare: true"), low, "generator-low-data turns the comparison of answers off, but compare: true of test config load needs it"},
		{ownConfigOf("failIf: ['requests.result-match-pct < 90']"), low, "but a goal of requests.result-match-pct of test config load needs it"},
		{foreignConfigOf("load", "load", `{"rules": [{"metricName": "passAssertPct", "type": "TOO_LOW", "value": 90}]}`), low, "but a goal of requests.result-match-pct of test config load needs it"},
		{ownConfigOf("{}"), low + "\n    " + goal, "annotation tapedeck.dev/replay-fail-if has a goal of requests.result-match-pct, but annotation replay.speedscale.com/generator-low-data turns the comparison of answers off"},
		{ownConfigOf("compare: false"), goal, "annotation tapedeck.dev/replay-fail-if has a goal of requests.result-match-pct, but test config load turns the comparison of answers off"},
		{ownConfigOf("compare: false"), `tapedeck.dev/replay-fail-if: "latency.p95 > 9"`, ""},
		{ownConfigOf("verifyFix: false"), low, ""},
		{ownConfigOf("compare: true"), goal, ""},
	} {
		t.Run(c.config[strings.Index(c.config, "load"):]+c.annotations, func(t *testing.T) {
			manifest := strings.Replace(configured(c.config), "replay.speedscale.com/testconfig-id", c.annotations+"\n    replay.speedscale.com/testconfig-id", 1)
			_, results := asked(t, manifest)
			found := findings(results)
			if c.want == "" && found != nil || c.want != "" && (len(found) != 1 || !strings.Contains(found[0], "error bad-combination: ") || !strings.Contains(found[0], c.want)) {
				t.Errorf("found %q\nwant %s", found, c.want)
			}
		})
	}
}

// A test config of Speedscale's tools has many settings that Tapedeck doesn't use. A result names
// them, and they are not an error.
func TestAForeignTestConfigIsUsedAsFarAsItHasMeaning(t *testing.T) {
	replays, results := asked(t, configured(foreignConfigOf("load", "load", `{"id": "load", "version": 3,
 "cluster": {"cleanup": "inventory", "logLevel": "info", "logsCollected": true, "replayMode": "full-replay", "sidecarTlsOut": true},
 "generator": {"evaluationIntervals": 5, "stages": [{"virtualUsers": {"virtualUsers": "1", "requestDelay": {}}}]},
 "responder": {"numReplicas": 1, "responseDelay": {"mode": "RECORDED"}}}`)))
	if len(replays) != 1 || results.Failed() {
		t.Fatalf("%d replays, %q", len(replays), findings(results))
	}
	if r := replays[0]; len(r.GeneratorFlags) > 0 || !slices.Equal(r.ResponderFlags, []string{"--latency=recorded"}) {
		t.Errorf("flags %q and %q", r.GeneratorFlags, r.ResponderFlags)
	}
	for _, f := range findings(results) {
		if !strings.HasPrefix(f, "warning no-meaning: data.load: ") {
			t.Errorf("found %s", f)
		}
	}
}

func TestNoTestConfigHasTheNameOfOneThatIsThere(t *testing.T) {
	_, results := asked(t, annotated("replay.speedscale.com/snapshot-id: "+snapshotPin)+"\n---\n"+strings.Replace(ownConfigOf("{}"), "name: load", "name: standard", 1))
	if found := findings(results); len(found) != 1 || !strings.Contains(found[0], "error bad-value: metadata.name: found standard") {
		t.Errorf("found %q", found)
	}
}

// A test config that several replays name is reported once. If it has errors, no replay uses it.
func TestATestConfigIsReadOnce(t *testing.T) {
	two := func(spec string) string {
		one := configured(ownConfigOf(spec))
		return one + "\n---\n" + strings.Replace(strings.Split(one, "\n---\n")[0], "name: checkout", "name: cart", 1)
	}
	replays, results := asked(t, two("x: 1\nload: {speed: 2}"))
	if found := findings(results); len(found) != 1 || len(replays) != 2 || !slices.Equal(replays[0].GeneratorFlags, replays[1].GeneratorFlags) {
		t.Errorf("%d replays, %q", len(replays), found)
	}
	replays, results = asked(t, two("load: {speed: x}"))
	if len(replays) > 0 || !results.Failed() {
		t.Errorf("%d replays, %q", len(replays), findings(results))
	}
}

// TestReplayTables checks what every row must have.
func TestReplayTables(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range ReplayAnnotations() {
		if seen[a.Key()] || isReplayKey(a.Key()) == false {
			t.Errorf("%s occurs twice, or does not configure a replay", a.Key())
		}
		seen[a.Key()] = true
		if (a.asks == nil) != (a.NoMeaning != "") || a.When != nil && a.When.replays == nil || !strings.HasSuffix(a.Doc, ".") {
			t.Errorf("%s: it must have an effect or say why it has none, and a doc", a.Key())
		}
		if err := a.Kind.Check(a.Default); a.Default != "" && err != nil {
			t.Errorf("%s: its default is not allowed: %v", a.Key(), err)
		}
	}
	for of, rows := range map[string][]ReplayField{"TrafficReplay": TrafficReplayFields(), "TestConfig": TestConfigFields(), "JSON": EcosystemFields()} {
		for _, f := range rows {
			if seen[of+f.Path] || (f.Doc == "") == (f.NoMeaning == "") {
				t.Errorf("%s %s occurs twice, or must have an effect or say why it has none", of, f.Path)
			}
			seen[of+f.Path] = true
		}
	}
}
