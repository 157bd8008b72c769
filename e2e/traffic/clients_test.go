package traffic

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// imds is the address of most clouds' metadata servers, which hand out
// credentials.
const imds = "169.254.169.254"

// The answer of a metadata server reaches the client, and none of it reaches the disk, whichever
// way the client asks.
func TestMetadataServer(t *testing.T) {
	const secret = `{"access_token":"ya29.the-secret","expires_in":3599}`
	ln, err := net.Listen("tcp", net.JoinHostPort(imds, "80"))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		io.WriteString(w, secret)
	}))
	srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	defer srv.Close()
	s := start(t, "")
	s.understood = true
	const path = "/computeMetadata/v1/instance/service-accounts/default/token"
	curl := func(args ...string) []string {
		return append([]string{"curl", "-sS", "-m", "10", "--noproxy", "", "-H", "Metadata-Flavor: Google"}, args...)
	}
	ways := map[string][]string{
		"HTTP":          curl("-x", "http://"+outTee, "http://"+imds+path),
		"CONNECT":       curl("-p", "-x", "http://"+outTee, "http://"+imds+path),
		"SOCKS4":        curl("-x", "socks4://"+outTee, "http://"+imds+path),
		"SOCKS5":        curl("-x", "socks5h://"+outTee, "http://"+imds+path),
		"mapped":        curl("-x", "http://"+outTee, "http://[::ffff:a9fe:a9fe]"+path),
		"Python":        {"python3", "-c", "import requests; print(requests.get('http://" + imds + path + "', proxies={'http': 'http://" + outTee + "'}, timeout=10).text)"},
		"Python, SOCKS": {"python3", "-c", "import requests; print(requests.get('http://" + imds + path + "', proxies={'http': 'socks5h://" + outTee + "'}, timeout=10).text)"},
	}
	done := 0
	for name, args := range ways {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		switch {
		case strings.Contains(string(out), "ModuleNotFoundError") || strings.Contains(string(out), "Missing dependencies"):
			t.Logf("%s: not installed", name)
			continue
		case err != nil || !strings.Contains(string(out), "the-secret"):
			t.Errorf("%s: %s, %v", name, out, err)
		}
		done++
	}
	// An integer is an address, too, but curl would convert it.
	c, err := net.Dial("tcp", outTee)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET http://2852039166%s HTTP/1.1\r\nHost: 2852039166\r\nConnection: close\r\n\r\n", path)
	if answer, _ := io.ReadAll(c); !strings.Contains(string(answer), "the-secret") {
		t.Errorf("as an integer: %q", answer)
	}
	c.Close()
	done++
	if n := s.metric("tapedeck_metadata_flows_total"); asked != done || n != float64(done) {
		t.Errorf("%d asked, %v counted, want %d", asked, n, done)
	}
	if exchanges := s.stop(); len(exchanges) > 0 {
		t.Errorf("recorded: %v", exchanges[0])
	}
	_ = filepath.WalkDir(s.dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if text, _ := os.ReadFile(name); strings.Contains(string(text), "the-secret") {
				t.Errorf("%s has the secret", name)
			}
		}
		return nil
	})
}

// axios sends the request of axios before 1.7 to a proxy for an https URL: the URL, without
// CONNECT. Debian's node-axios does so itself, if it is installed.
const axios = `
let axios; try { axios = require('axios') } catch (e) {}
const url = process.argv[1]
if (axios) {
	axios.get(url, {headers: {'X-Client': 'axios'}}).then(r => console.log(r.status, r.data), e => console.log('error', e.message, e.response && e.response.data))
} else {
	const u = new URL(url), proxy = new URL(process.env.HTTPS_PROXY)
	require('http').get({host: proxy.hostname, port: proxy.port, path: url, headers: {Host: u.host, 'X-Client': 'node'}}, r => {
		let body = ''; r.on('data', d => body += d); r.on('end', () => console.log(r.statusCode, body))
	}).on('error', e => console.log('error', e.message))
}`

func TestHTTPSInARequestLine(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	root := newAuthority(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s by %s", r.Proto, r.URL, r.Header.Get("X-Client"))
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{root.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "site"}, IPAddresses: []net.IP{net.ParseIP(outside)}, KeyUsage: x509.KeyUsageDigitalSignature,
	})}}
	srv.StartTLS()
	defer srv.Close()
	s := start(t, "", contract.EnvUpstreamCA+"="+root.file)
	s.understood = true
	cmd := exec.Command("node", "-e", axios, "https://"+s.to(srv.Listener.Addr().String())+"/x?q")
	cmd.Env = append(os.Environ(), "HTTPS_PROXY=http://"+outTee, "https_proxy=http://"+outTee, "NO_PROXY=", "no_proxy=", "NODE_PATH=/usr/share/nodejs")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "200 HTTP/1.1 /x?q by ") {
		t.Errorf("%s, %v", out, err)
	}
	exchanges := s.stop()
	if len(exchanges) != 1 || !exchanges[0].IsTLS || exchanges[0].L7Protocol != recording.HTTPS || exchanges[0].Location != "/x" {
		t.Errorf("recorded %+v", exchanges)
	}
}

// Heads of any length pass, on every way through the sidecar.
func TestLongHeads(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Big", r.Header.Get("X-Big"))
		fmt.Fprint(w, len(r.Header.Get("X-Big")), " ", len(r.Header["X-Many"]))
	}))
	srv.Config.MaxHeaderBytes = 2 << 20
	srv.Start()
	defer srv.Close()
	for name, c := range map[string]struct{ fields, want string }{
		"a big field": {"X-Big: " + strings.Repeat("b", 1<<20) + "\r\n", "1048576 0"},
		"many fields": {strings.Repeat("X-Many: y\r\n", 5000), "0 5000"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "")
			s.understood, s.lossy = true, true
			target := s.to(srv.Listener.Addr().String())
			conn, err := net.Dial("tcp", outTee)
			if err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReaderSize(conn, 4<<20)
			for range 3 {
				fmt.Fprintf(conn, "GET http://%s/ HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", target, c.fields)
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if body, _ := io.ReadAll(resp.Body); string(body) != c.want || resp.StatusCode != 200 {
					t.Errorf("%s %.100s", resp.Status, body)
				}
			}
			conn.Close()
			s.stop()
		})
	}
}
