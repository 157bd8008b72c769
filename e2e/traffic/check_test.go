package traffic

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/check/pod"
	"github.com/tapedeck/tapedeck/contract"
)

// A running sidecar is checked while one thing after the other is broken and repaired. Each finding
// has a fix, and is OK once that has been done:
//
//	nobody calls                      ─▶ unknown ─▶ a request
//	the application does not listen   ─▶ problem ─▶ it listens
//	curl does not trust the CA        ─▶ problem ─▶ CURL_CA_BUNDLE, and a restart
//	the collector is down             ─▶ problem ─▶ it runs
func TestCheckOfARunningSidecar(t *testing.T) {
	program(t, "curl", "curl")
	a := newAuthority(t)
	server := secured(t, a.server("h2", "http/1.1"))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := closed.Addr().(*net.TCPAddr)
	closed.Close()
	dir := t.TempDir()
	key, token, tapedeck := filepath.Join(dir, "key"), filepath.Join(dir, "token"), filepath.Join(os.Getenv(envPrograms), "tapedeck")
	printed(t, key, tapedeck, "collect", "key")
	printed(t, token, tapedeck, "collect", "token", "--namespace", "market", "--key-file", key)
	collector := net.JoinHostPort("127.0.0.1", strconv.Itoa(contract.CollectorPort))
	env := append(a.intercepting(),
		contract.EnvReverseProxyHost+"=127.0.0.1", contract.EnvReverseProxyPort+"="+strconv.Itoa(app.Port),
		contract.EnvSink+"=http://"+collector, contract.EnvSinkTokenFile+"="+token, contract.EnvSpool+"=file://"+filepath.Join(dir, "spool"))
	first := start(t, "", env...)
	first.understood = true

	now := checked(t, pod.Options{})
	for _, area := range []string{check.Inbound, check.Outbound, check.TLS, check.Sink, check.Losses} {
		now.want(t, area, check.Unknown, "", "check again")
		now.none(t, area, check.OK)
	}

	ask := func() error {
		tr := &http.Transport{}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get("http://" + inPort + "/")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return err
	}
	if ask() == nil {
		t.Fatal("an application that does not listen answers")
	}
	checked(t, pod.Options{}).want(t, check.Inbound, check.Problem, "connection refused", "have the application listen there")
	serveAt(t, app, "hello")
	now = checked(t, pod.Options{For: time.Second, Watching: func() {
		if err := ask(); err != nil {
			t.Error(err)
		}
	}})
	now.want(t, check.Inbound, check.OK, "1 connection in 1s, 2 since the start", "")
	now.none(t, check.Inbound, check.Problem)

	curl := func(s *sidecar, roots string) error {
		return exec.CommandContext(t.Context(), "curl", "-sS", "-m", "20", "-x", "http://"+outTee, "--connect-to", "::"+s.to(server), "--cacert", roots, "https://"+serverName+"/").Run()
	}
	if curl(first, a.file) == nil {
		t.Fatal("the first connection is intercepted, and should fail")
	}
	eventually(t, "the refusal is known", func() bool {
		return first.metric(`tapedeck_tls_connections_total{direction="OUT",outcome="client_refused"}`) == 1
	})
	now = checked(t, pod.Options{})
	now.want(t, check.TLS, check.Problem, serverName+":", "point the client at "+first.bundle())
	now.none(t, check.TLS, check.OK)
	now.want(t, check.Sink, check.Unknown, "nothing was sent to the collector http://"+collector, "check again when a segment is complete")
	now.want(t, check.Losses, check.OK, "nothing is lost", "")
	first.stop()

	// The next process finds a segment that the first one left, because the collector is down.
	second := start(t, "", env...)
	second.understood = true
	if err := curl(second, second.bundle()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "shipping counts as failing", func() bool { return second.metric("tapedeck_sink_up") == 0 })
	now = checked(t, pod.Options{})
	now.want(t, check.TLS, check.OK, "outbound TLS is read", "")
	now.none(t, check.TLS, check.Problem)
	now.want(t, check.Outbound, check.OK, "1 connection since the start", "")
	now.want(t, check.Sink, check.Problem, "connection refused; 1 complete segment", "Check the collector's pods")

	command := exec.CommandContext(t.Context(), tapedeck, "check", "http://"+admin)
	out, err := command.Output()
	if command.ProcessState.ExitCode() != check.Missing || !strings.Contains(string(out), "✗ problem   sink") {
		t.Errorf("tapedeck check: %v: %s", err, out)
	}

	collect := exec.Command(tapedeck, "collect", filepath.Join(dir, "store"), "--key-file", key)
	background(t, "the collector", collect)
	eventually(t, "the collector has the segment", func() bool { return second.metric("tapedeck_segments_shipped_total") == 1 })
	now = checked(t, pod.Options{})
	now.want(t, check.Sink, check.OK, "stored 1 segment since the start", "")
	now.none(t, check.Sink, check.Problem)
	second.stop()

	at, err := url.Parse("http://" + admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pod.Check(t.Context(), at, pod.Options{}); err == nil || !strings.Contains(err.Error(), "kubectl port-forward") {
		t.Errorf("of a sidecar that has ended: %v", err)
	}
	at.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(contract.CollectorAdminPort))
	if _, err := pod.Check(t.Context(), at, pod.Options{}); err == nil || !strings.Contains(err.Error(), "found the metrics of a collector") {
		t.Errorf("of the collector: %v", err)
	}
}

// printed writes what a program prints to a file.
func printed(t *testing.T, file, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err == nil {
		err = os.WriteFile(file, out, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// serveAt serves a text at an address.
func serveAt(t *testing.T, at *net.TCPAddr, text string) {
	t.Helper()
	l, err := net.ListenTCP("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
}

// findings has the findings of a report about the running sidecar.
type findings []check.Finding

func checked(t *testing.T, o pod.Options) findings {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := pod.Check(ctx, &url.URL{Scheme: "http", Host: admin}, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Subject != "Pod market/shop-0" {
			t.Errorf("a finding about %s", f.Subject)
		}
	}
	return r.Findings
}

// want fails the test unless there is a finding that contains both texts.
func (all findings) want(t *testing.T, area string, state check.State, found, fix string) {
	t.Helper()
	for _, f := range all {
		if f.Area == area && f.State == state && strings.Contains(f.Found, found) && strings.Contains(f.Fix, fix) {
			return
		}
	}
	t.Errorf("%s: nothing is %s with %q and the fix %q in %+v", area, state, found, fix, all)
}

// none fails the test if there is a finding with a state.
func (all findings) none(t *testing.T, area string, state check.State) {
	t.Helper()
	for _, f := range all {
		if f.Area == area && f.State == state {
			t.Errorf("%s: %+v", area, f)
		}
	}
}
