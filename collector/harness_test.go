package collector_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

// key is the collector's key for tokens.
var key = []byte("0123456789abcdef0123456789abcdef")

// hour is the hour of the segments.
var hour = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)

// running is a collector that serves.
type running struct {
	*collector.Collector
	dir                string // of the store, unless the test has its own
	write, read, admin string // URLs
	log                *logbuffer.Buffer
	client             *http.Client
	stop               func() error
}

// start runs a collector in front of a directory.
func start(t *testing.T, change ...func(*collector.Options, *collector.Ports)) *running {
	t.Helper()
	r := &running{dir: t.TempDir(), log: new(logbuffer.Buffer)}
	registry := prometheus.NewRegistry()
	o := collector.Options{
		Store: store.Dir(r.dir), Keys: func() [][]byte { return [][]byte{key} }, TempDir: t.TempDir(), Metrics: registry,
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	p := collector.Ports{Write: listen(t), Read: listen(t), Admin: listen(t), Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{})}
	for _, change := range change {
		change(&o, &p)
	}
	r.write, r.read, r.admin = "http://"+p.Write.Addr().String(), "http://"+p.Read.Addr().String(), "http://"+p.Admin.Addr().String()
	if p.TLS != nil {
		r.write = "https://" + p.Write.Addr().String()
	}
	var err error
	if r.Collector, err = collector.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, p) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	r.client = &http.Client{Transport: transport, Timeout: time.Minute}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := r.stop(); err != nil {
			t.Errorf("the collector ended with %v", err)
		}
	})
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// shop is the key of the segments of a pod, without a digest.
func shop() recording.SegmentKey {
	return recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart", Hour: hour}, Began: hour.Add(15 * time.Minute), Pod: "cart-7d4b"}
}

// exchange returns a line of a segment of shop.
func exchange(n int, change ...func(*recording.Exchange)) []byte {
	e := &recording.Exchange{
		MsgType: recording.MsgType, UUID: recording.UUID{byte(n), byte(n >> 8), 1}, TS: hour.Add(15*time.Minute + time.Duration(n)), Direction: recording.In, L7Protocol: recording.HTTP1,
		Cluster: "c1", Namespace: "shop", Service: "cart", Command: "GET", Location: fmt.Sprintf("/cart/%d", n), Status: "200", NetworkAddress: "cart:80",
		HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{Method: "GET", Host: "cart", URL: fmt.Sprintf("/cart/%d", n), Headers: recording.Headers{{Name: "Accept", Value: "*/*"}}},
			Res: recording.HTTPResponse{StatusCode: 200, ContentType: "application/json", Body: []byte(`{"items":[]}`)},
		},
		NetInfo: &recording.NetInfo{ID: "1", StartTime: hour},
	}
	for _, change := range change {
		change(e)
	}
	return append(e.AppendJSON(nil), '\n')
}

// counters returns the last line of a segment of shop.
func counters(change ...func(*recording.Counters)) []byte {
	c := recording.Counters{Pod: "cart-7d4b", Recorded: 1}
	for _, change := range change {
		change(&c)
	}
	return c.AppendLine(nil, "c1", "shop", "cart")
}

func lines(all ...[]byte) []byte { return bytes.Join(all, nil) }

// compress returns one frame.
func compress(t testing.TB, text []byte, options ...zstd.EOption) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(128 << 10)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(text, nil)
}

// upload is a request as a sidecar makes it, before a test changes it.
type upload struct {
	key    recording.SegmentKey
	name   string // of the key; "": the key's
	body   []byte
	token  string // "": the one of the key's namespace
	method string
	header http.Header
	change func(*http.Request)
}

func segment(t testing.TB, text []byte) *upload {
	return of(shop(), compress(t, text))
}

// of returns an upload of these bytes, whose key has their digest.
func of(k recording.SegmentKey, body []byte) *upload {
	sum := sha256.Sum256(body)
	k.Digest = hex.EncodeToString(sum[:])[:recording.DigestDigits]
	return &upload{key: k, body: body, header: http.Header{
		contract.HeaderDigest:   {"sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"},
		contract.HeaderContract: {strconv.Itoa(contract.Version)},
		"Content-Type":          {contract.SegmentType},
	}}
}

func (u *upload) with(name, value string) *upload {
	u.header.Set(name, value)
	return u
}

func (u *upload) request(ctx context.Context, base string) *http.Request {
	method, name := u.method, u.name
	if method == "" {
		method = http.MethodPut
	}
	if name == "" {
		name = u.key.String()
	}
	req, err := http.NewRequestWithContext(ctx, method, base+contract.SegmentsPath+name, bytes.NewReader(u.body))
	if err != nil {
		panic(err)
	}
	req.Header = u.header.Clone()
	if token := u.token; token != "-" {
		if token == "" {
			token = contract.CollectorToken(key, u.key.Cluster, u.key.Namespace)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if u.change != nil {
		u.change(req)
	}
	return req
}

// answer is a collector's answer.
type answer struct {
	status       int
	code, detail string
	header       http.Header
}

func (r *running) send(t testing.TB, u *upload) answer {
	t.Helper()
	a, err := r.try(u, r.client)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *running) try(u *upload, client *http.Client) (a answer, err error) {
	resp, err := client.Do(u.request(context.Background(), r.write))
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a = answer{status: resp.StatusCode, header: resp.Header}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), contract.ProblemType) {
		var p struct {
			Status       int
			Code, Detail string
		}
		if err := json.Unmarshal(text, &p); err != nil || p.Status != a.status {
			return a, fmt.Errorf("the answer %q: %w", text, err)
		}
		a.code, a.detail = p.Code, p.Detail
	}
	return a, nil
}

// stored returns the object of a directory.
func (r *running) stored(t testing.TB, u *upload) []byte {
	t.Helper()
	body, err := os.ReadFile(r.dir + "/" + u.key.String())
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// keys lists the segments that are stored.
func (r *running) keys(t testing.TB) (all []string) {
	t.Helper()
	for o, err := range store.Dir(r.dir).List(context.Background(), "cluster=") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Key)
	}
	return all
}

// metric returns a line of /metrics.
func (r *running) metric(t testing.TB, series string) string {
	t.Helper()
	resp, err := r.client.Get(r.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
