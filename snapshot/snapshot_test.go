package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

var began = time.Date(2026, 11, 22, 20, 59, 59, 0, time.UTC)

// exchange returns the nth exchange of a recording: one a second, of two workloads.
func exchange(n int, change ...func(*recording.Exchange)) *recording.Exchange {
	e := &recording.Exchange{
		MsgType: recording.MsgType, UUID: recording.UUID{byte(n >> 8), byte(n), 1}, TS: began.Add(time.Duration(n) * time.Second),
		Direction: []string{recording.In, recording.Out}[n&1], L7Protocol: recording.HTTP1,
		Cluster: "c1", Namespace: "shop", Service: []string{"cart", "checkout"}[n&1],
		Command: "GET", Location: fmt.Sprintf("/%d", n), Status: "200", NetworkAddress: "prices:80",
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: "GET", Host: "prices", URL: fmt.Sprintf("/%d", n)}},
	}
	for _, f := range change {
		f(e)
	}
	return e
}

func some(n int) []*recording.Exchange {
	var all []*recording.Exchange
	for i := range n {
		all = append(all, exchange(i))
	}
	return all
}

// input gives exchanges, and then an error unless it is nil.
func input(all []*recording.Exchange, err error) Input {
	return Input{
		From: From{Place: "s3://prod", Query: map[string]string{"namespace": "shop"}},
		Exchanges: func(yield func(*recording.Exchange, error) bool) {
			for _, e := range all {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, err)
			}
		},
		Facts: func() Facts {
			return Facts{Capture: Capture{Processes: 2, Recorded: 9, Dropped: 1, Filtered: 2, SampledOut: 3, Cut: 4, Incomplete: 5}, RedactKeys: []string{"b", "a", "b"}}
		},
	}
}

func create(t testing.TB, s store.Store, all []*recording.Exchange, o Options) (contract.SnapshotRef, *Manifest) {
	t.Helper()
	ref, m, err := Create(t.Context(), s, input(all, nil), o)
	if err != nil {
		t.Fatal(err)
	}
	return ref, m
}

// locations returns the paths of a store's exchanges in the order of the keys.
func locations(t testing.TB, s store.Store) (found []string) {
	t.Helper()
	for o, err := range s.List(t.Context(), "cluster=") {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := recording.ParseSegmentKey(o.Key); err != nil {
			t.Error(err)
		}
		r, err := s.Get(t.Context(), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		in, err := recording.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		for {
			var e recording.Exchange
			err := in.Next(&e)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", o.Key, err)
			}
			found = append(found, strings.Split(o.Key, "/date")[0]+e.Location)
		}
		in.Close()
		r.Close()
	}
	return found
}

func TestASnapshotHasWhatItWasMadeOf(t *testing.T) {
	s := store.Dir(t.TempDir())
	ref, m := create(t, s, some(5), Options{Version: "v9"})
	o, err := Open(t.Context(), s, ref.ID, ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"cluster=c1/namespace=shop/workload=cart/0",
		"cluster=c1/namespace=shop/workload=cart/2", "cluster=c1/namespace=shop/workload=cart/4",
		"cluster=c1/namespace=shop/workload=checkout/1", "cluster=c1/namespace=shop/workload=checkout/3",
	}
	if diff := cmp.Diff(want, locations(t, o.Store())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wanted := Manifest{
		Format: 1, Version: "v9", ID: ref.ID, Created: m.Created,
		From:  From{Place: "s3://prod", Query: map[string]string{"namespace": "shop"}, Selected: 5},
		First: began, Last: began.Add(4 * time.Second), Exchanges: 5,
		Counts: Counts{
			Directions: []Count{{"IN", 3}, {"OUT", 2}}, Protocols: []Count{{"http", 5}},
			Workloads: []Count{{"c1/shop/cart", 3}, {"c1/shop/checkout", 2}}, Hosts: []Count{{"prices", 5}},
		},
		LeftOut: []RuleCount{{Rule: "incomplete"}, {Rule: "replay"}, {Rule: "probes"}, {Rule: "telemetry"}},
		Capture: Capture{Processes: 2, Recorded: 9, Dropped: 1, Filtered: 2, SampledOut: 3, Cut: 4, Incomplete: 5}, RedactKeys: []string{"a", "b"}, Files: m.Files,
	}
	for _, got := range []*Manifest{m, &o.Manifest} {
		if diff := cmp.Diff(&wanted, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	if len(m.Files) != 4 || m.Files[0].Key != "_duckdb.sql" { // two hours of one workload, one of the other
		t.Errorf("%+v", m.Files)
	}
}

// memory is a store that takes no time to sync.
type memory struct {
	store.Store // for methods that it does not implement
	objects     map[string]string
}

func (m memory) Put(_ context.Context, key string, body io.ReadSeeker) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	text, err := io.ReadAll(body)
	m.objects[key] = string(text)
	return err
}

func (m memory) Get(_ context.Context, key string) (io.ReadCloser, error) {
	text, ok := m.objects[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func (m memory) List(_ context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(m.objects)) {
			if strings.HasPrefix(key, prefix) && !yield(store.Object{Key: key, Size: int64(len(m.objects[key]))}, nil) {
				return
			}
		}
	}
}

// The order within a workload stays the same with many workloads, and with files that end by size.
func TestFilesEndBySizeAndAreFew(t *testing.T) {
	s := memory{objects: map[string]string{}}
	const workloads = maxOpen + 100
	all := some(2 * workloads)
	for i, e := range all {
		e.Service = fmt.Sprint("w", i%workloads)
		if i%7 == 0 {
			e.Service = "busy"
		}
		e.TS = began
	}
	ref, m := create(t, s, all, Options{FileBytes: 4 << 10})
	o, err := Open(t.Context(), s, ref.ID, ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	found := locations(t, o.Store())
	last := map[string]int{}
	for _, f := range found {
		workload, number, _ := strings.Cut(strings.TrimPrefix(f, "cluster=c1/namespace=shop/workload="), "/")
		var n int
		fmt.Sscan(number, &n)
		if before, ok := last[workload]; ok && n <= before {
			t.Fatalf("%s: %d comes after %d", workload, n, before)
		}
		last[workload] = n
	}
	if len(found) != len(all) || len(m.Counts.Workloads) != maxNames || m.Counts.Rest.Workloads == 0 {
		t.Errorf("%d exchanges; %d names, %d rest", len(found), len(m.Counts.Workloads), m.Counts.Rest.Workloads)
	}
	if len(m.Files) > workloads+250 {
		t.Errorf("%d files", len(m.Files))
	}
}

func TestExchangesOutOfOrderAreRefused(t *testing.T) {
	all := some(3)
	slices.Reverse(all)
	if _, _, err := Create(t.Context(), store.Dir(t.TempDir()), input(all, nil), Options{}); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Error(err)
	}
}

func header(name, value string) func(*recording.Exchange) {
	return func(e *recording.Exchange) {
		e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, recording.Header{Name: name, Value: value})
	}
}

func tag(name, value string) func(*recording.Exchange) {
	return func(e *recording.Exchange) { e.Tags.Set(name, value) }
}

func call(method, path string) func(*recording.Exchange) {
	return func(e *recording.Exchange) { e.Command, e.Location = method, path }
}

func talk(part int, last bool) func(*recording.Exchange) {
	return func(e *recording.Exchange) { e.GRPC = &recording.Conversation{Part: part, Last: last} }
}

func to(host string) func(*recording.Exchange) {
	return func(e *recording.Exchange) { e.HTTP.Req.Host = host }
}

func TestRulesLeaveOutWhatNobodyReplays(t *testing.T) {
	in, out := 0, 1 // the numbers whose exchanges are inbound and outbound
	for name, c := range map[string]struct {
		rule string // "": it is taken
		e    *recording.Exchange
	}{
		"an ordinary call":                {"", exchange(in)},
		"a call that was cut":             {"", exchange(in, tag(recording.TagTruncated, "true"))},
		"no answer":                       {"incomplete", exchange(in, tag(recording.TagIncomplete, "no_answer"))},
		"what could not be decoded":       {"incomplete", exchange(in, tag(recording.TagUndecoded, "http1: malformed"))},
		"the end of a conversation alone": {"incomplete", exchange(in, talk(2, true))},
		"a conversation without its end":  {"incomplete", exchange(in, talk(1, false))},
		"a conversation":                  {"", exchange(in, talk(1, true))},
		"a replay's request":              {"replay", exchange(in, tag(recording.TagReplay, "run-1"))},
		"kubelet":                         {"probes", exchange(in, header("User-Agent", "kube-probe/1.34"))},
		"Envoy":                           {"probes", exchange(in, header("User-Agent", "Envoy/HC"))},
		"load balancer of Google":         {"probes", exchange(in, header("User-Agent", "GoogleHC/1.0"))},
		"load balancer of Amazon":         {"probes", exchange(in, header("User-Agent", "ELB-HealthChecker/2.0"))},
		"Consul":                          {"probes", exchange(in, header("User-Agent", "Consul Health Check"))},
		"gRPC health":                     {"probes", exchange(in, call("POST", "/grpc.health.v1.Health/Check"))},
		"an application's health":         {"", exchange(in, call("GET", "/healthz"), header("User-Agent", "curl/8"))},
		"scrape":                          {"telemetry", exchange(in, call("GET", "/metrics"))},
		"scrape of another path":          {"telemetry", exchange(in, call("GET", "/actuator/prometheus"), header("User-Agent", "Prometheus/3.1"))},
		"a call of another's metrics":     {"", exchange(out, call("GET", "/metrics"))},
		"metrics that are posted":         {"", exchange(in, call("POST", "/metrics"))},
		"OTLP over gRPC":                  {"telemetry", exchange(out, call("POST", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"))},
		"OTLP over HTTP":                  {"telemetry", exchange(out, call("POST", "/v1/traces"), header("Content-Type", "application/x-protobuf"))},
		"OTLP in JSON":                    {"telemetry", exchange(out, call("POST", "/v1/logs"), to("otel-collector.monitoring:4318"))},
		"another's traces":                {"", exchange(out, call("POST", "/v1/traces"), header("Content-Type", "application/json"))},
		"Zipkin":                          {"telemetry", exchange(out, call("POST", "/api/v2/spans"))},
		"Jaeger":                          {"telemetry", exchange(out, call("POST", "/api/traces"), header("Content-Type", "application/x-thrift"))},
		"remote write":                    {"telemetry", exchange(out, call("POST", "/push"), header("X-Prometheus-Remote-Write-Version", "0.1.0"))},
		"Datadog":                         {"telemetry", exchange(out, call("PUT", "/v0.4/traces"), header("Datadog-Meta-Lang", "go"))},
		"Sentry":                          {"telemetry", exchange(out, call("POST", "/api/42/envelope/"))},
		"the first rule counts":           {"incomplete", exchange(in, call("GET", "/metrics"), tag(recording.TagIncomplete, "reset"))},
	} {
		t.Run(name, func(t *testing.T) {
			for _, keep := range [][]string{nil, {c.rule}} {
				if c.rule == "" {
					keep = nil
				}
				all := []*recording.Exchange{exchange(-1), c.e} // so that one is left in any case
				_, m := create(t, store.Dir(t.TempDir()), all, Options{Keep: keep})
				taken := int64(1)
				if c.rule == "" || keep != nil {
					taken++
				}
				if m.Exchanges != taken || m.From.Selected != 2 {
					t.Errorf("keep %v: %d of %d are taken, want %d", keep, m.Exchanges, m.From.Selected, taken)
				}
				for _, r := range m.LeftOut {
					want := RuleCount{Rule: r.Rule, Kept: keep != nil && r.Rule == c.rule}
					if r.Rule == c.rule {
						want.Exchanges = 1
					}
					if r != want {
						t.Errorf("keep %v: %+v, want %+v", keep, r, want)
					}
				}
			}
		})
	}
	if _, _, err := Create(t.Context(), store.Dir(t.TempDir()), input(some(1), nil), Options{Keep: []string{"probe"}}); err == nil || err.Error() != `keep "probe": want incomplete, replay, probes, telemetry` {
		t.Error(err)
	}
}

func TestNoExchangesAreAnErrorThatSaysWhy(t *testing.T) {
	probes := []*recording.Exchange{exchange(0, header("User-Agent", "kube-probe/1")), exchange(2, tag(recording.TagIncomplete, "cut"))}
	for want, all := range map[string][]*recording.Exchange{
		"make snapshot: no exchanges were found": nil,
		"make snapshot: no exchanges are left: 2 were selected, and rules leave them out: incomplete (1), probes (1); --keep RULE keeps them": probes,
	} {
		dir := t.TempDir()
		_, _, err := Create(t.Context(), store.Dir(dir), input(all, nil), Options{})
		if !errors.Is(err, ErrNothing) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("%v are left", left)
		}
	}
}

func TestACaptureWithManyHostsHasAShortManifest(t *testing.T) {
	all := some(maxTally + 500)
	for i, e := range all {
		e.HTTP.Req.Host = fmt.Sprintf("host-%d", max(0, i-100))
	}
	all[0].HTTP.Req.Host = strings.Repeat("ü", 1000)
	_, m := create(t, store.Dir(t.TempDir()), all, Options{})
	if h := m.Counts.Hosts; len(h) != maxNames || h[0] != (Count{"host-0", 100}) || m.Counts.Rest.Hosts != int64(len(all)-100-99) {
		t.Errorf("%d hosts, the first is %v, %d others", len(h), h[0], m.Counts.Rest.Hosts)
	}
	if s := shorten(strings.Repeat("ü", 1000)); len(s) > contract.MaxHostName+3 || !strings.HasSuffix(s, "ü…") {
		t.Errorf("%d bytes, %q", len(s), s)
	}
}

// files returns the names of all files in a directory, hidden ones included.
func files(t testing.TB, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ = filepath.Rel(dir, name)
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAnErrorLeavesNothingBehind(t *testing.T) {
	gone := errors.New("the bucket is gone")
	dir := t.TempDir()
	_, _, err := Create(t.Context(), store.Dir(dir), input(some(10), gone), Options{FileBytes: 1})
	if !errors.Is(err, gone) {
		t.Error(err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("%v are left", left)
	}

	ctx, cancel := context.WithCancel(t.Context())
	in := input(some(10), nil)
	_, _, err = Create(ctx, store.Dir(dir), in, Options{FileBytes: 1, Progress: func(_, taken int64) {
		if taken == 5 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// idOf returns the ID of the only snapshot folder.
func idOf(t *testing.T, s store.Store) (id string) {
	t.Helper()
	for folder, err := range s.Folders(t.Context(), contract.SnapshotsDir+"/") {
		if err != nil {
			t.Fatal(err)
		}
		id = strings.Split(folder, "/")[1]
	}
	return id
}

// The pin covers every byte of a snapshot.
func TestEveryChangeIsFound(t *testing.T) {
	dir := t.TempDir()
	s := store.Dir(dir)
	ref, m := create(t, s, some(3), Options{})
	root := filepath.Join(dir, contract.SnapshotsDir, ref.ID)
	in := func(key string) string { return filepath.Join(root, filepath.FromSlash(key)) }
	for _, key := range append(files(t, root), "extra.jsonl.zst", filepath.Join(filepath.Dir(m.Files[1].Key), "20261122T201500.123Z-x-9.jsonl.zst")) {
		whole, err := os.ReadFile(in(key))
		changes := map[string]func() error{
			"removed":  func() error { return os.Remove(in(key)) },
			"emptied":  func() error { return os.WriteFile(in(key), nil, 0o600) },
			"cut":      func() error { return os.WriteFile(in(key), whole[:len(whole)-1], 0o600) },
			"extended": func() error { return os.WriteFile(in(key), append(whole[:len(whole):len(whole)], 0), 0o600) },
		}
		if err != nil {
			changes = map[string]func() error{"added": func() error { return os.WriteFile(in(key), nil, 0o600) }}
		}
		for i := 0; i < len(whole); i += 1 + len(whole)/100 { // all, of a short file
			changes[fmt.Sprintf("byte %d", i)] = func() error {
				changed := slices.Clone(whole)
				changed[i] ^= 1 << (i % 8)
				return os.WriteFile(in(key), changed, 0o600)
			}
		}
		for what, change := range changes {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			_, err := Verify(t.Context(), s, ref.ID, ref.Digest, nil)
			if err == nil || !strings.Contains(err.Error(), filepath.ToSlash(key)) {
				t.Errorf("%s %s: %v", key, what, err)
			}
			if key == ManifestName || strings.HasPrefix(what, "byte") {
				if what != "removed" && !errors.Is(err, ErrTampered) {
					t.Errorf("%s %s: %v", key, what, err)
				}
			}
			// A reader finds the change when it opens the snapshot, or before the first byte of the file.
			o, err := Open(t.Context(), s, ref.ID, ref.Digest)
			if err == nil {
				var r io.ReadCloser
				if r, err = o.Store().Get(t.Context(), filepath.ToSlash(key)); err == nil {
					r.Close()
				}
			}
			if err == nil || !strings.Contains(err.Error(), filepath.ToSlash(key)) {
				t.Errorf("%s %s: reading says %v", key, what, err)
			}
			if whole == nil {
				os.Remove(in(key))
			} else if err := os.WriteFile(in(key), whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Verify(t.Context(), s, ref.ID, ref.Digest, nil); err != nil {
		t.Error(err)
	}
}

// A change of a file and of its hash in the manifest changes the pin.
func TestAChangedManifestHasAnotherPin(t *testing.T) {
	dir := t.TempDir()
	s := store.Dir(dir)
	ref, m := create(t, s, some(3), Options{})
	name := filepath.Join(dir, contract.SnapshotsDir, ref.ID, ManifestName)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files {
		if err := s.Delete(t.Context(), keyOf(ref.ID, f.Key)); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), keyOf(ref.ID, f.Key), strings.NewReader(strings.Repeat("x", int(f.Bytes)))); err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), f.SHA256, digestOf([]byte(strings.Repeat("x", int(f.Bytes))))))
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), s, ref.ID, "", nil); err != nil {
		t.Errorf("without a pin: %v", err)
	}
	if _, err := Open(t.Context(), s, ref.ID, ref.Digest); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), ref.Digest) {
		t.Errorf("with its pin: %v", err)
	}
	// Another snapshot can't take its place, either.
	other, _ := create(t, s, some(3), Options{})
	text, err = os.ReadFile(filepath.Join(dir, contract.SnapshotsDir, other.ID, ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), s, ref.ID, ""); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), other.ID) {
		t.Error(err)
	}
}

func TestListShowsTheOldestFirstAndWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	s := store.Dir(dir)
	if l, err := List(t.Context(), s); err != nil || len(l) > 0 {
		t.Errorf("%v, %v", l, err)
	}
	one, _ := create(t, s, some(1), Options{})
	two, _ := create(t, s, some(2), Options{})
	bad := strings.Replace(one.ID, one.ID[:8], "00000000", 1)
	for key, text := range map[string]string{keyOf(bad, ManifestName): "{}", "snapshots/notes/x": "x", "snapshots/y": "", keyOf(strings.Replace(bad, "0", "1", 1), "x"): ""} {
		if err := s.Put(t.Context(), key, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := List(t.Context(), s)
	if err != nil || len(l) != 3 || l[0].Ref.ID != bad || l[0].Err == nil || l[1].Ref != one || l[2].Ref != two || l[2].Manifest.Exchanges != 2 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestDeleteObeysThePin(t *testing.T) {
	s := store.Dir(t.TempDir())
	ref, m := create(t, s, some(1), Options{})
	if _, err := Delete(t.Context(), s, ref.ID, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "nothing was deleted") {
		t.Error(err)
	}
	if n, err := Delete(t.Context(), s, ref.ID, ref.Digest); err != nil || n != len(m.Files)+1 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := Delete(t.Context(), s, ref.ID, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open(t.Context(), s, ref.ID, ""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no snapshot has the id") {
		t.Error(err)
	}
}

func TestASnapshotsStoreIsItsFilesAndNeverChanges(t *testing.T) {
	s := store.Dir(t.TempDir())
	ref, m := create(t, s, some(4), Options{})
	o, err := Open(t.Context(), s, ref.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	inside := store.Dir(filepath.Join(string(s), contract.SnapshotsDir, ref.ID))
	for _, prefix := range []string{"", "cluster=", "cluster=c1/", "cluster=c1/namespace=shop/", "cluster=c1/namespace=shop/workload=c", "x", m.Files[1].Key} {
		keys := func(s store.Store) (found []string) {
			for o, err := range s.List(t.Context(), prefix) {
				if err != nil {
					t.Fatal(err)
				}
				if o.Key != ManifestName { // which is not read once the snapshot is open
					found = append(found, fmt.Sprint(o.Key, o.Size))
				}
			}
			return found
		}
		if diff := cmp.Diff(keys(inside), keys(o.Store())); diff != "" {
			t.Errorf("%q: list (-directory +snapshot)\n%s", prefix, diff)
		}
		folders := func(seq iter.Seq2[string, error]) (found []string) {
			for f, err := range seq {
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, f)
			}
			return found
		}
		if diff := cmp.Diff(folders(inside.Folders(t.Context(), prefix)), folders(o.Store().Folders(t.Context(), prefix))); diff != "" {
			t.Errorf("%q: folders (-directory +snapshot)\n%s", prefix, diff)
		}
	}
	if err := o.Store().Put(t.Context(), "x", strings.NewReader("")); !errors.Is(err, errImmutable) {
		t.Error(err)
	}
	if err := o.Store().Delete(t.Context(), m.Files[0].Key); !errors.Is(err, errImmutable) {
		t.Error(err)
	}
	if _, err := o.Store().Get(t.Context(), "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
