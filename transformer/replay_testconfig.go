package transformer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// testConfigGroup, testConfigAPIVersion and testConfigKind identify Tapedeck's object for a test
// config.
const (
	testConfigGroup      = "tapedeck.dev"
	testConfigAPIVersion = testConfigGroup + "/v1alpha1"
	testConfigKind       = "TestConfig"
)

// standardConfig is the test config of a replay that names none.
const standardConfig = "standard"

// noCompare turns off the comparison of answers. verifyFix makes a run check that recorded failures no
// longer occur, for which it needs the comparison.
const (
	noCompare = "--no-compare"
	verifyFix = "--verify-fix=true"
)

// matchGoal is the metric that requires answers to be compared.
const matchGoal = "requests.result-match-pct"

// testConfig says how requests are sent and answered, and which goals a run must reach.
type testConfig struct {
	name string
	mode string // "" if the test config sets none
	// generator and responder are flags, in the order of the table.
	generator, responder []string
	passthrough          []string
	// needsHosts requires hosts that the responder may reach. They are listed outside the test config.
	needsHosts bool
	// compares reports whether the test config explicitly requests that answers be compared.
	compares bool

	stages []testStage
	rules  []testRule
	// unknown describes values in the ecosystem's JSON that Tapedeck doesn't know, and what is allowed
	// instead.
	unknown []string
}

// testStage is a stage of the load.
type testStage struct{ rate, users, length, ramp string }

// testRule is a goal in the ecosystem's format.
type testRule struct{ metric, is, limit string }

// BuiltInConfig is a test config that exists without an object in the input.
type BuiltInConfig struct {
	Name, Doc string
	// Flags are the flags of the generator.
	Flags      []string
	needsHosts bool
}

// BuiltInConfigs returns the table of built-in test configs. The ecosystem defines their names.
func BuiltInConfigs() []BuiltInConfig {
	all := []BuiltInConfig{
		{Name: standardConfig, Doc: "Sends the requests at recorded times, and compares the answers."},
		{Name: "standard-passthrough", Doc: "The same. The responder may reach the hosts of `tapedeck.dev/replay-passthrough` and of the option `replayPassthrough`, at least one of which must be listed.", needsHosts: true},
	}
	for _, n := range []string{"10", "100", "500"} {
		all = append(all, BuiltInConfig{Name: "performance_" + n + "replicas", Doc: "Sends " + n + " copies of the requests at the same time, and does not compare the answers.", Flags: []string{"--copies=" + n, noCompare}})
	}
	return all
}

// These kinds of values appear only in test configs. They match the flags that the fields set.
var (
	factorKind     = Kind{Name: "factor", Allowed: "a factor from 0.000001 to 1000000, such as 2 or 0.5x", check: checkFactor}
	rateKind       = Kind{Name: "rate", Allowed: "a number from 0.001 to 1000000", check: between(0.001, 1e6)}
	countKind      = Kind{Name: "count", Allowed: "a whole number from 1 to 2147483647", check: whole(1, math.MaxInt32)}
	boundKind      = Kind{Name: "count", Allowed: "a whole number from 0, for any, to 2147483647", check: checkNumber}
	momentKind     = Kind{Name: "duration", Allowed: "a duration above 0, such as 30s or 5m", check: lasting(1, math.MaxInt64)}
	faultKind      = Kind{Name: "fault", Allowed: contract.FaultForm(), check: checkFault, hidden: true}
	passedHostKind = Kind{Name: "host", Allowed: "HOST, HOST:PORT or *.HOST", check: checkPassedHost}
	latencyKind    = Kind{Name: "latency", Allowed: "none, streams, recorded, or a factor such as 2x or 0.5x", check: checkLatency}
)

// TestConfigFields returns the table of the fields of a TestConfig's spec.
func TestConfigFields() []ReplayField { return rowsOf(testConfigFields) }

var testConfigFields = slices.Concat(
	[]fieldRow[testConfig]{
		generatorField("load.speed", "speed", factorKind, "Divides recorded times and pauses."),
		generatorField("load.copies", "copies", countKind, "Copies of the requests that are sent at the same time."),
		generatorField("load.rate", "rate", rateKind, "Requests per second, in recorded order, instead of recorded times."),
		generatorField("load.users", "users", countKind, "Virtual users, each of which sends all requests as fast as answers arrive."),
		generatorField("load.sessions", "sessions", countKind, "Number of recorded sessions at the same time, with their pauses."),
		stageField("rate", rateKind, "Requests per second at the end of this stage of the load.", func(s *testStage) *string { return &s.rate }),
		stageField("users", countKind, "Virtual users at the end of this stage, in place of `rate`.", func(s *testStage) *string { return &s.users }),
		stageField("for", momentKind, "Duration of the stage.", func(s *testStage) *string { return &s.length }),
		stageField("ramp", momentKind, "Part of `for` during which the load changes.", func(s *testStage) *string { return &s.ramp }),
		generatorField("load.times", "times", countKind, "How many times to send the requests."),
		generatorField("load.for", "for", momentKind, "End after this time."),
		generatorField("load.requests", "requests", countKind, "End after this many requests."),
		generatorField("load.maxInFlight", "max-in-flight", countKind, "Maximum number of requests in flight; requests beyond it are sent late, and counted."),
		generatorField("load.maxLag", "max-lag", momentKind, "How late one request in a hundred may be sent; otherwise the result is void."),
		generatorField("load.maxRate", "max-rate", boundKind, "Refuse a load of more requests per second."),
		generatorField("load.maxRequests", "max-requests", boundKind, "Refuse a load of more requests."),
		generatorField("only", "only", enumKind("safe"), "`safe` sends only requests whose method changes nothing."),
		generatorField("withoutCredentials", "without-credentials", enumKind("stop", "leave-out", "send"), "Treatment of requests whose credentials are missing."),
		generatorField("rewriteHost", "rewrite-host", boolKind, "Send the target's host as Host instead of the recorded one."),
		generatorField("requestTimeout", "timeout", momentKind, "How long an answer may make no progress."),
		generatorField("maxTime", "max-time", momentKind, "How long a request may take in total, in addition to the time of the recorded one."),
		{ReplayField{Path: "compare", Kind: boolKind, Default: "true", Doc: "Compare answers with the recorded ones.", Flags: []string{"no-compare"}}, func(c *testConfig, _ []int, v string) {
			if c.compares = v == "true"; !c.compares {
				c.generator = append(c.generator, noCompare)
			}
		}},
		generatorField("verifyFix", "verify-fix", boolKind, "Require that recorded failures no longer occur."),
		generatorField("failIf[]", "fail-if", goalKind, "A [goal](replay.md#goals)."),
		responderField("latency", "latency", latencyKind, "How much of the recorded time passes before and within answers."),
		responderField("repeat", "repeat", enumKind("last", "cycle", "miss"), "Answer to a request after all its recorded answers have been given."),
		responderField("refreshDates", "refresh-dates", boolKind, "Move Date, Expires, Last-Modified and the times of cookies to now."),
		responderField("allowCut", "allow-cut", boolKind, "Serve answers that were not recorded completely."),
		responderField("faults[]", "fault", faultKind, "Answers that [fail](mock.md#faults), as `PATTERN:NAME=VALUE,…`."),
		responderField("seed", "seed", numberKind, "Seed that determines which answers fail."),
		{ReplayField{Path: "passthrough[]", Kind: passedHostKind, Doc: "A host that the responder may reach where the snapshot has no answer.", MockFlags: []string{"passthrough"}},
			addTo(func(c *testConfig) *[]string { return &c.passthrough })},
		{ReplayField{Path: "allowIncomplete", Kind: boolKind, Doc: "Replay a recording that is damaged, or lacks something that was recorded.", Flags: []string{"allow-incomplete"}, MockFlags: []string{"allow-incomplete"}},
			func(c *testConfig, _ []int, v string) {
				c.generator, c.responder = append(c.generator, "--allow-incomplete="+v), append(c.responder, "--allow-incomplete="+v)
			}},
	})

// generatorField returns a field that sets a flag of `tapedeck replay`.
func generatorField(path, flag string, kind Kind, doc string) fieldRow[testConfig] {
	return fieldRow[testConfig]{ReplayField{Path: path, Kind: kind, Doc: doc, Flags: []string{flag}}, func(c *testConfig, _ []int, v string) {
		c.generator = append(c.generator, "--"+flag+"="+v)
	}}
}

// responderField returns a field that sets a flag of `tapedeck mock`.
func responderField(path, flag string, kind Kind, doc string) fieldRow[testConfig] {
	return fieldRow[testConfig]{ReplayField{Path: path, Kind: kind, Doc: doc, MockFlags: []string{flag}}, func(c *testConfig, _ []int, v string) {
		c.responder = append(c.responder, "--"+flag+"="+v)
	}}
}

func stageField(name string, kind Kind, doc string, part func(*testStage) *string) fieldRow[testConfig] {
	return fieldRow[testConfig]{ReplayField{Path: "load.stages[]." + name, Kind: kind, Doc: doc, Flags: []string{"stage"}}, func(c *testConfig, at []int, v string) {
		for len(c.stages) <= at[0] {
			c.stages = append(c.stages, testStage{})
		}
		*part(&c.stages[at[0]]) = v
	}}
}

// finish turns the stages into flags, and rejects settings that exclude each other.
func (c *testConfig) finish() error {
	users := false
	for i, s := range c.stages {
		length, _ := time.ParseDuration(s.length)
		ramp, _ := time.ParseDuration(s.ramp)
		switch {
		case (s.rate == "") == (s.users == ""):
			return fmt.Errorf("load.stages[%d]: allowed: one of rate and users", i)
		case s.length == "":
			return fmt.Errorf("load.stages[%d]: found no for, allowed: the duration of the stage", i)
		case ramp > length:
			return fmt.Errorf("load.stages[%d]: found ramp %s, which is longer than the stage; allowed: at most %s", i, s.ramp, s.length)
		case i > 0 && users != (s.users != ""):
			return errors.New("load.stages: found rates and users, allowed: one of them")
		}
		users = s.users != ""
		flag := "--stage=rate=" + s.rate
		if users {
			flag = "--stage=vus=" + s.users
		}
		flag += ",for=" + s.length
		if s.ramp != "" {
			flag += ",ramp=" + s.ramp
		}
		c.generator = append(c.generator, flag)
	}
	sets := func(flag string) bool {
		return slices.ContainsFunc(c.generator, func(f string) bool { return f == "--"+flag || strings.HasPrefix(f, "--"+flag+"=") })
	}
	ways := slices.DeleteFunc([]string{"rate", "users", "sessions", "stage"}, func(flag string) bool { return !sets(flag) })
	switch {
	case len(ways) > 1:
		return fmt.Errorf("load: found %s, allowed: one of rate, users, sessions and stages", strings.Join(ways, " and "))
	case len(ways) > 0 && sets("copies"):
		return fmt.Errorf("load.copies: it applies to recorded times; allowed: without %s", ways[0])
	case slices.Contains(c.generator, noCompare) && c.wantsComparison() != "":
		return fmt.Errorf("compare: found false, but %s needs answers to be compared; allowed: one of the two", c.wantsComparison())
	}
	return nil
}

// wantsComparison names the part of a test config that requires answers to be compared; "" if there is
// none.
func (c *testConfig) wantsComparison() string {
	var goals []string
	for _, f := range c.generator {
		if goal, ok := strings.CutPrefix(f, "--fail-if="); ok {
			goals = append(goals, goal)
		}
	}
	switch {
	case slices.Contains(c.generator, verifyFix):
		return "verifyFix"
	case judgesMatches(goals):
		return "a goal of " + matchGoal
	case c.compares:
		return "compare: true"
	}
	return ""
}

// judgesMatches reports whether a goal uses the metric of matching answers.
func judgesMatches(goals []string) bool {
	return slices.ContainsFunc(goals, func(text string) bool {
		goal, err := contract.ParseGoal(text)
		return err == nil && goal.Metric.Name == matchGoal
	})
}

// checkCompares reports a request, or its test config, that turns off the comparison of answers while
// something in either requires it. The generator would reject such flags.
func (q *replayRequest) checkCompares(config *testConfig) Results {
	low, goals := q.statement("generator-low-data", "generatorLowData"), q.statement("replay-fail-if")
	off, where := low.label, "test config "+config.name
	if !q.LowData {
		off = where
	}
	switch {
	case !q.LowData && !slices.Contains(config.generator, noCompare):
	case judgesMatches(lines(q.FailIf)):
		return Results{goals.result(CodeBadCombination, q.from, "has a goal of %s, but %s turns the comparison of answers off; allowed: one of the two", matchGoal, off)}
	case q.LowData && config.wantsComparison() != "":
		return Results{low.result(CodeBadCombination, q.from, "turns the comparison of answers off, but %s of %s needs it; allowed: one of the two", config.wantsComparison(), where)}
	}
	return nil
}

// EcosystemFields returns the table of the fields that Tapedeck reads from a test config in the
// ecosystem's JSON.
func EcosystemFields() []ReplayField { return rowsOf(foreignFields) }

var foreignFields = []fieldRow[testConfig]{
	{ReplayField{Path: "id", Kind: idKind, Doc: "Read but not used: the ConfigMap's key or name is the ID."}, func(*testConfig, []int, string) {}},
	{ReplayField{Path: "version", Kind: numberKind, Doc: "Read but not used."}, func(*testConfig, []int, string) {}},
	{ReplayField{Path: "cluster.replayMode", Kind: lineKind, Doc: "The mode, unless the request for the replay sets one."}, func(c *testConfig, _ []int, v string) {
		mode := strings.ReplaceAll(strings.ToLower(v), "_", "-")
		switch {
		case v == "":
		case modeKind.Check(mode) == nil:
			c.mode = mode
		default:
			c.unknown = append(c.unknown, fmt.Sprintf("cluster.replayMode is %q, which is unknown; allowed: %s", v, modeKind.Allowed))
		}
	}},
	{ReplayField: ReplayField{Path: "cluster.cleanup", NoMeaning: gitRemoves}},
	{ReplayField: ReplayField{Path: "cluster.logsCollected", NoMeaning: logsAreThere}},
	{ReplayField: ReplayField{Path: "cluster.logLevel", NoMeaning: logsAreThere}},
	{ReplayField: ReplayField{Path: "cluster.sidecarTlsOut", NoMeaning: alwaysTLS}},
	{ReplayField: ReplayField{Path: "cluster.sidecar_tls_out", NoMeaning: alwaysTLS}},
	{ReplayField: ReplayField{Path: "generator.evaluationIntervals", NoMeaning: "goals are judged once, at the end of the run"}},
	{ReplayField{Path: "generator.stages[].virtualUsers.virtualUsers", Kind: countKind, Doc: "`--copies`: each user sends all requests with their recorded pauses. Only one stage is allowed."}, func(c *testConfig, _ []int, v string) {
		if v != "1" { // each user sends the requests with their recorded pauses
			c.generator = append(c.generator, "--copies="+v)
		}
		c.stages = append(c.stages, testStage{})
	}},
	{ReplayField: ReplayField{Path: "generator.stages[].virtualUsers.requestDelay", NoMeaning: "requests are sent with their recorded pauses; a TestConfig has load.speed"}},
	{ReplayField: ReplayField{Path: "responder.numReplicas", Default: "1", NoMeaning: "one responder answers, so that answers have the same order in each run"}},
	{ReplayField{Path: "responder.responseDelay.mode", Kind: lineKind, Doc: "`RECORDED` and `NONE` are `--latency` of the responder."}, func(c *testConfig, _ []int, v string) {
		switch mode := strings.ToLower(v); mode {
		case "":
		case "recorded", "none":
			c.responder = append(c.responder, "--latency="+mode)
		default:
			c.unknown = append(c.unknown, fmt.Sprintf("responder.responseDelay.mode is %q, which is unknown; allowed: RECORDED or NONE", v))
		}
	}},
	{ReplayField{Path: "responder.passthrough_mode", Kind: lineKind, Doc: passthroughDoc}, func(c *testConfig, _ []int, v string) { c.needsHosts = passes(v) }},
	{ReplayField{Path: "responder.passthroughMode", Kind: lineKind, Doc: passthroughDoc}, func(c *testConfig, _ []int, v string) { c.needsHosts = passes(v) }},
	{ReplayField{Path: "rules[].metricName", Kind: lineKind, Doc: "`passAssertPct` is the goal `requests.result-match-pct`; other metrics get a result."}, ruleOf(func(r *testRule) *string { return &r.metric })},
	{ReplayField{Path: "rules[].type", Kind: lineKind, Doc: "`TOO_LOW` or `TOO_HIGH`."}, ruleOf(func(r *testRule) *string { return &r.is })},
	{ReplayField{Path: "rules[].value", Kind: lineKind, Doc: "The goal's number."}, ruleOf(func(r *testRule) *string { return &r.limit })},
	{ReplayField: ReplayField{Path: "rules[].action", NoMeaning: "a goal that is missed fails the Job"}},
	{ReplayField: ReplayField{Path: "assertionGroups", NoMeaning: "answers are compared as docs/matching.md says"}},
}

const passthroughDoc = "Unless it is `none`, at least one host must be listed in `tapedeck.dev/replay-passthrough` or in the option `replayPassthrough`."

const alwaysTLS = "the copy's TLS is always intercepted, because its dependencies are mocked"

// passes reports whether the responder may reach hosts itself.
func passes(mode string) bool {
	return !slices.Contains([]string{"", "false", "none", "off", "fail-closed", "fail_closed", "disabled"}, strings.ToLower(mode))
}

func ruleOf(part func(*testRule) *string) func(*testConfig, []int, string) {
	return func(c *testConfig, at []int, v string) {
		for len(c.rules) <= at[0] {
			c.rules = append(c.rules, testRule{})
		}
		*part(&c.rules[at[0]]) = v
	}
}

// foreignMetrics maps the metrics of the ecosystem's rules to those of goals.
var foreignMetrics = map[string]string{"passAssertPct": matchGoal}

// foreignOps maps the comparisons of the ecosystem's rules to those of goals.
var foreignOps = map[string]string{"TOO_LOW": "<", "TOO_HIGH": ">"}

// translate completes a test config that was read from the ecosystem's JSON.
func (c *testConfig) translate() error {
	if len(c.stages) > 1 {
		return fmt.Errorf("generator.stages: found %d, allowed: one; a TestConfig has load.stages", len(c.stages))
	}
	c.stages = nil
	for i, r := range c.rules {
		metric, op := foreignMetrics[r.metric], foreignOps[r.is]
		goal := fmt.Sprintf("%s %s %s", metric, op, r.limit)
		if metric == "" || op == "" || checkGoal(goal) != nil {
			c.unknown = append(c.unknown, fmt.Sprintf("rules[%d] is an unknown goal; allowed: passAssertPct as metricName with TOO_LOW or TOO_HIGH as type and a number as value, or a TestConfig with failIf", i))
			continue
		}
		c.generator = append(c.generator, "--fail-if="+goal)
	}
	return nil
}

// testConfig returns the test config that a request names.
func (in *input) testConfig(q *replayRequest) (*testConfig, Results) {
	id := q.TestConfigID
	if id == "" {
		id = standardConfig
	}
	object := in.find(testConfigGroup, testConfigKind, q.from.namespace(), id)
	built := BuiltInConfigs()
	if i := slices.IndexFunc(built, func(b BuiltInConfig) bool { return b.Name == id }); i >= 0 {
		if object != nil {
			return nil, Results{result(CodeBadValue, object, "metadata.name: found %s, which is a built-in test config; allowed: another name", id).At("metadata.name", id, "")}
		}
		return &testConfig{name: id, generator: slices.Clone(built[i].Flags), needsHosts: built[i].needsHosts}, nil
	}
	asked := q.statement("testconfig-id", "testConfigID")
	if object != nil {
		if strings.EqualFold(object.annotation(contract.AnnotationIgnore), "true") { // an object that is only marked as local config may still be read
			return nil, Results{asked.result(CodeReplayConfig, q.from, "names a TestConfig that is marked to be ignored: %s; remove that, or use another id", leftAlone(object))}
		}
		return in.ownConfig(object)
	}
	texts := in.foreignConfigs(q.from.namespace(), id)
	switch len(texts) {
	case 0:
		return nil, Results{asked.result(CodeReplayConfig, q.from, "names %q, which is not a test config; allowed: %s, a TestConfig in the input, or the ecosystem's JSON in a ConfigMap in the input, in the same namespace", id, in.configNames(q.from.namespace()))}
	case 1:
		return in.foreignConfig(id, texts[0])
	}
	return nil, Results{asked.result(CodeReplayConfig, q.from, "names a test config that exists %d times: in %s and %s; allowed: one", len(texts), texts[0].Ref(), texts[1].Ref())}
}

// configNames lists the test configs that exist.
func (in *input) configNames(namespace string) string {
	var names []string
	for _, b := range BuiltInConfigs() {
		names = append(names, b.Name)
	}
	for _, o := range in.byKind[testConfigGroup+"/"+testConfigKind] {
		if o.namespace() == namespace {
			names = append(names, o.name())
		}
	}
	return strings.Join(names, ", ")
}

// readConfig caches a test config that was read, so that several replays report its results only once.
type readConfig struct {
	config *testConfig
	failed bool
}

// configOnce reads a test config once.
func (in *input) configOnce(o *Object, key string, read func() (*testConfig, Results)) (*testConfig, Results) {
	at := checked{o, "test config " + key}
	if in.testConfigs == nil {
		in.testConfigs = map[checked]readConfig{}
	}
	if c, ok := in.testConfigs[at]; ok {
		if c.failed { // an earlier call reported the errors
			return nil, Results{result(CodeReplayConfig, o, "the test config has errors").At("", "", "")}
		}
		return c.config, nil
	}
	config, results := read()
	in.testConfigs[at] = readConfig{config, results.Failed()}
	return config, results
}

// ownConfig reads a TestConfig.
func (in *input) ownConfig(o *Object) (*testConfig, Results) {
	return in.configOnce(o, "", func() (*testConfig, Results) {
		c := &testConfig{name: o.name()}
		if o.apiVersion() != testConfigAPIVersion {
			return c, Results{result(CodeBadValue, o, "apiVersion: found %q, allowed: %s", o.apiVersion(), testConfigAPIVersion).At("apiVersion", o.apiVersion(), testConfigAPIVersion)}
		}
		f := fields[testConfig]{rows: testConfigFields, of: o, cfg: in.cfg}
		var results Results
		if spec := nodes.At(o.Node, "spec"); spec != nil {
			_, results = f.read(spec, "spec", c)
		}
		if err := c.finish(); err != nil {
			results = append(results, result(CodeBadCombination, o, "spec.%v", err).At("spec", "", ""))
		}
		return c, results
	})
}

// foreignText is a test config in the ecosystem's JSON, with the object and the key that hold it.
type foreignText struct {
	*Object
	key, text string
}

// foreignConfigs finds the ConfigMaps that hold a test config. The text is the value of a key that is
// the id, with or without .json, or the only value of a ConfigMap with that name.
func (in *input) foreignConfigs(namespace, id string) (found []foreignText) {
	for _, o := range in.byKind["/ConfigMap"] {
		data := nodes.Strings(nodes.At(o.Node, "data"))
		if o.namespace() != namespace || leftAlone(o) != "" {
			continue
		}
		for _, key := range sortedKeys(data) {
			if key == id || key == id+".json" || o.name() == id && len(data) == 1 {
				found = append(found, foreignText{o, key, data[key]})
			}
		}
	}
	return found
}

// maxForeign limits the size of the ecosystem's JSON. Real files have a few hundred bytes.
const maxForeign = 256 << 10

// foreignConfig reads a test config in the ecosystem's JSON.
func (in *input) foreignConfig(id string, text foreignText) (*testConfig, Results) {
	return in.configOnce(text.Object, text.key, func() (*testConfig, Results) {
		c := &testConfig{name: id}
		at := pathKey("data", text.key)
		n, err := jsonNode(text.text)
		if err != nil {
			return c, Results{result(CodeReplayConfig, text.Object, "%s: found no test config: %v; allowed: the ecosystem's JSON, {\"id\": %q, …}", at, err, id).At(at, "", "")}
		}
		f := fields[testConfig]{rows: foreignFields, of: text.Object, what: at + ": ", cfg: in.cfg}
		_, results := f.read(n, "", c)
		if err = c.translate(); err == nil {
			err = c.finish()
		}
		if err != nil {
			results = append(results, result(CodeBadValue, text.Object, "%s: %v", at, err).At(at, "", ""))
		}
		for _, what := range c.unknown {
			results = append(results, result(CodeReplayField, text.Object, "%s: %s", at, what).At(at, "", "").ifStrict(in.cfg))
		}
		return c, results
	})
}

// jsonNode parses a JSON object into YAML nodes.
func jsonNode(text string) (*yaml.Node, error) {
	if len(text) > maxForeign {
		return nil, fmt.Errorf("%d bytes, which is more than %d", len(text), maxForeign)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, errors.New("it is not a JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	if err := repeatedKey(json.NewDecoder(strings.NewReader(text))); err != nil {
		return nil, err
	}
	return jsonValue(v), nil
}

// repeatedKey returns an error if a key occurs twice in an object of well-formed JSON. A decoder would
// silently use the last one.
func repeatedKey(d *json.Decoder) error {
	t, _ := d.Token()
	if t != json.Delim('{') && t != json.Delim('[') {
		return nil
	}
	seen := map[any]bool{}
	for d.More() {
		if t == json.Delim('{') {
			key, _ := d.Token()
			if seen[key] {
				return fmt.Errorf("key %q occurs twice in one object", key)
			}
			seen[key] = true
		}
		if err := repeatedKey(d); err != nil {
			return err
		}
	}
	_, _ = d.Token() // the end
	return nil
}

// jsonValue converts a decoded JSON value into a node.
func jsonValue(v any) *yaml.Node {
	switch v := v.(type) {
	case map[string]any:
		n := nodes.Mapping()
		for _, key := range sortedKeys(v) {
			n.Content = append(n.Content, nodes.New(key), jsonValue(v[key]))
		}
		return n
	case []any:
		n := nodes.Sequence[*yaml.Node]()
		for _, item := range v {
			n.Content = append(n.Content, jsonValue(item))
		}
		return n
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagNull, Value: "null"}
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: fmt.Sprint(v)}
	}
}

func checkFactor(v string) error { return between(1e-6, 1e6)(strings.TrimSuffix(v, "x")) }

func between(least, most float64) func(string) error {
	return func(v string) error {
		switch n, err := strconv.ParseFloat(v, 64); {
		case err != nil || math.IsNaN(n):
			return errors.New("not a number")
		case n < least || n > most:
			return errors.New("out of range")
		}
		return nil
	}
}

func checkFault(v string) error {
	if err := checkLine(v); err != nil {
		return err
	}
	_, err := contract.ParseFault(v)
	return err
}

func checkPassedHost(v string) error {
	if v == "" || strings.ContainsAny(v, ", ") {
		return errors.New("not a host")
	}
	return checkPassthrough(v)
}

func checkLatency(v string) error {
	factor, isFactor := strings.CutSuffix(v, "x")
	switch {
	case slices.Contains([]string{"none", "streams", "recorded"}, v):
		return nil
	case !isFactor:
		return errors.New("not a latency")
	}
	return between(0, 1000)(factor)
}
