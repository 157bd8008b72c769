package proxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/status"
)

// statusOf reads a sidecar's status.
func statusOf(t *testing.T, s *sidecar) (said status.Status) {
	t.Helper()
	resp, err := http.Get("http://" + s.AdminAddr().String() + status.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return said
}

// withoutTimes leaves out times, which a test can't know.
var withoutTimes = cmpopts.IgnoreTypes(time.Time{})

// The status says which client refused the certificate, with the client's own alert, and counts
// the outcomes of TLS since the start.
func TestStatusOfAClientThatRefusesTheCA(t *testing.T) {
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	s, trusting := tlsOut(t, root)
	distrustful := x509.NewCertPool()
	distrustful.AddCert(srv.Certificate())
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "https://"), ":")
	c, tr := s.client(t, s.out())
	get := func(name string, roots *x509.CertPool) error {
		tr.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: name}
		defer tr.CloseIdleConnections()
		resp, err := c.Get(srv.URL)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get("example.com", distrustful); err == nil {
		t.Fatal("the first connection is intercepted, and should fail")
	}
	eventually(t, "the failure is known", func() bool { return statusOf(t, s).Outbound.Failed != nil })
	if err := get("example.com", distrustful); err != nil {
		t.Fatal(err)
	}
	if err := get("www.example.com", trusting); err != nil {
		t.Fatal(err)
	}

	said := statusOf(t, s)
	const alert = "remote error: tls: bad certificate"
	want := status.Status{
		Outbound: &status.Half{Ports: said.Outbound.Ports, Failed: said.Outbound.Failed},
		TLS:      &status.TLS{CA: status.CAGood, Directory: s.cfg.CADir, Trust: s.cfg.TrustDir},
		Notes: []status.Note{
			{Direction: "OUT", Host: "example.com:" + port, Outcome: "client_refused", Error: alert},
		},
	}
	if diff := cmp.Diff(want, said, withoutTimes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for outcome, n := range map[string]string{"client_refused": "1", "client_distrust": "1", "intercepted": "1", "ca_invalid": "0"} {
		if got := metricOf(t, s, fmt.Sprintf(`tapedeck_tls_connections_total{direction="OUT",outcome=%q}`, outcome)); got != n {
			t.Errorf("%s: found %s, want %s", outcome, got, n)
		}
	}
	if got := metricOf(t, s, `tapedeck_tls_connections_total{direction="IN",outcome="intercepted"}`); got != "nothing" {
		t.Errorf("inbound TLS is not intercepted, and has a count: %s", got)
	}
}

// A client that pins certificates finishes the handshake and closes the connection. It counts as
// one that refuses the certificate.
func TestStatusOfAClientThatPins(t *testing.T) {
	srv, root := secure(t, func(http.ResponseWriter, *http.Request) {})
	s, trusting := tlsOut(t, root)
	target := strings.TrimPrefix(srv.URL, "https://")
	for range 2 { // one might have been cancelled
		c := dial(t, s.OutAddr())
		fmt.Fprintf(c, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", target)
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
		pinning := tls.Client(c, &tls.Config{RootCAs: trusting, ServerName: "example.com"})
		if err := pinning.Handshake(); err != nil {
			t.Fatal(err)
		}
		pinning.Close()
		eventually(t, "the connection has ended", func() bool { return metricOf(t, s, `tapedeck_connections_open{direction="OUT"}`) == "0" })
	}
	for outcome, n := range map[string]string{"client_refused": "1", "intercepted": "2"} {
		if got := metricOf(t, s, fmt.Sprintf(`tapedeck_tls_connections_total{direction="OUT",outcome=%q}`, outcome)); got != n {
			t.Errorf("%s: found %s, want %s", outcome, got, n)
		}
	}
	if notes := statusOf(t, s).Notes; len(notes) != 1 || notes[0].Outcome != "client_refused" {
		t.Errorf("found %+v", notes)
	}
}

// The status says why the application can't be reached.
func TestStatusOfAnApplicationThatDoesNotListen(t *testing.T) {
	app := serveTCP(t, nil)
	s := run(t, app, func(c *Config) { c.In[0].App.Port, c.Forward = 1, false })
	if said := statusOf(t, s); said.Inbound == nil || said.Inbound.Failed != nil || said.Outbound != nil {
		t.Errorf("before a connection: %+v", said)
	}
	if c, err := net.Dial("tcp", s.InAddr().String()); err == nil { // or it is reset immediately
		c.Close()
	}
	eventually(t, "the failure is known", func() bool {
		f := statusOf(t, s).Inbound.Failed
		return f != nil && f.Target == "127.0.0.1:1" && f.Reason == status.Unreachable && strings.Contains(f.Error, "connection refused")
	})
}

func TestStatusOfTheCA(t *testing.T) {
	expired, _ := caDir(t)
	cert, key, err := ca.Generate("test CA", time.Now().Add(-2*time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	write(t, expired+"/tls.crt", cert)
	write(t, expired+"/tls.key", key)
	torn, _ := caDir(t)
	write(t, torn+"/tls.key", []byte("no key"))
	for name, test := range map[string]struct {
		dir, state, error string
	}{
		"none":              {t.TempDir(), status.CAMissing, ""},
		"expired":           {expired, status.CAInvalid, "expired"},
		"one without key":   {torn, status.CAInvalid, "key input"},
		"none is asked for": {},
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, nil, func(c *Config) { c.TLSOut, c.CADir = test.dir != "", test.dir })
			said := statusOf(t, s).TLS
			switch {
			case test.dir == "" && said != nil:
				t.Errorf("found %+v, want nothing", said)
			case test.dir != "" && (said == nil || said.CA != test.state || !strings.Contains(said.Error, test.error)):
				t.Errorf("found %+v, want %s", said, test.state)
			}
		})
	}
}

// The status reports missing trust files, because a program that is pointed at missing files trusts
// no server.
func TestStatusOfTrustFilesThatCantBeWritten(t *testing.T) {
	for name, test := range map[string]struct{ dir, error string }{
		"a directory":        {t.TempDir(), ""},
		"one that isn't one": {filepath.Join(t.TempDir(), "gone"), "write trust files"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := caDir(t)
			s := run(t, nil, func(c *Config) { c.TLSOut, c.CADir, c.TrustDir = true, dir, test.dir })
			said := statusOf(t, s).TLS
			if said == nil || said.CA != status.CAGood || !strings.HasPrefix(said.TrustError, test.error) || (said.TrustError == "") != (test.error == "") {
				t.Errorf("found %+v, want the error %q", said, test.error)
			}
		})
	}
}

// The number of notes is bounded: the oldest are removed.
func TestNotesAreBounded(t *testing.T) {
	var b notebook
	for i := range 3 * status.MaxNotes {
		b.add(status.Note{Host: fmt.Sprint(i), Error: strings.Repeat("x\x1b", 1<<20)})
	}
	all := b.all()
	if len(all) != status.MaxNotes || all[len(all)-1].Host != fmt.Sprint(3*status.MaxNotes-1) {
		t.Errorf("found %d notes, the last on %q", len(all), all[len(all)-1].Host)
	}
	if text := all[0].Error; len(text) > 4*status.MaxText || strings.Contains(text, "\x1b") {
		t.Errorf("found a text of %d bytes", len(text))
	}
}
