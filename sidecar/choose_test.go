package sidecar

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// configMap is a directory like one that the kubelet mounts: the files are links into ..data, which
// is a link to a directory that a change replaces.
type configMap struct {
	t    *testing.T
	dir  string
	make int
}

func newConfigMap(t *testing.T) *configMap { return &configMap{t: t, dir: t.TempDir()} }

// set replaces the content with pairs of key and value.
func (m *configMap) set(pairs ...string) {
	m.t.Helper()
	check := func(err error) {
		if err != nil {
			m.t.Fatal(err)
		}
	}
	old, _ := os.Readlink(filepath.Join(m.dir, "..data"))
	m.make++
	name := fmt.Sprintf("..2026_11_28_%d", m.make)
	check(os.Mkdir(filepath.Join(m.dir, name), 0o755))
	entries, err := os.ReadDir(m.dir)
	check(err)
	for i := 0; i < len(pairs); i += 2 {
		check(os.WriteFile(filepath.Join(m.dir, name, pairs[i]), []byte(pairs[i+1]), 0o644))
	}
	check(os.Symlink(name, filepath.Join(m.dir, "..data_tmp")))
	check(os.Rename(filepath.Join(m.dir, "..data_tmp"), filepath.Join(m.dir, "..data")))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "..") {
			check(os.Remove(filepath.Join(m.dir, e.Name())))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		check(os.Symlink(filepath.Join("..data", pairs[i]), filepath.Join(m.dir, pairs[i])))
	}
	if old != "" {
		check(os.RemoveAll(filepath.Join(m.dir, old)))
	}
}

// get asks for paths on one connection.
func (s *sidecar) get(t *testing.T, client *http.Client, paths ...string) {
	t.Helper()
	for _, path := range paths {
		resp, err := client.Get("http://" + s.InAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

func keptClient(t *testing.T) *http.Client {
	tr := &http.Transport{MaxConnsPerHost: 1}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// metric returns the value of a metric, with the label if there is one.
func (s *sidecar) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, label)
	return 0
}

// paths returns the paths of the exchanges in a recording.
func paths(t *testing.T, dir string) (all []string, last recording.Counters) {
	t.Helper()
	exchanges, last := counted(t, dir)
	for _, e := range exchanges {
		if e.HTTP != nil {
			all = append(all, e.Location)
		}
	}
	return all, last
}

// A ConfigMap changes what is captured, and turns capture off and on again, while
// the sidecar runs and on connections that are open.
func TestAConfigMapChangesWhatIsCaptured(t *testing.T) {
	files := newConfigMap(t)
	dir := t.TempDir()
	cfg := config(t)
	cfg.Choice = map[string]string{"exclude": "path=/healthz"}
	cfg.ChoiceDir = files.dir
	s := run(t, cfg, spool.Dir(dir))
	client := keptClient(t)
	handed := func(n float64) {
		t.Helper()
		eventually(t, "the exchanges are decided on", func() bool {
			return s.ledger(t).handed+s.metric(t, "tapedeck_exchanges_left_out_total", "filtered")+s.metric(t, "tapedeck_exchanges_left_out_total", "sampled_out") == n
		})
	}

	s.get(t, client, "/1", "/healthz")
	handed(2)
	files.set("exclude", "path=/2\n", "sample", "100%")
	s.capture.chooser.read()
	s.get(t, client, "/2", "/3", "/healthz") // the file takes the place of the variable
	handed(5)
	files.set("sample", "0")
	s.capture.chooser.read()
	s.get(t, client, "/4", "/healthz")
	handed(7)
	files.set("include", "path=/5")
	s.capture.chooser.read()
	s.get(t, client, "/5", "/6")
	handed(9)

	files.set("capture", "off")
	s.capture.chooser.read()
	if on := s.metric(t, "tapedeck_capture_on", ""); on != 0 {
		t.Errorf("capture_on is %v", on)
	}
	s.get(t, client, "/7", "/8")
	eventually(t, "nothing waits in the tap", func() bool { return s.Tap().Used == 0 })
	if tap := s.Tap(); tap.Unwanted == 0 || tap.Dropped["tap_full"].Bytes != 0 {
		t.Errorf("%+v", tap)
	}
	files.set()
	s.capture.chooser.read()
	s.get(t, client, "/9", "/10", "/healthz") // one connection, on which something was missed
	eventually(t, "the connection is captured again", func() bool {
		s.get(t, client, "/11")
		return s.ledger(t).handed > 5
	})
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, counters := paths(t, dir)
	text := " " + strings.Join(got, " ") + " "
	for path, want := range map[string]bool{"1": true, "2": false, "3": true, "4": false, "5": true, "6": false, "7": false, "8": false, "10": true, "11": true} {
		if strings.Contains(text, " /"+path+" ") != want {
			t.Errorf("/%s is captured: %v, of %v", path, !want, got)
		}
	}
	if n := strings.Count(text, "/healthz"); n != 1 { // while the file said something else
		t.Errorf("/healthz was captured %d times", n)
	}
	if counters.Filtered != uint64(s.metric(t, "tapedeck_exchanges_left_out_total", "filtered")) || counters.SampledOut != 1 ||
		counters.Recorded != uint64(s.ledger(t).stored) || counters.Filtered < 4 {
		t.Errorf("%+v", counters)
	}
	if log := s.logs.String(); strings.Contains(log, "panic") || strings.Contains(log, "can't be read") {
		t.Error(log)
	}
}

// Invalid files change nothing. They are logged once, and a metric shows them until they are valid.
func TestBrokenFilesChangeNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, m *configMap)
		want  string
	}{
		{"a rule", func(_ *testing.T, m *configMap) { m.set("exclude", "path=healthz") }, `path: found \"healthz\", allowed: a path that begins with / or *`},
		{"a rate", func(_ *testing.T, m *configMap) { m.set("exclude", "path=/a", "sample", "10") }, "more than all"},
		{"a key", func(_ *testing.T, m *configMap) { m.set("excludes", "path=/a") }, `found key \"excludes\", allowed: capture, include, exclude, sample`},
		{"a switch", func(_ *testing.T, m *configMap) { m.set("capture", "offf") }, "neither on nor off"},
		{"too much", func(_ *testing.T, m *configMap) { m.set("exclude", strings.Repeat("#", maxFile+1)) }, "it has more than 65536 bytes"},
		{"a directory", func(t *testing.T, m *configMap) {
			if err := os.Mkdir(filepath.Join(m.dir, "..data", "sample"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "it is not a regular file"},
		{"a pipe", func(t *testing.T, m *configMap) {
			if err := syscall.Mkfifo(filepath.Join(m.dir, "..data", "sample"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "it is not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := newConfigMap(t)
			files.set("exclude", "path=/healthz")
			dir := t.TempDir()
			cfg := config(t)
			cfg.ChoiceDir = files.dir
			s := run(t, cfg, spool.Dir(dir))
			c.spoil(t, files)
			for range 3 {
				s.capture.chooser.read()
			}
			if ok := s.metric(t, "tapedeck_capture_config_ok", ""); ok != 0 {
				t.Errorf("capture_config_ok is %v", ok)
			}
			if log := s.logs.String(); strings.Count(log, "the last valid settings stay in force") != 1 || !strings.Contains(log, c.want) {
				t.Errorf("want %s once: %s", c.want, log)
			}
			client := keptClient(t)
			s.get(t, client, "/healthz", "/a")
			eventually(t, "both are decided on", func() bool {
				return s.ledger(t).handed+s.metric(t, "tapedeck_exchanges_left_out_total", "filtered") == 2
			})
			client.CloseIdleConnections()
			files.set("exclude", "path=/a")
			s.capture.chooser.read()
			if ok := s.metric(t, "tapedeck_capture_config_ok", ""); ok != 1 {
				t.Errorf("capture_config_ok is %v", ok)
			}
			eventually(t, "both are decided on", func() bool {
				return s.ledger(t).handed+s.metric(t, "tapedeck_exchanges_left_out_total", "filtered") == 2
			})
			s.stop()
			if err := s.capture.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, _ := paths(t, dir); len(got) != 1 || got[0] != "/a" {
				t.Errorf("captured %v", got)
			}
		})
	}
}

// If the files are broken at the start, the environment decides.
func TestBrokenFilesAtTheStartLeaveItToTheEnvironment(t *testing.T) {
	files := newConfigMap(t)
	files.set("capture", "maybe")
	cfg := config(t)
	cfg.Choice = map[string]string{"capture": "off"}
	cfg.ChoiceDir = files.dir
	s := run(t, cfg, spool.Dir(t.TempDir()))
	if on, ok := s.metric(t, "tapedeck_capture_on", ""), s.metric(t, "tapedeck_capture_config_ok", ""); on != 0 || ok != 0 {
		t.Errorf("capture_on is %v, capture_config_ok %v", on, ok)
	}
	s.stop()
	s.capture.Close(t.Context())
}

// If a file, or the whole directory, is gone, the environment decides.
func TestFilesThatAreGoneLeaveItToTheEnvironment(t *testing.T) {
	files := newConfigMap(t)
	files.set("capture", "off", "sample", "0.5")
	cfg := config(t)
	cfg.Choice = map[string]string{"sample": "0.25"}
	cfg.ChoiceDir = files.dir
	s := run(t, cfg, spool.Dir(t.TempDir()))
	for _, step := range []struct {
		change func()
		on     float64
	}{
		{func() {}, 0},
		{func() { files.set("sample", "0.5") }, 1},
		{func() { files.set("capture", " off\n") }, 0},
		{func() { files.set("capture", "") }, 1},
		{func() { files.set("capture", "off") }, 0},
		{func() { os.RemoveAll(files.dir) }, 1},
	} {
		step.change()
		s.capture.chooser.read()
		if on := s.metric(t, "tapedeck_capture_on", ""); on != step.on {
			t.Errorf("capture_on is %v, want %v", on, step.on)
		}
	}
	if log := s.logs.String(); strings.Contains(log, "can't be read") {
		t.Error(log)
	}
	s.stop()
	s.capture.Close(t.Context())
}

// The sidecar reads changed files without a restart.
func TestFilesAreReadAgain(t *testing.T) {
	files := newConfigMap(t)
	cfg := config(t)
	cfg.ChoiceDir = files.dir
	s := run(t, cfg, spool.Dir(t.TempDir()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.capture.chooser.watch(t.Context(), time.Millisecond)
	}()
	t.Cleanup(func() { <-done })
	for i := range 20 { // also while the directory is being replaced
		files.set("capture", []string{"off", "on"}[i%2])
		eventually(t, "it is read", func() bool { return s.metric(t, "tapedeck_capture_on", "") == float64(i%2) })
	}
	if log := s.logs.String(); strings.Contains(log, "can't be read") {
		t.Error(log)
	}
	s.stop()
	s.capture.Close(t.Context())
}

// On an HTTP/2 connection that was open all the time, capture continues once it is turned on again.
func TestHTTP2IsCapturedAgainOnTheSameConnection(t *testing.T) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }))
	app.Config.Protocols = &protocols
	app.Start()
	t.Cleanup(app.Close)
	files := newConfigMap(t)
	cfg := config(t)
	fmt.Sscanf(app.URL, "http://127.0.0.1:%d", &cfg.In[0].App.Port)
	cfg.ChoiceDir = files.dir
	s := run(t, cfg, spool.Dir(t.TempDir()))
	tr := &http.Transport{Protocols: &protocols}
	t.Cleanup(tr.CloseIdleConnections)
	client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	s.get(t, client, "/before")
	eventually(t, "it is captured", func() bool { return s.ledger(t).handed == 1 })
	files.set("capture", "off")
	s.capture.chooser.read()
	s.get(t, client, "/1", "/2")
	eventually(t, "the tap is empty", func() bool { return s.Tap().Used == 0 })
	if n := s.ledger(t).handed; n != 1 {
		t.Errorf("while capture is off %v exchanges were recorded", n-1)
	}
	files.set()
	s.capture.chooser.read()
	eventually(t, "exchanges are captured again", func() bool {
		s.get(t, client, "/after")
		return s.ledger(t).handed > 5
	})
	if flows := s.Tap().Flows; flows != 1 {
		t.Errorf("there were %d connections", flows)
	}
	client.CloseIdleConnections()
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
