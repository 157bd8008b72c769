package traffic

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// The sidecar listens at these addresses. outTee is the tee in front of its forward half.
var (
	inPort  = net.JoinHostPort("127.0.0.1", strconv.Itoa(contract.InPort))
	outPort = net.JoinHostPort("127.0.0.1", strconv.Itoa(contract.OutPort))
	admin   = net.JoinHostPort("127.0.0.1", strconv.Itoa(contract.AdminPort))
)

const outTee = "127.0.0.1:3128"

// sidecar is a running `tapedeck proxy`, with a tee at each of its ports.
type sidecar struct {
	t       *testing.T
	dir     string // everything it writes
	cmd     *exec.Cmd
	log     *logbuffer.Buffer
	in, out *tee   // before the halves
	app     *tee   // between the reverse half and the application
	beyond  []*tee // between the forward half and the servers
	// understood means that some bytes change on the way, because the sidecar terminates and begins
	// TLS, or because requests come in absolute-form.
	understood bool
	// lossy means that the recording is incomplete, because there is too much traffic or some of it is
	// malformed.
	lossy bool
}

// start runs a sidecar, dual with tcp:http, in front of the application at app ("" for none). env
// is added to the environment that the renderer writes.
func start(t *testing.T, app string, env ...string) *sidecar {
	t.Helper()
	return startAs(t, app, func(*exec.Cmd) {}, env...)
}

// startAs is like start, for a command that prepare changes first.
func startAs(t *testing.T, app string, prepare func(*exec.Cmd), env ...string) *sidecar {
	t.Helper()
	s := &sidecar{t: t, dir: t.TempDir()}
	s.in, s.out = newTee(t, "127.0.0.1:0", inPort), newTee(t, outTee, outPort)
	s.app = newTee(t, "127.0.0.1:0", app)
	if err := os.Mkdir(filepath.Join(s.dir, "recordings"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(filepath.Join(os.Getenv(envPrograms), "tapedeck-proxy"))
	s.cmd.Env = append(environment(s.dir, s.app.Addr()), env...)
	prepare(s.cmd)
	s.log = background(t, "the sidecar", s.cmd)
	eventually(t, "the sidecar is healthy", func() bool {
		resp, err := http.Get("http://" + admin + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

// environment returns the environment that the renderer writes into the container, with dir for
// the volumes.
func environment(dir string, app net.Addr) []string {
	at := app.(*net.TCPAddr)
	return []string{
		contract.EnvAppLabel + "=shop", contract.EnvPodName + "=shop-0", contract.EnvPodNamespace + "=market",
		contract.EnvCaptureMode + "=proxy", contract.EnvProxyType + "=dual", contract.EnvProxyProtocol + "=tcp:http",
		contract.EnvDrain + "=500ms", // its clients are gone by then, and there is no need to wait for its application
		contract.EnvReverseProxyHost + "=" + at.IP.String(), contract.EnvReverseProxyPort + "=" + strconv.Itoa(at.Port),
		contract.EnvTLSCertDir + "=" + dir, contract.EnvSink + "=file://" + filepath.Join(dir, "recordings"),
	}
}

// reverse returns the address to which clients of the application connect.
func (s *sidecar) reverse() string { return s.in.address() }

// to returns the address with which clients of the forward half reach a server.
func (s *sidecar) to(server string) string {
	e := newTee(s.t, net.JoinHostPort(outside, "0"), server)
	s.beyond = append(s.beyond, e)
	return e.address()
}

// behind returns the tee after a half; for the forward half, the first one.
func (s *sidecar) behind(direction string) *tee {
	if direction == recording.Out {
		return s.beyond[0]
	}
	return s.app
}

// bundle returns the file of roots that the sidecar writes for the application.
func (s *sidecar) bundle() string { return filepath.Join(s.dir, filepath.Base(contract.CABundle)) }

// metric returns the value of a metric, as `name` or `name{label="value"}`.
func (s *sidecar) metric(name string) float64 {
	s.t.Helper()
	value, ok := s.metrics()[name]
	if !ok {
		s.t.Fatalf("/metrics has no %s", name)
	}
	return value
}

func (s *sidecar) metrics() map[string]float64 {
	s.t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "} "); ok {
			values[name+"}"], _ = strconv.ParseFloat(value, 64)
		} else if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			values[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return values
}

// stop ends the sidecar like Kubernetes, once its clients are gone. It checks that both of its
// sides saw the same bytes, and that nothing was dropped, and returns the recording.
func (s *sidecar) stop() []*recording.Exchange {
	t := s.t
	t.Helper()
	eventually(t, "the sidecar's connections have ended with their clients'", func() bool {
		return s.metric(`tapedeck_connections_open{direction="IN"}`)+s.metric(`tapedeck_connections_open{direction="OUT"}`) == 0
	})
	for name, value := range s.metrics() {
		if value > 0 && !s.lossy && (strings.Contains(name, "_dropped_") || strings.HasPrefix(name, "tapedeck_flows_undecoded_total")) {
			t.Errorf("%s %v", name, value)
		}
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the sidecar ended with %v", err)
	}
	in, app, out := s.in.end(), s.app.end(), s.out.end()
	var beyond []*taped
	for _, e := range s.beyond {
		beyond = append(beyond, e.end()...)
	}
	if !s.understood {
		sameBytes(t, in, app, 0)
		sameBytes(t, out, beyond, 512)
	}
	return recordedIn(t, s.dir)
}

// recordedIn returns the exchanges in a sidecar's directory.
func recordedIn(t *testing.T, dir string) []*recording.Exchange {
	t.Helper()
	var exchanges []*recording.Exchange
	for e, err := range read.All(t.Context(), read.Options{Parts: true, Order: read.Sorted}, store.Dir(filepath.Join(dir, "recordings"))) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Service != "shop" || e.Namespace != "market" {
			t.Errorf("recorded as of %s/%s", e.Namespace, e.Service)
		}
		exchanges = append(exchanges, e)
	}
	return exchanges
}

// conversation joins the parts of a conversation.
type conversation struct {
	*recording.Exchange // the last part, with all messages
	messages            []recording.Message
}

// said joins the data of one side's messages.
func (c *conversation) said(from string) string {
	var b bytes.Buffer
	for _, m := range c.messages {
		if m.From == from {
			b.Write(m.Data)
		}
	}
	return b.String()
}

// conversations joins the parts of each conversation of a kind, and checks that they are numbered
// and that the last one is marked.
func conversations(t *testing.T, exchanges []*recording.Exchange, kind func(*recording.Exchange) *recording.Conversation) []*conversation {
	t.Helper()
	var all []*conversation
	byFirst := map[string]*conversation{}
	for _, e := range exchanges {
		part := kind(e)
		if part == nil {
			continue
		}
		first := e.UUID.String()
		if id := e.Tags.Get(recording.TagConversation); id != "" {
			first = id
		}
		c := byFirst[first]
		if c == nil {
			c = &conversation{}
			byFirst[first], all = c, append(all, c)
		} else if kind(c.Exchange).Part+1 != part.Part {
			t.Errorf("part %d follows part %d", part.Part, kind(c.Exchange).Part)
		}
		c.Exchange, c.messages = e, append(c.messages, part.Messages...)
	}
	for _, c := range all {
		if !kind(c.Exchange).Last {
			t.Errorf("the last part of conversation %s is not marked", c.UUID)
		}
	}
	return all
}

func ofGRPC(e *recording.Exchange) *recording.Conversation      { return e.GRPC }
func ofWebSocket(e *recording.Exchange) *recording.Conversation { return e.WebSocket }
func ofTCP(e *recording.Exchange) *recording.Conversation       { return e.TCP }

// background runs a program until the test ends, unless it ends before, and returns its output,
// which a failed test shows.
func background(t *testing.T, name string, cmd *exec.Cmd) *logbuffer.Buffer {
	t.Helper()
	log := new(logbuffer.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, log)
		}
	})
	return log
}

// listens waits until a program accepts connections.
func listens(t *testing.T, name, address string) {
	t.Helper()
	eventually(t, name+" listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// program returns the path of a program that a test needs.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(fmt.Sprintf("%s is not here: apt-get install %s", name, pkg))
	}
	return path
}
