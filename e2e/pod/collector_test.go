package pod

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

// collectorIdentity is the collector's in the mesh, and foreignIdentity that of a pod in
// another captured namespace.
const (
	collectorIdentity = "spiffe://cluster.local/ns/speedscale/sa/collector"
	foreignIdentity   = "spiffe://cluster.local/ns/bank/sa/default"
)

// collecting is a world with a collector, and with the bucket in which it stores segments.
type collecting struct {
	*world
	bucket    *bucket
	collector namespace
	deployed  object // all objects of the collector
	keyFile   string
}

// newCollecting makes a world whose pod, of a file of testdata, sends its recordings to
// the collector of deploy/collector, in front of S3.
func newCollecting(t *testing.T, file string) *collecting {
	t.Helper()
	deployed := object{text: run(t, tool(t, "kustomize"), "build", "testdata/collector")}
	w := newWorld(t, renderSending(t, readFile(t, "testdata/"+file), deployed))
	c := &collecting{world: w, bucket: w.newBucket(), deployed: deployed, keyFile: filepath.Join(w.dir, "tokens.key")}
	t.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	if err := os.WriteFile(c.keyFile, []byte(c.tapedeck("collect", "key")), 0o600); err != nil {
		t.Fatal(err)
	}
	c.startCollector()
	return c
}

// renderSending renders manifests for a mesh with a collector. Segments are small, so that they
// end soon: each is a quarter of what the pod can keep.
func renderSending(t *testing.T, manifests string, collector object, args ...string) *rendered {
	t.Helper()
	const meshed = "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\n    istio-injection: enabled\n"
	r := renderText(t, manifests+meshed, append(args, "--config", "testdata/tapedeck.yaml",
		"--set", fmt.Sprintf("sink=http://collector.speedscale:%d", contract.CollectorPort), "--set", "sinkSize=8Mi")...)
	r.objects = append(r.objects, collector)
	return r
}

// tapedeck runs the program to its end.
func (c *collecting) tapedeck(args ...string) string {
	c.t.Helper()
	return run(c.t, filepath.Join(bin, "image", "tapedeck"), args...)
}

// token returns the token in the Secret of a namespace.
func (c *collecting) token(namespace string) string {
	c.t.Helper()
	return c.tapedeck("collect", "token", "--namespace", namespace, "--key-file", c.keyFile)
}

// reachingBucket gives a container the credentials that EKS gives, and the CA of the bucket, which
// in reality is among the public roots. Nothing else differs from what is deployed.
func (c *collecting) reachingBucket(s spec) spec {
	s.Env = append(s.Env, "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey, "AWS_EC2_METADATA_DISABLED=true", "SSL_CERT_FILE="+upstreamCA+"/site.crt")
	s.Mounts = append(s.Mounts, mount{c.site.file, upstreamCA + "/site.crt", true})
	return s
}

// startCollector runs the collector's pod behind its Service, as Istio's injector changed it.
func (c *collecting) startCollector() {
	c.t.Helper()
	c.collector = c.network.join(c.t, "collector", collectorIP)
	c.network.serve(c.t, collectorService, collectorIP)
	p := c.istio.Pod(c.t, "collector")
	c.collector.intercept(c.t, p)
	c.world.envoy(c.collector, "collector", collectorIdentity)

	i := slices.IndexFunc(p.Spec.Containers, func(k corev1.Container) bool { return k.Name == "collector" })
	container := p.Spec.Containers[i]
	container.SecurityContext.RunAsUser, container.SecurityContext.RunAsGroup = p.Spec.SecurityContext.RunAsUser, p.Spec.SecurityContext.RunAsGroup
	v := newVolumes(c.t, p.Spec, map[string]string{"key": readFile(c.t, c.keyFile)})
	c.collector.start(c.t, "collector", c.reachingBucket(v.spec(container, factsOf(c.of(collectorIP)), imageRoot(c.t))))
	c.listening(c.collector, fmt.Sprintf("127.0.0.1:%d", contract.CollectorPort))
}

// readPort opens the collector's port for readers, as through `kubectl port-forward`.
func (c *collecting) readPort() store.Store {
	c.t.Helper()
	return openPlace(c.t, "http://"+c.collector.forward(c.t, fmt.Sprintf("127.0.0.1:%d", contract.CollectorReadPort)))
}

// shipping is the sidecar's progress: the values of its metrics, and the number of complete
// segments in the pod.
type shipping struct {
	shipped, said int // segments stored, and waiting, by the metrics
	waiting       int
	failures      map[string]int // by reason
}

func (p *pod) shipping() shipping {
	p.t.Helper()
	m := p.metrics()
	s := shipping{shipped: int(m["tapedeck_segments_shipped_total"]), said: int(m["tapedeck_spool_segments"]), failures: map[string]int{}}
	found, err := spool.Dir(p.volumes[contract.RecordingVolume]).Segments()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, segment := range found {
		if segment.State == spool.Complete {
			s.waiting++
		}
	}
	for name, n := range m {
		if reason, ok := strings.CutPrefix(name, `tapedeck_ship_failures_total{reason="`); ok {
			s.failures[strings.TrimSuffix(reason, `"}`)] = int(n)
		}
	}
	return s
}

// until waits until the sidecar's progress meets a condition. The sidecar pauses after failures.
func (p *pod) until(what string, ok func(s shipping) bool) (s shipping) {
	p.t.Helper()
	within(p.t, 2*time.Minute, what, func() bool { s = p.shipping(); return ok(s) })
	return s
}

// in returns the world for a subtest of the test that made it.
func (c *collecting) in(t *testing.T) *collecting {
	sub := *c
	sub.world = c.world.in(t)
	return &sub
}

// TestCollector runs a pod whose recordings go to a collector, which stores them in a
// bucket.
func TestCollector(t *testing.T) {
	c := newCollecting(t, shop)
	t.Run("each exchange is stored once", func(t *testing.T) { c.in(t).storedOnce() })
	t.Run("others cannot write", func(t *testing.T) { c.in(t).othersCannotWrite() })
}

// storedOnce lets a pod send its recordings through both Envoys to a collector, which stores them
// in a bucket. The pod begins without a token. Then the bucket is slow, fails, is gone and is
// full, all under load. No request of the application fails or waits because of that, and in the
// end each exchange is in the bucket exactly once.
func (c *collecting) storedOnce() {
	t := c.t
	defer c.bucket.healed()
	client := c.newClient()
	body := bytes.Repeat([]byte("recorded "), 200) // hundreds of them fill a segment, so the sidecar is not under pressure
	do := func(id int) request {
		mark := fmt.Sprintf("id=%d", id)
		if id%8 == 0 {
			return ask(client.http1, fetch("http://dependency:8081/hello?"+mark))
		}
		return post(client.http1, "/echo?"+mark, body)
	}
	var all []request
	loaded := func(test func(l *load)) {
		t.Helper()
		first := len(all)
		l := startLoad(2, 100_000, func(id int) request { return do(first + id) })
		defer func() {
			l.stop()
			all = append(all, l.finish()...)
		}()
		test(l)
	}

	// Without a token the pod sends nothing and keeps everything, and says so.
	p := c.startPod()
	loaded(func(l *load) {
		p.until("the collector to refuse a pod without a token", func(s shipping) bool { return s.failures[contract.RefusedToken] > 0 && s.waiting > 1 && s.said > 0 })
		l.reach(t, l.done.Load()+50)
	})
	if s := p.shipping(); s.shipped > 0 {
		t.Errorf("without a token %d segments were stored", s.shipped)
	}
	p.stopContainers()
	kept := uuids(t, store.Dir(p.volumes[contract.RecordingVolume]))
	if stored := uuids(t, c.bucket.place()); len(kept) < len(all) || len(stored) > 0 {
		t.Errorf("without a token, of %d requests %d exchanges are in the pod and %d in the bucket", len(all), len(kept), len(stored))
	}

	// The Secret arrives, and the container is started again.
	if err := os.WriteFile(filepath.Join(p.volumes[contract.SinkTokenVolume], contract.SinkTokenName), []byte(c.token("shop")), 0o644); err != nil {
		t.Fatal(err)
	}
	p.startSidecar()
	p.startApp()
	p.until("what the process before left to be stored", func(s shipping) bool { return s.shipped > 0 && s.waiting == 0 })

	for _, trouble := range c.troubles() {
		loaded(func(l *load) {
			before := p.shipping()
			end := trouble.begin()
			p.until("the bucket to be "+trouble.name, func(s shipping) bool { return s.waiting > 1 && trouble.shows(before, s) })
			l.reach(t, l.done.Load()+50)
			during := p.shipping()
			end()
			after := p.until("what waited to be stored, after the bucket was "+trouble.name, func(s shipping) bool { return s.shipped >= during.shipped+during.waiting })
			t.Logf("while the bucket was %s, %d segments waited, and attempts failed: %v", trouble.name, during.waiting, after.failures)
		})
	}

	// A pod that ends sends the rest, and marks its end. stop fails unless
	// it does so within the grace period.
	loaded(func(l *load) { l.reach(t, 50) })
	p.stop()
	if left := slices.Collect(maps.Keys(uuids(t, store.Dir(p.volumes[contract.RecordingVolume])))); len(left) > 0 {
		t.Errorf("%d exchanges stayed in the pod", len(left))
	}
	for _, r := range all {
		if r.err != nil {
			t.Errorf("%s: %v", r.path, r.err)
		}
	}
	t.Logf("%d requests", len(all))
	for name, s := range map[string]store.Store{"the bucket": c.bucket.place(), "the collector's read port": c.readPort()} {
		c.complete(name, s, all, kept)
	}
	for _, d := range decisions(t, p.envoy, "outbound", "collector.speedscale:", 1) {
		if !d.MTLS || d.Error != "" {
			t.Errorf("the pod's Envoy decided %+v, want the collector by mTLS", d)
		}
	}
}

// complete fails the test unless a store has every exchange of the pod once.
func (c *collecting) complete(name string, s store.Store, all []request, kept map[recording.UUID]int) {
	t := c.t
	t.Helper()
	raw := uuids(t, s)
	for uuid, n := range raw {
		if n != 1 {
			t.Errorf("%s has %s %d times", name, uuid, n)
		}
	}
	for uuid := range kept {
		if raw[uuid] != 1 {
			t.Errorf("%s has not %s, which was in the pod", name, uuid)
		}
	}
	r, err := read.Open(t.Context(), read.Query{}, read.Options{Parts: true}, s)
	if err != nil {
		t.Fatal(err)
	}
	inbound, read := map[string]int{}, 0
	for record, err := range r.Records() {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if read++; raw[record.UUID] != 1 {
			t.Errorf("%s: %s is read, and not there", name, record.UUID)
		}
		if record.Direction == recording.In {
			inbound[uri(*record.Exchange)]++
		}
	}
	if read != len(raw) {
		t.Errorf("%s: %d exchanges are read, %d are there", name, read, len(raw))
	}
	// The counters of the processes say that there were two, that each ended in order, and that no
	// segment is missing.
	recorded, leftOut := uint64(0), uint64(0)
	processes := r.Report().Processes
	for _, p := range processes {
		recorded, leftOut = recorded+p.Recorded, leftOut+p.LeftOut()
		if !p.End || len(p.Missing) > 0 || p.MissingExchanges > 0 {
			t.Errorf("%s: of the process that began at %s, the end is there: %t; missing are the segments %v with %d exchanges", name, p.Started, p.End, p.Missing, p.MissingExchanges)
		}
	}
	if len(processes) != 2 || recorded != uint64(len(raw)) {
		t.Errorf("%s: %d processes recorded %d exchanges, want 2 and %d", name, len(processes), recorded, len(raw))
	}
	missing := 0
	for _, request := range all {
		switch inbound[request.path] {
		case 1:
		case 0:
			missing++
		default:
			t.Errorf("%s has %s %d times", name, request.path, inbound[request.path])
		}
	}
	if uint64(missing) > leftOut { // a busy machine may drop some, which are counted
		t.Errorf("%s: %d requests are missing, and %d are counted as left out", name, missing, leftOut)
	}
	t.Logf("%s has %d exchanges, %d were left out", name, len(raw), leftOut)
}

// uuids returns how often each exchange is in the objects of a store, read one by one.
func uuids(t *testing.T, s store.Store) map[recording.UUID]int {
	t.Helper()
	found := map[recording.UUID]int{}
	for o, err := range s.List(t.Context(), "cluster=") {
		if err != nil {
			t.Fatal(err)
		}
		func() {
			object, err := s.Get(t.Context(), o.Key)
			if err != nil {
				t.Fatal(err)
			}
			defer object.Close()
			r, err := recording.NewReader(object)
			if err != nil {
				t.Fatalf("%s: %v", o.Key, err)
			}
			defer r.Close()
			var e recording.Exchange
			for err = r.Next(&e); err == nil; err = r.Next(&e) {
				found[e.UUID]++
			}
			if err != io.EOF {
				t.Errorf("%s: %v", o.Key, err)
			}
		}()
	}
	return found
}

// trouble is a failure of a bucket.
type trouble struct {
	name  string
	begin func() (end func())
	shows func(before, now shipping) bool
}

func (c *collecting) troubles() []trouble {
	failed := func(reason string) func(before, now shipping) bool {
		return func(before, now shipping) bool { return now.failures[reason] > before.failures[reason] }
	}
	held := make(chan string, 100)
	return []trouble{
		{"slow", func() func() {
			release := make(chan bool)
			c.bucket.doing(func(_ http.ResponseWriter, r *http.Request) bool {
				select {
				case held <- r.URL.Path:
				default:
				}
				select {
				case <-release:
				case <-r.Context().Done():
				}
				return false
			})
			return func() {
				c.bucket.healed()
				close(release)
			}
		}, func(shipping, shipping) bool { return len(held) > 0 }},
		{"failing", func() func() {
			c.bucket.doing(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = io.WriteString(w, "<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>")
				return true
			})
			return c.bucket.healed
		}, failed(contract.RefusedStore)},
		{"gone", func() func() {
			c.bucket.close()
			return c.bucket.open
		}, failed(contract.RefusedStore)},
		{"full", c.bucket.fill, failed(contract.RefusedFull)},
	}
}

// othersCannotWrite sends segments of the namespace shop from elsewhere in the mesh:
// with the token of another namespace, from another namespace with a stolen token, and
// from the application, which has the pod's identity and no token.
func (c *collecting) othersCannotWrite() {
	t := c.t
	app := c.container(t, "app")
	if slices.ContainsFunc(app.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == contract.SinkTokenVolume }) {
		t.Errorf("the application mounts the token: %v", app.VolumeMounts)
	}
	for _, one := range []struct {
		name, identity, token, namespace, code string
	}{
		{"another namespace's token", foreignIdentity, c.token("bank"), "shop", contract.RefusedNamespace},
		{"a stolen token", foreignIdentity, c.token("shop"), "shop", contract.RefusedPrincipal},
		{"the application", appIdentity, "", "shop", contract.RefusedToken},
		{"what is its own", foreignIdentity, c.token("bank"), "bank", ""},
		{"the namespaces own", appIdentity, c.token("shop"), "shop", ""},
	} {
		if code := c.upload(one.identity, strings.TrimSpace(one.token), one.namespace, one.name); code != one.code {
			t.Errorf("%s: refused with %q, want %q", one.name, code, one.code)
		}
	}
	var stored []string
	for o, err := range c.bucket.place().List(t.Context(), "cluster=") {
		if err != nil {
			t.Fatal(err)
		}
		if key, err := recording.ParseSegmentKey(o.Key); err == nil && key.Pod != "app-0" {
			stored = append(stored, key.Namespace+"/"+key.Pod)
		}
	}
	if want := []string{"bank/what-is-its-own", "shop/the-namespaces-own"}; !slices.Equal(stored, want) {
		t.Errorf("the bucket has segments of %q, want %q", stored, want)
	}
}

// upload sends a segment of a namespace with an identity in the mesh, claims the application's
// identity, too, and returns the code of the refusal, or "" if there is none.
func (c *collecting) upload(identity, token, namespace, pod string) (code string) {
	t := c.t
	t.Helper()
	segment, key := oneSegment(t, namespace, strings.ReplaceAll(pod, " ", "-"))
	sum := sha256.Sum256(segment)
	key.Digest = hex.EncodeToString(sum[:])[:recording.DigestDigits]
	host := fmt.Sprintf("collector.speedscale:%d", contract.CollectorPort)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+host+contract.SegmentsPath+key.String(), bytes.NewReader(segment))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contract.SegmentType)
	req.Header.Set(contract.HeaderContract, strconv.Itoa(contract.Version))
	req.Header.Set(contract.HeaderDigest, "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	req.Header.Set("X-Forwarded-Client-Cert", "By="+collectorIdentity+";URI="+appIdentity)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	dial := c.dialerOf(identity, net.JoinHostPort(c.of(collectorService), strconv.Itoa(contract.CollectorPort)))
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, "istio-http/1.1") },
	}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusCreated {
		return ""
	}
	var problem struct{ Code string }
	if text, err := io.ReadAll(res.Body); err != nil || json.Unmarshal(text, &problem) != nil {
		t.Errorf("%s %q %v", res.Status, text, err)
	}
	return problem.Code
}

// oneSegment returns a segment with one exchange of a namespace.
func oneSegment(t *testing.T, namespace, pod string) ([]byte, recording.SegmentKey) {
	t.Helper()
	dir := spool.Dir(t.TempDir())
	segments, err := spool.NewSegments(dir, spool.SegmentOptions{Namespace: namespace, Workload: "app", Pod: pod})
	if err != nil {
		t.Fatal(err)
	}
	e := recording.Exchange{MsgType: recording.MsgType, TS: time.Now(), Direction: recording.In, Cluster: recording.Undefined, Namespace: namespace, Service: "app", Command: "GET", Location: "/forged"}
	if _, err = segments.WriteLines(append(e.AppendJSON(nil), '\n'), 1); err == nil {
		_, err = segments.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := dir.Segments()
	if err != nil || len(found) != 1 {
		t.Fatalf("%v %v", found, err)
	}
	key, err := recording.ParseSegmentKey(found[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(readFile(t, dir.Path(found[0].Name))), key
}
