package sidecar

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/sidecar/ship"
)

// shipperEnv, when set, makes the test binary a sidecar that ships and will be killed. It has a
// shipping as JSON.
const shipperEnv = "TAPEDECK_TEST_SHIPPER"

// shipping is the configuration of such a sidecar and of the test.
type shipping struct {
	Collector string
	TokenFile string
	Spool     string
	// Witness is a directory with a second link to each segment that was completed.
	Witness string
}

// Sidecars are killed one after the other in one pod, at random moments of their work: at the
// start, and while they adopt, record, complete, send and remove. One of ten answers of the
// collector is lost after storing. In the end the store has each exchange of each complete segment
// exactly once, with the same bytes. It has all exchanges of the open segment that were flushed.
func TestKilledSidecarsStoreEachExchangeOnce(t *testing.T) {
	if text := os.Getenv(shipperEnv); text != "" {
		shipForEver(t, text)
	}
	runs := 200
	if testing.Short() {
		runs = 20
	}
	const pods = 2 // at a time, each with its own spool
	for pod := range pods {
		t.Run(fmt.Sprint("pod", pod), func(t *testing.T) {
			t.Parallel()
			killShippers(t, pod, runs/pods)
		})
	}
}

func killShippers(t *testing.T, pod, runs int) {
	dir := t.TempDir()
	c, tokenFile, kept := newCollector(t, dir)
	server := httptest.NewUnstartedServer(loseAnswers(c))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.Start()
	t.Cleanup(server.Close)
	s := shipping{Collector: server.URL, TokenFile: tokenFile, Spool: filepath.Join(dir, "spool"), Witness: filepath.Join(dir, "witness")}
	if err := os.Mkdir(s.Witness, 0o700); err != nil {
		t.Fatal(err)
	}
	flushed := make([]int, runs)
	for run := range runs {
		flushed[run] = killShipper(t, s, run)
	}

	// The last processes send the rest. They end in order, so one that loses too many answers
	// leaves the rest to the next.
	sink, err := contract.ParseSink(s.Collector)
	if err != nil {
		t.Fatal(err)
	}
	for tries := 0; ; tries++ {
		last := ship.New(ship.Options{Dir: spool.Dir(s.Spool), Collector: sink, Token: func() (string, error) { return sinkToken(s.TokenFile) }})
		last.Start()
		last.Close(t.Context())
		left, err := spool.Dir(s.Spool).Segments()
		if len(left) == 0 && err == nil {
			break
		}
		if tries == 10 {
			t.Fatalf("%d are left in the spool, %v; %+v", len(left), err, last.Stats())
		}
	}

	stored, total := map[recording.UUID][sha256.Size]byte{}, 0
	perRun, seen := make([]int, runs), map[string]bool{}
	for o, err := range kept.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if path.Ext(o.Key) != ".zst" {
			continue
		}
		in, err := kept.Get(t.Context(), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		for e, text := range exchangesIn(t, o.Key, in) {
			if _, twice := stored[e.UUID]; twice || seen[e.Location] {
				t.Errorf("%s: %s is stored twice", o.Key, e.Location)
			}
			stored[e.UUID], seen[e.Location] = sha256.Sum256(text), true
			var run, n int
			if _, err := fmt.Sscanf(e.Location, "/%d/%d", &run, &n); err != nil {
				t.Fatal(err)
			}
			perRun[run]++
			total++
			if want := noise(n, 600); string(e.HTTP.Req.Body) != want || string(e.HTTP.Res.Body) != want {
				t.Errorf("%s has other bodies", e.Location)
			}
		}
	}
	for run := range runs {
		if perRun[run] < flushed[run] {
			t.Errorf("run %d: %d exchanges were flushed, and %d are stored", run, flushed[run], perRun[run])
		}
	}
	complete := 0
	witnesses, err := os.ReadDir(s.Witness)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range witnesses {
		in, err := os.Open(filepath.Join(s.Witness, w.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for e, text := range exchangesIn(t, w.Name(), in) {
			complete++
			if stored[e.UUID] != sha256.Sum256(text) {
				t.Errorf("%s of the complete segment %s is not stored as it was", e.Location, w.Name())
			}
		}
	}
	t.Logf("pod %d: %d kills, %d exchanges stored, %d of them in %d segments that were complete when their writer was killed", pod, runs, total, complete, len(witnesses))
	if complete < runs || total < complete+runs/4 {
		t.Errorf("the test has killed nobody at work")
	}
}

// exchangesIn reads a segment, and gives each exchange with its JSON.
func exchangesIn(t *testing.T, name string, in io.ReadCloser) func(func(*recording.Exchange, []byte) bool) {
	return func(yield func(*recording.Exchange, []byte) bool) {
		defer in.Close()
		r, err := recording.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for {
			var e recording.Exchange
			err := r.Next(&e)
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			if !yield(&e, bytes.Clone(r.Text())) {
				return
			}
		}
	}
}

// loseAnswers loses one of ten answers after storing.
func loseAnswers(collector http.Handler) http.Handler {
	var mu sync.Mutex
	chance := rand.New(rand.NewPCG(1, 2))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		lost := chance.IntN(10) == 0
		mu.Unlock()
		if !lost {
			collector.ServeHTTP(w, r)
			return
		}
		collector.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
}

// killShipper starts a sidecar, sends requests through it, and kills it. It returns how
// many exchanges it had flushed.
func killShipper(t *testing.T, s shipping, run int) (flushed int) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledSidecarsStoreEachExchangeOnce$")
	cmd.Env = append(os.Environ(), shipperEnv+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var load sync.WaitGroup
	defer load.Wait()
	kill := func() { cmd.Process.Kill() }
	if run%8 == 0 { // at the start, too
		time.AfterFunc(rand.N(40*time.Millisecond), kill)
	}
	if lines.Scan() {
		addr := lines.Text()
		load.Go(func() { sendUntilDead(addr, run, rand.N(60), kill) })
		for lines.Scan() {
			fmt.Sscan(lines.Text(), &flushed)
		}
	}
	cmd.Wait()
	return flushed
}

// sendUntilDead sends requests one after another until one fails. It kills the server during the
// requests after the given one, however fast the machine is.
func sendUntilDead(addr string, run, after int, kill func()) {
	tr := &http.Transport{MaxIdleConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	for n := 0; ; n++ {
		if n == after {
			time.AfterFunc(rand.N(2*time.Millisecond), kill)
		}
		resp, err := client.Post(fmt.Sprintf("http://%s/%d/%d", addr, run, n), "text/plain", strings.NewReader(noise(n, 600)))
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return
		}
	}
}

// witness is a directory of segments that makes a second link to those that are complete.
type witness struct {
	spool.Dir
	at string
}

func (w witness) Create(key string) (spool.File, error) {
	f, err := w.Dir.Create(key)
	if err != nil {
		return nil, err
	}
	return witnessed{f, w.Path(key), filepath.Join(w.at, path.Base(key))}, nil
}

type witnessed struct {
	spool.File
	name, at string
}

func (w witnessed) Commit() error {
	err := w.File.Commit()
	if err == nil {
		_ = os.Link(w.name, w.at) // it may be sent and removed already
	}
	return err
}

// shipForEver runs a sidecar with small segments. It prints its address, and then how many
// exchanges it has flushed.
func shipForEver(t *testing.T, text string) {
	var s shipping
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	cfg.Sink, cfg.SinkTokenFile = s.Spool, s.TokenFile
	cfg.Identity.Namespace, cfg.Identity.App, cfg.Identity.Pod = "shop", "cart", "cart-0"
	var err error
	if cfg.Collector, err = contract.ParseSink(s.Collector); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := open(cfg, "test", log, func(o spool.Options) (*spool.Recorder, error) {
		o.MaxBytes = 8 << 10
		return spool.OpenFiles(witness{spool.Dir(s.Spool), s.Witness}, o)
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.Listen(t.Context(), c.forwarding(cfg, "test"), log, c.Open, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.ship(p)
	go p.Serve(context.Background())
	fmt.Println(p.InAddr())
	for {
		before := c.recorder.Stats().Accepted
		if c.recorder.Flush(context.Background()) == nil && before > 0 {
			fmt.Println(before)
		}
		time.Sleep(time.Millisecond) // leave the processor to the load, too
	}
}
