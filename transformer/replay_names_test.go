package transformer

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

const shop = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: store}
spec:
  template:
    metadata:
      labels: {app: shop, sidecar.istio.io/inject: "true", tier: web}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: shop, image: shop:1, ports: [{containerPort: 8080}], resources: {limits: {cpu: 1}}}
`

// parsed returns an object from YAML.
func parsed(t testing.TB, text string) *Object {
	t.Helper()
	n, err := yaml.Parse(text)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return &Object{Node: n.YNode()}
}

// replayOf returns a replay that the workload itself requests.
func replayOf(t testing.TB, text string) *replay {
	t.Helper()
	o := parsed(t, text)
	return &replay{from: o, w: asWorkload(o), replaySpec: replaySpec{
		Snapshot: contract.SnapshotRef{ID: "0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e", Digest: strings.Repeat("9f", 32)},
		Mode:     fullReplay, Timeout: contract.DefaultReplayTimeout, Shards: 1, Replicas: 1,
	}}
}

// nameOf returns the name of a replay, under the default configuration unless it is changed.
func nameOf(r *replay, change ...func(*Config)) string {
	cfg := DefaultConfig()
	for _, c := range change {
		c(&cfg)
	}
	in := newInput(nil, &cfg)
	in.nameReplays([]*replay{r})
	return r.name
}

// Applying the same manifest again must change nothing, even with the next release.
func TestReplayNameIsStable(t *testing.T) {
	if name := nameOf(replayOf(t, shop)); name != "shop-replay-0acnxl57" {
		t.Errorf("the replay of the same input has another name than in earlier releases: %s", name)
	}
}

func TestReplayNameGoesByTheTemplate(t *testing.T) {
	was := nameOf(replayOf(t, shop))
	for _, c := range []struct {
		what, old, new string
		same           bool
	}{
		{"comments", "kind: Deployment", "kind: Deployment # our shop", true},
		{"quoting", "image: shop:1", `image: "shop:1"`, true},
		{"the order of keys", "name: shop, image: shop:1", "image: shop:1, name: shop", true},
		{"how a number is spelled", "8080", "8080.0", true},
		{"what the workload itself has", "metadata: {name: shop,", "metadata: {annotations: {a: b}, name: shop,", true},
		{"how many pods it has", "spec:\n  template:", "spec:\n  replicas: 3\n  template:", true},
		{"its API version", "apps/v1", "apps/v1beta2", true},
		{"a field without a value", "app: shop,", "app: shop, none: ,", true},
		{"the image", "shop:1", "shop:2", false},
		{"a label", "tier: web", "tier: api", false},
		{"an annotation of the pods", "    metadata:\n", "    metadata:\n      annotations: {a: b}\n", false},
		{"a text in place of a number", "cpu: 1}", `cpu: "1"}`, false},
		{"zero, which is not the default", "terminationGracePeriodSeconds: 0", "hostname: a", false},
		{"the namespace", "namespace: store", "namespace: stage", false},
	} {
		text := strings.Replace(shop, c.old, c.new, 1)
		if text == shop {
			t.Fatalf("%s: %q is not in the manifest", c.what, c.old)
		}
		if name := nameOf(replayOf(t, text)); (name == was) != c.same {
			t.Errorf("%s: the name was %s and is %s", c.what, was, name)
		}
	}
}

func TestAnchorsDoNotChangeAReplayName(t *testing.T) {
	block := strings.Replace(shop, "{app: shop, sidecar.istio.io/inject: \"true\", tier: web}", "\n        tier: web\n        app: shop\n        sidecar.istio.io/inject: 'true'", 1)
	if a, b := nameOf(replayOf(t, shop)), nameOf(replayOf(t, block)); a != b {
		t.Errorf("block style has the name %s, flow style %s", b, a)
	}
}

// A change of any setting makes another replay, except for the hooks that say when the Job runs.
func TestReplayNameGoesByEverySetting(t *testing.T) {
	was := nameOf(replayOf(t, shop))
	var visit func(v func(*replay) reflect.Value, path string)
	visit = func(at func(*replay) reflect.Value, path string) {
		r := replayOf(t, shop)
		if typ := at(r).Type(); typ.Kind() == reflect.Struct && typ != reflect.TypeOf(contract.Place{}) {
			for i := range typ.NumField() {
				visit(func(r *replay) reflect.Value { return at(r).Field(i) }, path+"."+typ.Field(i).Name)
			}
			return
		}
		if !at(r).CanSet() {
			t.Fatalf("%s is not exported, and so not hashed", path)
		}
		at(r).Set(another(t, at(r), path))
		if name := nameOf(r); (name == was) != (path == ".Hooks") {
			t.Errorf("with another %s the name is %s, and was %s", path, name, was)
		}
	}
	visit(func(r *replay) reflect.Value { return reflect.ValueOf(&r.replaySpec).Elem() }, "")
}

// another returns a value that differs from that of a setting.
func another(t *testing.T, v reflect.Value, path string) reflect.Value {
	t.Helper()
	if v.Type() == reflect.TypeOf(contract.Place{}) {
		p, err := contract.ParsePlace("s3://bucket?region=eu-central-1")
		if err != nil {
			t.Fatal(err)
		}
		return reflect.ValueOf(p)
	}
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		out.SetString(v.String() + "x")
	case reflect.Bool:
		out.SetBool(!v.Bool())
	case reflect.Int:
		out.SetInt(v.Int() + 1)
	case reflect.Slice:
		out.Set(reflect.Append(v, another(t, reflect.New(v.Type().Elem()).Elem(), path)))
	case reflect.Map:
		out.Set(reflect.MakeMap(v.Type()))
		out.SetMapIndex(another(t, reflect.New(v.Type().Key()).Elem(), path), another(t, reflect.New(v.Type().Elem()).Elem(), path))
	default:
		t.Fatalf("%s is of kind %s, which the test does not know", path, v.Kind())
	}
	return out
}

func TestReplayNameGoesByTheOptionsOfReplays(t *testing.T) {
	was := nameOf(replayOf(t, shop))
	for i := range options {
		o := options[i]
		value := map[string]string{"replayPlace": "s3://bucket", "replayVolumes": volumesEmpty, "replayRequests": "cpu=1", "replayLimits": "cpu=1"}[o.Name]
		if value == "" {
			value = "other"
		}
		ours := strings.HasPrefix(o.Name, "replay")
		if !ours && o.Name != "image" {
			continue
		}
		name := nameOf(replayOf(t, shop), func(c *Config) {
			if err := c.SetOption(o.Name, value); err != nil {
				t.Fatal(err)
			}
		})
		if (name != was) != ours {
			t.Errorf("with the option %s=%s the name is %s, and was %s", o.Name, value, name, was)
		}
	}
}

var (
	serviceName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	longName    = strings.Repeat("checkout-", 20) + "v2"
)

func TestReplayNamesAreThoseOfServices(t *testing.T) {
	for _, name := range []string{
		"shop", "a", "shop.example.com", "3scale", "shop-", "-", ".", "0", "SHOP_2", "ünïcode", longName,
		strings.Repeat("a", 40) + "-b", strings.Repeat("1", 253), "x-replay-abcdefgh",
	} {
		r := replayOf(t, strings.Replace(shop, "name: shop,", "name: "+strconv.Quote(name)+",", 1))
		base := nameOf(r)
		for _, n := range []string{base, r.responderName(), base + "-99999", r.policyName(contract.PartGenerator) + "-identity", base + sidecarSuffix} {
			if len(n) > 63 || !serviceName.MatchString(n) {
				t.Errorf("%q has %s of %d characters", name, n, len(n))
			}
		}
		if !replayBase.MatchString(base) || !namedForReplay(base, name) || !namedForReplay("dev-"+base+"-mock", name) {
			t.Errorf("%q has %s, which is not recognized", name, base)
		}
	}
}

// Names that are shortened, or that a Service can't have, differ in their hash.
func TestReplaysOfDifferentWorkloadsHaveDifferentNames(t *testing.T) {
	names := map[string]string{}
	for _, change := range []string{
		"metadata: {name: " + longName + "x, namespace: store}", "metadata: {name: " + longName + "y, namespace: store}",
		"metadata: {name: shop.eu, namespace: store}", "metadata: {name: shop-eu, namespace: store}", "metadata: {name: shop-eu}",
		"metadata: {generateName: shop-eu, namespace: store, uid: 1}",
	} {
		for _, kind := range []string{"Deployment", "StatefulSet"} {
			text := strings.Replace(strings.Replace(shop, "metadata: {name: shop, namespace: store}", change, 1), "Deployment", kind, 1)
			if strings.Contains(change, "generateName") && kind == "Deployment" {
				continue
			}
			name := nameOf(replayOf(t, text))
			if names[name] != "" && !strings.Contains(change, "generateName") {
				t.Errorf("%s and %s both have %s", names[name], change, name)
			}
			names[name] = change
		}
	}
}

func TestReplaysThatAskTwice(t *testing.T) {
	cfg := DefaultConfig()
	first, second := replayOf(t, shop), replayOf(t, shop)
	first.at, second.at = "spec.workloads[0]", "spec.workloads[1]"
	results := newInput(nil, &cfg).nameReplays([]*replay{first, second})
	if len(results) != 1 || results[0].Code() != CodeReplayTwice {
		t.Errorf("two replays with one name have the results %v", results)
	}
	second = replayOf(t, shop)
	second.from = parsed(t, "{apiVersion: speedscale.com/v1, kind: TrafficReplay, metadata: {name: nightly, namespace: store}}")
	if results := newInput(nil, &cfg).nameReplays([]*replay{first, second}); len(results) != 0 || first.name == second.name {
		t.Errorf("the replays of two objects have the names %s and %s, and the results %v", first.name, second.name, results)
	}
}

func TestReplayNameThatIsTaken(t *testing.T) {
	cfg := DefaultConfig()
	name := nameOf(replayOf(t, shop))
	for _, kind := range []string{"{apiVersion: apps/v1, kind: Deployment, ", "{apiVersion: v1, kind: Service, "} {
		for _, suffix := range []string{"", "-mock"} {
			other := parsed(t, kind+"metadata: {name: "+name+suffix+", namespace: store}}")
			results := newInput([]*Object{other}, &cfg).nameReplays([]*replay{replayOf(t, shop)})
			if len(results) != 1 || results[0].Code() != CodeReplayName {
				t.Errorf("beside %s the results are %v", other.Ref(), results)
			}
		}
	}
}

// No selector of production selects the pods of a replay. They have only those labels of the
// original by which a mesh and a cloud identify it.
func TestPodsOfAReplayHaveNoLabelsOfTheApplication(t *testing.T) {
	r := replayOf(t, shop)
	name := nameOf(r)
	got := nodes.Strings(r.podLabels(contract.PartCopy))
	want := map[string]string{"sidecar.istio.io/inject": "true", contract.LabelReplay: name, contract.LabelReplayPart: contract.PartCopy}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("pods have the labels %v, want %v", got, want)
	}
}

// An object that is not part of a replay is never deleted as one, whatever its labels claim.
func TestForgedPartsOfAReplay(t *testing.T) {
	const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop-replay-0abc1def
  labels: {app.kubernetes.io/managed-by: tapedeck, tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: copy}
  annotations: {tapedeck.dev/created-for: Deployment/shop}
spec:
  selector: {matchLabels: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: copy}}
  template:
    metadata: {labels: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: copy}}
    spec: {containers: [{name: shop, image: shop}]}
`
	const service = `
apiVersion: v1
kind: Service
metadata:
  name: shop-replay-0abc1def-mock
  labels: {app.kubernetes.io/managed-by: tapedeck, tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: responder}
  annotations: {tapedeck.dev/created-for: Deployment/shop}
spec:
  selector: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: responder}
  ports: [{name: tcp-mock, port: 4140, appProtocol: tcp}, {name: tcp-admin, port: 4141, appProtocol: tcp}]
`
	const job = `
apiVersion: batch/v1
kind: Job
metadata:
  name: shop-replay-9xyz8uvw
  labels: {app.kubernetes.io/managed-by: tapedeck, tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: generator}
  annotations: {tapedeck.dev/created-for: Deployment/shop}
spec:
  template:
    metadata: {labels: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: generator}}
    spec: {containers: [{name: generator, image: tapedeck, command: [/tapedeck], args: [replay, x, --run=shop-replay-0abc1def/$(TAPEDECK_RUN)]}]}
`
	for _, own := range []string{deployment, service, job,
		strings.Replace(deployment, "name: shop-replay-0abc1def\n", "name: dev-shop-replay-0abc1def-eu\n", 1), // by a kustomization
		strings.Replace(job, "created-for: Deployment", "created-for: StatefulSet", 1),
		strings.Replace(job, "created-for: Deployment", "created-for: TrafficReplay", 1),
	} {
		if err := checkCreated(parsed(t, own)); err != nil {
			t.Errorf("%v in %s", err, own)
		}
	}
	for _, forged := range []struct{ what, text, old, new string }{
		{"a production Deployment", deployment, "selector: {matchLabels: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: copy}}", "selector: {matchLabels: {app: shop}}"},
		{"one that also selects by a label of its own", deployment, "{matchLabels: {", "{matchLabels: {app: shop, "},
		{"one that selects by expressions", deployment, "matchLabels: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: copy}", "matchExpressions: [{key: app, operator: Exists}]"},
		{"one with another selector beside", deployment, "selector: {", "selector: {matchExpressions: [{key: app, operator: Exists}], "},
		{"one with another name", deployment, "  name: shop-replay-0abc1def\n", "  name: shop\n"},
		{"one with the name of another replay", deployment, "  name: shop-replay-0abc1def\n", "  name: shop-replay-00000000\n"},
		{"one of another workload", deployment, "Deployment/shop", "Deployment/cart"},
		{"one of nothing", deployment, "Deployment/shop", "Deployment/"},
		{"one of no workload", deployment, "Deployment/shop", "ConfigMap/shop"},
		{"one whose pods have other labels", deployment, "template:\n    metadata: {labels: {tapedeck.dev/replay: shop-replay-0abc1def, ", "template:\n    metadata: {labels: {tapedeck.dev/replay: shop, "},
		{"one that nobody manages", deployment, "managed-by: tapedeck", "managed-by: helm"},
		{"one without a part", deployment, "tapedeck.dev/replay-part: copy}\n  annotations", "x: copy}\n  annotations"},
		{"one with a part that runs no Deployment", deployment, "copy", "generator"},
		{"one of a replay without a hash", deployment, "shop-replay-0abc1def", "shop-replay-0abc"},
		{"one of another group", deployment, "apps/v1", "example.com/v1"},
		{"a StatefulSet", deployment, "kind: Deployment", "kind: StatefulSet"},
		{"the Service of production", service, "selector: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: responder}", "selector: {app: shop}"},
		{"a Service without a selector", service, "selector: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: responder}", "selector: {}"},
		{"a Service that is reached from outside", service, "ports:", "type: LoadBalancer\n  ports:"},
		{"a Service with the name of the copy's", service, "abc1def-mock", "abc1def"},
		{"a Job with a selector", job, "  template:", "  selector: {matchLabels: {app: shop}}\n  template:"},
		{"a Job that runs something else", job, "name: generator", "name: migrate"},
		{"a Job that runs more", job, "$(TAPEDECK_RUN)]}", "$(TAPEDECK_RUN)]}, {name: migrate}"},
		{"a Job that runs another program", job, "[/tapedeck]", "[/migrate]"},
		{"a Job that runs another command", job, "[replay, ", "[mock, "},
		{"the Job of another replay", job, "--run=shop-replay-0abc1def", "--run=shop-replay-00000000"},
		{"a responder that is a database", strings.ReplaceAll(strings.Replace(deployment, "name: shop-replay-0abc1def\n", "name: shop-replay-0abc1def-mock\n", 1), "copy", "responder"), "name: shop, ", "name: db, "},
		{"a Service with other ports", service, "4140", "5432"},
		{"a Job without a hash", job, "shop-replay-9xyz8uvw", "shop-replay-migrate"},
	} {
		text := strings.Replace(forged.text, forged.old, forged.new, -1)
		if text == forged.text {
			t.Fatalf("%s: %q is not in the manifest", forged.what, forged.old)
		}
		if checkCreated(parsed(t, text)) == nil {
			t.Errorf("%s is mistaken for part of a replay", forged.what)
		}
	}
}

// A Deployment that looks like a copy, and whose original does not exist, is deleted only if its
// pods are those of a copy.
func TestACopyWithoutItsWorkload(t *testing.T) {
	const copied = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop-replay-0abc1def
  namespace: store
  labels: {app.kubernetes.io/managed-by: tapedeck, tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: copy}
  annotations: {tapedeck.dev/created-for: Deployment/shop}
spec:
  selector: {matchLabels: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: copy}}
  template:
    metadata: {labels: {tapedeck.dev/replay: shop-replay-0abc1def, tapedeck.dev/replay-part: copy}}
    spec: {containers: [{name: shop, image: shop, env: [{name: HTTP_PROXY, value: 'http://shop-replay-0abc1def-mock.store:4140'}]}]}
`
	const workload = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop, namespace: store}}`
	for what, c := range map[string]struct {
		old, new, beside string
		gone             bool
	}{
		"as a render writes it":                      {"", "", "", true},
		"with a sidecar":                             {"[{name: HTTP_PROXY, value: 'http://shop-replay-0abc1def-mock.store:4140'}]", "[]}, {name: tapedeck-proxy, env: [{name: PROXY_TYPE, value: dual}]", "", true},
		"that goes to no responder":                  {"HTTP_PROXY, value: 'http://shop-replay-0abc1def-mock", "HTTP_PROXY, value: 'http://proxy", "", false},
		"with a label of an application":             {"template:\n    metadata: {labels: {", "template:\n    metadata: {labels: {app: db, ", "", false},
		"beside its workload":                        {"-mock", "", workload, true},
		"beside its workload, renamed by an overlay": {"-mock", "", strings.Replace(workload, "name: shop", "name: dev-shop", 1), true},
		"beside one of another namespace":            {"-mock", "", strings.Replace(workload, "store", "live", 1), false},
		"beside one of another kind":                 {"-mock", "", strings.Replace(workload, "kind: Deployment", "kind: StatefulSet", 1), false},
	} {
		text := strings.Replace(copied, c.old, c.new, 1)
		if c.old != "" && text == copied {
			t.Fatalf("%s: %q is not in the manifest", what, c.old)
		}
		objects := []*Object{parsed(t, text)}
		if c.beside != "" {
			objects = append(objects, parsed(t, c.beside))
		}
		out := Uninject(objects)
		if gone := len(out.Deleted) == 1 && !out.Results.Failed(); gone != c.gone {
			t.Errorf("a Deployment %s is deleted: %t, want %t: %v", what, gone, c.gone, out.Results)
		}
	}
}
