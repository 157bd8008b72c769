package ship

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is the address at which a testPod reaches its fakeCollector.
func place(t testing.TB) contract.Place {
	p, err := contract.ParseSink("http://collector.example:4310")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fakeCollector handles segments as a collector does: it stores each key once, and checks what can
// be checked by the bytes alone.
type fakeCollector struct {
	mu       sync.Mutex
	segments map[string][]byte
	order    []string // the keys, in the order in which they were stored
	requests int
	// trouble, unless it is nil, is asked before a segment is stored, and again when it is,
	// before the answer. If it returns true, it has answered.
	trouble func(w http.ResponseWriter, r *http.Request, stored bool) bool
}

func (s *fakeCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(contract.HeaderContract, fmt.Sprint(contract.Version))
	s.mu.Lock()
	s.requests++
	trouble := s.trouble
	s.mu.Unlock()
	if trouble != nil && trouble(w, r, false) {
		return
	}
	key, ok := strings.CutPrefix(r.URL.Path, contract.SegmentsPath)
	parsed, err := recording.ParseSegmentKey(key)
	body, readErr := io.ReadAll(r.Body)
	if readErr != nil {
		refuse(w, contract.RefusedIncomplete)
		return
	}
	sum := sha256.Sum256(body)
	switch {
	case !ok || err != nil || r.Method != http.MethodPut || r.Header.Get("Content-Type") != contract.SegmentType:
		refuse(w, contract.RefusedKey)
		return
	case parsed.Digest != hex.EncodeToString(sum[:])[:recording.DigestDigits],
		r.Header.Get(contract.HeaderDigest) != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":":
		refuse(w, contract.RefusedDigest)
		return
	case r.Header.Get(contract.HeaderContract) != fmt.Sprint(contract.Version):
		refuse(w, contract.RefusedContract)
		return
	}
	s.mu.Lock()
	_, there := s.segments[key]
	if !there {
		if s.segments == nil {
			s.segments = map[string][]byte{}
		}
		s.segments[key] = body
		s.order = append(s.order, key)
	}
	s.mu.Unlock()
	if trouble != nil && trouble(w, r, true) {
		return
	}
	if !there {
		w.WriteHeader(http.StatusCreated)
	}
}

// refuse answers with a refusal.
func refuse(w http.ResponseWriter, code string) {
	r, ok := contract.RefusalOf(code)
	if !ok {
		panic(code)
	}
	w.Header().Set("Content-Type", contract.ProblemType)
	w.WriteHeader(r.Status)
	fmt.Fprintf(w, `{"code":%q,"detail":"for a test"}`, code)
}

// cut breaks the connection, as a process that is killed does.
func cut(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }

func (s *fakeCollector) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *fakeCollector) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// exchanges returns how often each location was stored.
func (s *fakeCollector) exchanges(t testing.TB) map[string]int {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]int{}
	for key, segment := range s.segments {
		for _, e := range exchangesOf(t, key, segment) {
			found[e.Location]++
		}
	}
	return found
}

func exchangesOf(t testing.TB, key string, segment []byte) (all []*recording.Exchange) {
	t.Helper()
	r, err := recording.NewReader(bytes.NewReader(segment))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		e := new(recording.Exchange)
		if err := r.Next(e); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		all = append(all, e)
	}
}

// network is a network on which the collector can be reached or not.
type network struct {
	mu    sync.Mutex
	conns chan net.Conn
	down  bool
	calls []string // addresses that were dialed
	once  sync.Once
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.calls = append(n.calls, addr)
	down := n.down
	n.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	select {
	case n.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *network) set(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// called returns the addresses that were dialed.
func (n *network) called() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.calls)
}

// Accept, Close and Addr implement [net.Listener].
func (n *network) Accept() (net.Conn, error) {
	c, ok := <-n.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (n *network) Close() error   { n.once.Do(func() { close(n.conns) }); return nil }
func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

// testPod is a pod with a spool, and a collector. It lives in a bubble of synctest.
type testPod struct {
	*fakeCollector
	*network
	t    *testing.T
	dir  string
	logs *logbuffer.Buffer
	*Shipper
	recorder *spool.Recorder
	token    func() (string, error)
	over     chan struct{} // closed at the end
}

// inPod runs a test in a bubble, with virtual time.
func inPod(t *testing.T, test func(t *testing.T, w *testPod)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &testPod{fakeCollector: new(fakeCollector), network: &network{conns: make(chan net.Conn)}, t: t, dir: t.TempDir(), logs: new(logbuffer.Buffer), over: make(chan struct{})}
		server := &http.Server{Handler: w.fakeCollector, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		go server.Serve(w.network)
		test(t, w)
		if w.Shipper != nil {
			w.close(0)
		}
		close(w.over)
		server.Close()
		synctest.Wait()
	})
}

// start starts the pod's process: its recorder and its shipper.
func (w *testPod) start() {
	w.t.Helper()
	w.Shipper = New(Options{Dir: spool.Dir(w.dir), Collector: place(w.t), Log: slog.New(slog.NewTextHandler(w.logs, nil)),
		Token: func() (string, error) {
			if w.token == nil {
				return "", nil
			}
			return w.token()
		}, dial: w.dial})
	w.startRecorder(w.Wake)
	w.Shipper.Start()
}

func (w *testPod) startRecorder(completed func()) {
	w.t.Helper()
	var err error
	w.recorder, err = spool.Open(w.dir, spool.Options{SegmentOptions: spool.SegmentOptions{Cluster: "c1", Namespace: "shop", Workload: "cart", Pod: "cart-0", Completed: completed}})
	if err != nil {
		w.t.Fatal(err)
	}
}

// record records exchanges from number to number, one each minute.
func (w *testPod) record(from, to int) {
	w.t.Helper()
	for n := from; n < to; n++ {
		if err := w.recorder.Write(numbered(n)); err != nil {
			w.t.Error(err)
		}
		time.Sleep(time.Minute)
	}
}

func numbered(n int) *recording.Exchange {
	e := &recording.Exchange{MsgType: recording.MsgType, Direction: recording.In, Location: fmt.Sprintf("/%d", n), Cluster: "c1", Namespace: "shop", Service: "cart",
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{Body: bytes.Repeat([]byte{byte(n)}, 100)}}}
	sum := sha256.Sum256([]byte(e.Location))
	copy(e.UUID[:], sum[:])
	return e
}

// close ends the process in order, and returns how long shipping took.
func (w *testPod) close(within time.Duration) time.Duration {
	w.t.Helper()
	if err := w.recorder.Close(context.Background()); err != nil {
		w.t.Error(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	w.Shipper.Close(ctx)
	took := time.Since(began)
	<-w.Shipper.ended
	w.Shipper = nil
	return took
}

// files lists the segments in the spool by their base names.
func (w *testPod) files() (names []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(name, "hour=") {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

// wantOnce fails unless the exchanges up to a number are stored, each once.
func (w *testPod) wantOnce(n int) {
	w.t.Helper()
	want := map[string]int{}
	for i := range n {
		want[fmt.Sprintf("/%d", i)] = 1
	}
	if got := w.exchanges(w.t); !maps.Equal(got, want) {
		w.t.Errorf("stored are %v, want each of %d once", got, n)
	}
}
