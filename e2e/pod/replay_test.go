package pod

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// shopImage is the image of the application; all other images are Tapedeck's.
const shopImage = "registry.example/shop/app:1.0"

// customers is how many customers log in while the shop is recorded; each orders this.
const customers = 30

var items = []string{"tea", "coffee"}

// steps is how many requests a customer makes.
const steps = 1 + 2*2

// more is how many customers use the original during a replay.
const more = 3

// replaying is a world whose bucket has a snapshot of the shop.
type replaying struct {
	*collecting
	manifests string   // of the shop
	snapshot  string   // ID@sha256:DIGEST
	options   []string // that say where the snapshot is
	claim     string   // folder of the volume claim, if it is there
}

// newReplaying records the shop through the collector into the bucket, and makes a
// snapshot of it there.
func newReplaying(t *testing.T) *replaying {
	t.Helper()
	const file = "replay.yaml"
	p := &replaying{collecting: newCollecting(t, file), manifests: readFile(t, filepath.Join("testdata", file))}
	p.secret[contract.SinkTokenName] = p.token("shop")
	shop := p.startPod()
	p.shop(customers)
	shop.stop() // so that it sends the rest
	p.snapshot = p.newSnapshot("")
	p.options = []string{fmt.Sprintf("replayPlace=s3://%s?region=%s", bucketName, bucketRegion)}
	return p
}

// newSnapshot makes a snapshot of the customers' requests to the shop, from the bucket or from a
// part of it.
func (p *replaying) newSnapshot(part string, flags ...string) (pin string) {
	p.t.Helper()
	said := p.tapedeck(append([]string{"snapshot", "create", "--namespace", "shop", "--workload", "app",
		"--from", fmt.Sprintf("s3://%s%s?region=%s&endpoint=http://%s", bucketName, part, bucketRegion, p.bucket.forward(p.t, gatewayAt))}, flags...)...)
	pin = strings.TrimPrefix(regexp.MustCompile(`snapshots/[0-9a-f-]+@sha256:[0-9a-f]{64}`).FindString(said), "snapshots/")
	if pin == "" {
		p.t.Fatalf("no snapshot is named in\n%s", said)
	}
	return pin
}

// place is where the pods of a replay meet.
func (p *replaying) place() store.Store {
	p.t.Helper()
	if p.claim != "" {
		return store.Dir(p.claim)
	}
	return p.bucket.place()
}

func (p *replaying) in(t *testing.T) *replaying {
	sub := *p
	sub.collecting = p.collecting.in(t)
	return &sub
}

// shop lets customers log in, order, and look at their orders. The rate of their requests is low enough
// for a small machine to send them again: a generator that is late would measure itself.
func (p *replaying) shop(customers int) {
	t := p.t
	t.Helper()
	c, pace := p.newClient(), time.Tick(20*time.Millisecond)
	var all sync.WaitGroup
	for i := range customers {
		all.Go(func() {
			if err := shopping(t.Context(), c.http1, pace, i); err != nil {
				t.Errorf("customer %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

func shopping(ctx context.Context, c *http.Client, pace <-chan time.Time, customer int) error {
	n := 100 * (customer + 1)
	send := func(method, path, token string, body, into any) error {
		<-pace
		var text []byte
		if body != nil {
			var err error
			if text, err = json.Marshal(body); err != nil {
				return err
			}
		}
		req, err := http.NewRequestWithContext(ctx, method, "http://app:8080"+path, bytes.NewReader(text))
		if err != nil {
			return err
		}
		n++
		req.Header.Set(trace(n)[0], trace(n)[1])
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := c.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode >= http.StatusBadRequest {
			err = fmt.Errorf("%s: %s", res.Status, answer)
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(answer, into)
	}
	var login struct{ Token string }
	if err := send(http.MethodPost, "/login", "", map[string]string{"user": fmt.Sprintf("customer-%d", customer)}, &login); err != nil {
		return err
	}
	for _, item := range items {
		var order, again struct{ ID, Item string }
		if err := send(http.MethodPost, "/orders", login.Token, map[string]string{"item": item}, &order); err != nil {
			return err
		}
		if err := send(http.MethodGet, "/orders/"+order.ID, login.Token, nil, &again); err != nil {
			return err
		}
		if order.ID == "" || again != order {
			return fmt.Errorf("ordered %+v, and it is %+v", order, again)
		}
	}
	return nil
}

// render renders the shop with annotations that ask for a replay, and with edits.
func (p *replaying) render(annotations string, edits ...string) *rendered {
	p.t.Helper()
	asked := "  annotations:\n    replay.speedscale.com/snapshot-id: " + p.snapshot + "\n    replay.speedscale.com/testconfig-id: busy\n"
	for line := range strings.Lines(annotations) {
		asked += "    " + strings.TrimSpace(line) + "\n"
	}
	return p.renderEdited(append(edits, "  annotations:\n", asked)...)
}

func (p *replaying) renderEdited(edits ...string) *rendered {
	p.t.Helper()
	var flags []string
	for _, option := range append([]string{"replayServiceAccount=replayer", "replayCopyServiceAccount=copy"}, p.options...) {
		flags = append(flags, "--set", option)
	}
	return renderSending(p.t, strings.NewReplacer(edits...).Replace(p.manifests), p.collecting.deployed, flags...)
}

// change edits the shop so that its build differs.
func change(what string) []string {
	const name = "name: CHANGE\n              value: "
	return []string{name + `""`, name + what}
}

// outcome is how a run ended.
type outcome struct {
	code    int    // of index 0
	message string // its termination message
	report  *report.Report
	results []*report.Report // of the shards
}

// start starts all of the pods in the worst order: those that wait for others come first.
func (d *deployment) start() {
	for _, r := range slices.Concat(d.shards, []*replica{d.copied, d.responder}) {
		r.start(nativeEnvoy)
	}
}

// finish waits until the Job is done, and reads its results in the bucket.
func (d *deployment) finish() (o outcome) {
	t := d.t
	t.Helper()
	for i, s := range d.shards {
		code, message := s.end(contract.GeneratorContainer)
		if i == 0 {
			o.code, o.message = code, message
		} else if code != 0 {
			t.Errorf("shard %d ended with exit code %d, want 0: index 0 tells the verdict\n%s", i, code, message)
		}
	}
	if o.code != 0 {
		d.failsForGood(o.code)
	}
	dir := d.dir()
	s := d.place()
	var found []string
	for object, err := range s.List(t.Context(), contract.RunsDir+"/") {
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(object.Key, dir+"/"); ok {
			found = append(found, name)
		}
	}
	for _, name := range []string{"report.json", "report.html", "junit.xml", "summary.md"} {
		if !slices.Contains(found, name) {
			t.Fatalf("the place has %q of the run under %s, want %s among them; index 0 ended with exit code %d: %s", found, dir, name, o.code, o.message)
		}
	}
	o.report = readReport(t, s, path.Join(dir, "report.json"))
	for i := range d.shards {
		o.results = append(o.results, readReport(t, s, path.Join(dir, fmt.Sprintf("result-%d.json", i))))
	}
	return o
}

// failsForGood fails the test unless the Job ends with this exit code of its generator. If the Job
// retried the generator, that would send everything a second time.
func (d *deployment) failsForGood(code int) {
	d.t.Helper()
	for _, rule := range d.shards[0].Spec.PodFailurePolicy.Rules {
		if on := rule.OnExitCodes; on != nil && *on.ContainerName == contract.GeneratorContainer && slices.Contains(on.Values, int32(code)) && rule.Action == batchv1.PodFailurePolicyActionFailJob {
			return
		}
	}
	d.t.Errorf("nothing ends the Job with exit code %d: %+v", code, d.shards[0].Spec.PodFailurePolicy.Rules)
}

// dir is where the run's shards meet in the bucket.
func (d *deployment) dir() string {
	return path.Join(contract.RunsDir, d.shards[0].Spec.Template.Labels[contract.LabelReplay], d.uid)
}

func readReport(t *testing.T, s store.Store, key string) *report.Report {
	t.Helper()
	object, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	r, err := report.Read(object)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return r
}

// TestReplay records the shop into the bucket through the collector, makes a snapshot, and
// renders replays of it. Each runs exactly the containers that are rendered, behind Istio's
// rules and the NetworkPolicies that are rendered.
func TestReplay(t *testing.T) {
	p := newReplaying(t)
	var single outcome
	t.Run("the same build passes, and nothing else is touched", func(t *testing.T) { single = p.in(t).samePasses() })
	t.Run("a changed build fails with what changed", func(t *testing.T) { p.in(t).changeIsFound() })
	t.Run("three shards find what one does", func(t *testing.T) { p.in(t).shardsAgree(single) })
	t.Run("without the site, and with an Envoy that is late", func(t *testing.T) { p.in(t).withoutSite() })
	t.Run("a goal that is missed", func(t *testing.T) { p.in(t).goalIsMissed() })
	t.Run("an application without a sidecar, and without a mesh", func(t *testing.T) { p.in(t).withoutMesh() })
	t.Run("an application that ignores its proxy, by a TrafficReplay", func(t *testing.T) { p.in(t).byHostsFile() })
	t.Run("the workload itself", func(t *testing.T) { p.in(t).inPlace() })
	t.Run("a volume in the place of the bucket", func(t *testing.T) { p.in(t).onVolume() })
	t.Run("shards that are killed", func(t *testing.T) { p.in(t).shardsAreLost() })
}

// dependenciesAsked counts the requests that reach the shop's dependencies.
func (p *replaying) dependenciesAsked() (n int) {
	for _, d := range p.asked {
		n += len(lines(d.out.String(), "asked "))
	}
	return n
}

// samePasses replays to the build that was recorded, next to the original, which still serves its
// customers from its dependencies.
func (p *replaying) samePasses() outcome {
	t := p.t
	r := p.render("")
	d := p.deploy(r)
	w := *p.world
	w.rendered = r
	original := w.startPod()
	before := p.dependenciesAsked()
	d.start()
	p.shop(more)
	o := d.finish()
	o.want(t, 0)
	if got, want := p.dependenciesAsked()-before, more*len(items)*2; got != want {
		t.Errorf("the dependencies were asked %d times, want %d times, by the original", got, want)
	}
	d.alone(original)
	original.stop()
	d.copied.stop() // so that it sends its recording
	d.recordedApart()
	if got, want := len(decisions(t, original.envoy, "inbound", "app:", 0)), more*steps; got != want {
		t.Errorf("the original got %d requests, want the %d of its customers", got, want)
	}
	return o
}

// want fails the test unless a run ended with an exit code and found exactly these differences. In every
// case, it sent everything that was recorded, and the responder answered all of it.
func (o outcome) want(t *testing.T, code int, differences ...string) {
	t.Helper()
	if o.code != code || o.report.ExitCode != code {
		t.Errorf("the exit code is %d, and the report says %d, want %d: %v\n%s", o.code, o.report.ExitCode, code, o.report.Exits, o.message)
	}
	verdict := "Passed"
	if code != 0 {
		verdict = fmt.Sprintf("exit code %d: ", code)
	}
	if len(o.message) > 4096 || !strings.Contains(o.message, verdict) || !strings.Contains(o.message, fmt.Sprintf("%d sent", customers*steps)) {
		t.Errorf("the termination message has %d bytes, want at most 4096 with %q and the number of requests:\n%s", len(o.message), verdict, o.message)
	}
	total := o.report.Results.Total()
	if total.Sent != customers*steps || total.Failed != 0 {
		t.Errorf("%d requests were sent and %d failed, want %d and none: %v %v", total.Sent, total.Failed, customers*steps, total.Statuses, total.Failures)
	}
	var found []string
	for _, d := range o.report.Differences {
		if d.State == report.New {
			found = append(found, d.Endpoint+" "+d.Place+" "+string(d.Kind))
		}
	}
	if !slices.Equal(found, differences) {
		t.Errorf("new differences are %q, want %q", found, differences)
	}
	mock := o.report.Mock
	if mock == nil || mock.Served != customers*int64(len(items))*2 || mock.Missed+mock.Passthrough+mock.Escaped+mock.NeverUsed > 0 {
		t.Errorf("the responder says %+v, want %d requests served and nothing else", mock, customers*len(items)*2)
	}
}

// alone calls, from within the copy's application and without its proxy, the hosts that the
// original calls, and reaches none. Nobody else reaches the responder and the copy, either.
func (d *deployment) alone(original *pod) {
	t := d.t
	t.Helper()
	app := d.copied.container(d.copied.Spec.Template.Spec.Containers[0])
	before := d.dependenciesAsked()
	for _, url := range []string{"http://dependency:8081/prices/tea", "https://external.test/prices/tea"} {
		past := []string{"/usr/bin/curl", "-sS", "--fail", "--insecure", "--max-time", "10", "--noproxy", "*", url}
		if out, err := d.network.pod.run(t, "curl", original.appSpec().with(past...)); err != nil || !strings.Contains(out, "cents") {
			t.Errorf("the original does not reach %s, so that nothing is shown: %v %s", url, err, out)
		}
		if out, err := d.copied.namespace.run(t, "curl", app.with(past...)); err == nil {
			t.Errorf("the copy reaches %s past its proxy: %s", url, out)
		}
	}
	if got := d.dependenciesAsked() - before; got != 2 {
		t.Errorf("the dependencies were asked %d times, want 2 times, by the original", got)
	}
	for _, at := range []string{
		fmt.Sprintf("%s:%d", responderIP.v4, contract.ResponderPort), fmt.Sprintf("%s:%d", responderIP.v4, contract.ResponderAdminPort), copyIP.v4 + ":8080",
	} {
		if c, err := d.client.dial(t.Context(), at); err == nil {
			c.Close()
			t.Errorf("somebody else reaches %s", at)
		}
	}
}

// recordedApart fails unless the bucket has what the copy recorded, marked with the run, and
// nothing else of it: neither a snapshot nor another replay takes these records for the
// customers'.
func (d *deployment) recordedApart() {
	t := d.t
	t.Helper()
	counted := map[string]int{}
	for e, err := range read.All(t.Context(), read.Options{}, d.bucket.place()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Direction == recording.In {
			counted[e.Replay()]++
		}
	}
	if len(counted) != 2 || counted[""] != (customers+more)*steps || counted[d.uid] < customers*steps { // it also asked whether the copy answers
		t.Errorf("inbound requests are recorded by run as %v, want %d of customers, and %d or a few more of the run %s", counted, (customers+more)*steps, customers*steps, d.uid)
	}
}

// changeIsFound replays to a build that leaves out the currency of orders.
func (p *replaying) changeIsFound() {
	d := p.deploy(p.render("", change("currency")...))
	d.start()
	d.finish().want(p.t, 3, "POST /orders body:$.currency field_removed")
}

// shardsAgree replays in three pods at once. Together they find the same as a single one. The
// merged report has the times of all three, each counted once.
func (p *replaying) shardsAgree(single outcome) {
	t := p.t
	if single.report == nil {
		t.Skip("there is no single run to compare with")
	}
	d := p.deploy(p.render(`tapedeck.dev/replay-shards: "3"`))
	d.start()
	o := d.finish()
	o.want(t, 0)
	if len(o.results) != 3 {
		t.Fatalf("%d shards left results, want 3", len(o.results))
	}
	for i, r := range o.results {
		if n := r.Results.Total().Sent; n == 0 || n == customers*steps {
			t.Errorf("shard %d sent %d of %d requests, want a share", i, n, customers*steps)
		}
	}
	if got, want := found(o.report), found(single.report); !slices.Equal(got, want) {
		t.Errorf("three shards found\n%s\none found\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	merged := buckets(o.report)
	if summed := buckets(o.results...); !maps.Equal(merged, summed) {
		t.Errorf("the merged report has the times\n%v\nthe shards have\n%v", merged, summed)
	}
	counted := int64(0)
	for _, n := range merged {
		counted += n
	}
	if counted == 0 {
		t.Error("the reports have no times")
	}
}

// found lists a report's endpoints, differences, carried values and responder, without times.
func found(r *report.Report) (all []string) {
	for _, e := range r.Results.Endpoints {
		c := e.Counts
		c.BytesIn, c.BytesOut = 0, 0 // ids may differ in length
		all = append(all, fmt.Sprintf("%s: %+v", e.Name, c))
	}
	for _, d := range r.Differences {
		all = append(all, fmt.Sprintf("%s %s %s %s: %d", d.Endpoint, d.Place, d.Kind, d.State, d.Count))
	}
	for _, e := range r.Edges {
		all = append(all, fmt.Sprintf("%s to %s as %s: %d %d %s", e.From, e.To, e.Encoding, e.Fired, e.Unfired, e.Reason))
	}
	slices.Sort(all)
	return append(all, fmt.Sprintf("%+v", *r.Mock))
}

// buckets counts the times of reports: how many are in each bucket of each histogram.
func buckets(reports ...*report.Report) map[string]int64 {
	counted := map[string]int64{}
	for _, r := range reports {
		for _, e := range r.Results.Endpoints {
			for name, d := range map[string]*stats.Distribution{"response": e.Response, "service": e.Service, "lag": e.Lag, "held": e.Held} {
				for at, n := range d.Buckets() {
					counted[fmt.Sprintf("%s %s %s", e.Name, name, at)] += n
				}
			}
		}
	}
	return counted
}

// withoutSite cuts off the site outside, and starts only the generator, before its Envoy, as may
// happen without native sidecars. The generator waits for everything that it needs, one after the
// other, sends nothing before that, and ends its Envoy when it is done.
func (p *replaying) withoutSite() {
	t := p.t
	run(t, "ip", "-n", string(p.external), "link", "set", "eth0", "down")
	t.Cleanup(func() { run(t, "ip", "-n", string(p.external), "link", "set", "eth0", "up") })
	d := p.deploy(p.render("replay.speedscale.com/build-tag: late-envoy"))
	generator := d.shards[0]
	generator.startContainers() // before anything else is ready
	waits := func(what string) {
		t.Helper()
		eventually(t, "the generator to wait for "+what, func() bool {
			return strings.Contains(generator.running[contract.GeneratorContainer].out.String(), "waiting for "+what)
		})
	}
	waits("Envoy")
	generator.startEnvoy()
	waits("the responder")
	d.responder.start(classicEnvoy)
	waits("the target")
	d.copied.start(classicEnvoy)
	d.finish().want(t, 0)
	eventually(t, "the generator to end its Envoy", generator.envoy.ended)
	if generator.envoy.err != nil {
		t.Errorf("Envoy ended with %v", generator.envoy.err)
	}
}

// goalIsMissed sets a goal that is always missed.
func (p *replaying) goalIsMissed() {
	d := p.deploy(p.render("tapedeck.dev/replay-fail-if: requests.total > 1"))
	d.start()
	d.finish().want(p.t, 1)
}

// shardsAreLost kills two of three pods once the run has begun. One is replaced, as Kubernetes
// does when a node is drained. The new one does not send requests again that may have been sent.
func (p *replaying) shardsAreLost() {
	t := p.t
	d := p.deploy(p.render("tapedeck.dev/replay-shards: \"3\"\nreplay.speedscale.com/timeout: 10s"))
	d.start()
	s := d.place()
	within(t, time.Minute, "the run to begin", func() bool {
		object, err := s.Get(t.Context(), path.Join(d.dir(), "start.json"))
		if err != nil {
			return false
		}
		return object.Close() == nil
	})
	for _, shard := range d.shards[1:] {
		shard.running[contract.GeneratorContainer].kill()
	}
	replaced := d.shards[2].replacement()
	replaced.startContainers()
	code, message := d.shards[0].end(contract.GeneratorContainer)
	d.failsForGood(code)
	r := readReport(t, s, path.Join(d.dir(), "report.json"))
	if code != 6 || r.ExitCode != 6 || r.Merged == nil || !slices.Equal(r.Merged.Lost, []int{1}) {
		t.Errorf("the exit code is %d, and the report says %d and %+v, want 6, and shard 1 to be lost\n%s", code, r.ExitCode, r.Merged, message)
	}
	if !strings.HasPrefix(r.Partial, "shard 2: ") {
		t.Errorf("the report says %q of what was cut short, want shard 2", r.Partial)
	}
	if code, message := replaced.end(contract.GeneratorContainer); code != 0 {
		t.Errorf("the pod in the place of shard 2 ended with exit code %d: %s", code, message)
	}
}

// withoutMesh replays to an application without a sidecar, in pods without an Envoy: its variables
// point to the responder.
func (p *replaying) withoutMesh() {
	t := p.t
	d := p.deploy(p.render("", `    sidecar.speedscale.com/inject: "true"`+"\n"+`    sidecar.speedscale.com/tls-out: "true"`+"\n", "",
		"        app: app\n    spec:", "        app: app\n        sidecar.istio.io/inject: \"false\"\n    spec:"))
	for _, r := range d.replicas() {
		if r.meshed {
			t.Fatalf("%s is in the mesh", r.pod)
		}
		if r == d.copied && len(r.Spec.Template.Spec.InitContainers)+len(r.Spec.Template.Spec.Containers) != 1 {
			t.Fatalf("the copy has containers besides the application: %+v", r.Spec.Template.Spec)
		}
	}
	d.start()
	d.finish().want(t, 0)
	// There is no mesh to restrict the copy: only the policies do.
	before := p.dependenciesAsked()
	app := d.copied.container(d.copied.Spec.Template.Spec.Containers[0])
	past := app.with("/usr/bin/curl", "-sS", "--fail", "--max-time", "10", "--noproxy", "*", "http://dependency:8081/prices/tea")
	if out, err := d.client.run(t, "curl", past); err != nil {
		t.Errorf("nobody reaches the dependency without an Envoy, so the test shows nothing: %v %s", err, out)
	}
	if out, err := d.copied.namespace.run(t, "curl", past); err == nil {
		t.Errorf("the copy reaches the dependency past its proxy: %s", out)
	}
	if got := p.dependenciesAsked() - before; got != 1 {
		t.Errorf("the dependency was asked %d times, want once, by somebody else", got)
	}
}

// inPlace replays to the workload itself, as in a cluster for tests.
func (p *replaying) inPlace() {
	d := p.deploy(p.render("tapedeck.dev/replay: in-place"))
	if d.copied.Name != "app" {
		p.t.Fatalf("the replay is to %s, want the workload", d.copied.Name)
	}
	d.start()
	d.finish().want(p.t, 0)
}

// onVolume runs two shards that meet on a volume with the snapshot.
func (p *replaying) onVolume() {
	t := p.t
	p.claim = openDir(t)
	p.snapshot = p.newSnapshot("/snapshots/"+p.snapshot, "--to", p.claim) // the bucket has more by now
	p.options = []string{"replayPlace=file:///recordings", "replayClaim=recordings"}
	d := p.deploy(p.render(`tapedeck.dev/replay-shards: "2"`))
	d.start()
	d.finish().want(t, 0)
}

// byHostsFile replays to a build that reads no proxy variables, as an object for the operator
// requests it: through the hosts file, the build reaches the sidecar.
func (p *replaying) byHostsFile() {
	const object = `---
apiVersion: speedscale.com/v1
kind: TrafficReplay
metadata:
  name: nightly
  namespace: shop
spec:
  snapshotID: %s
  testConfigID: busy
  mode: full-replay
  workloads:
    - ref:
        kind: Deployment
        name: app
      tests: ["*"]
      mocks: ["app:dependency:8081", "app:external.test:443"]
      routing: hostalias
---
apiVersion: v1
kind: Service
metadata:
  name: dependency
`
	d := p.deploy(p.renderEdited(append(change("direct"), "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: dependency\n", fmt.Sprintf(object, p.snapshot))...))
	d.start()
	d.finish().want(p.t, 0)
}
