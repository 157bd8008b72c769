package traffic

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/recording"
)

// tinyproxy starts an HTTP proxy that wants a password, and returns its URL and
// its log.
func tinyproxy(t *testing.T) (url string, log *logbuffer.Buffer) {
	t.Helper()
	path := program(t, "tinyproxy", "tinyproxy-bin")
	port := freePort(t)
	config := filepath.Join(t.TempDir(), "tinyproxy.conf")
	text := fmt.Sprintf("Port %s\nListen 127.0.0.1\nBasicAuth shop secret\nLogLevel Info\nViaProxyName \"corporate\"\n", port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log = background(t, "tinyproxy", exec.Command(path, "-d", "-c", config))
	address := net.JoinHostPort("127.0.0.1", port)
	listens(t, "tinyproxy", address)
	return "http://shop:secret@" + address, log
}

// If a corporate proxy is the only way out, the sidecar uses it, too, for every kind of client,
// and records the hosts that they asked for.
func TestChain(t *testing.T) {
	curl := program(t, "curl", "curl")
	corporate, log := tinyproxy(t)
	for _, c := range []struct{ name, args, via, asked string }{
		{"absolute-form", "-x http://" + outTee, "http", "GET http://"},
		{"CONNECT", "--proxytunnel -x http://" + outTee, "connect", "CONNECT "},
		{"SOCKS5", "-x socks5h://" + outTee, "socks5", "CONNECT "},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := make(chan http.Header, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen <- r.Header
				fmt.Fprint(w, "outside")
			}))
			defer server.Close()
			s := start(t, "", contract.EnvUpstreamHTTPProxy+"="+corporate, contract.EnvUpstreamHTTPSProxy+"="+corporate, contract.EnvUpstreamAllProxy+"="+corporate)
			s.understood = true
			target := s.to(server.Listener.Addr().String())
			args := append(strings.Fields("-sS -m 20 "+c.args), "http://"+target+"/out")
			if out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput(); string(out) != "outside" || err != nil {
				t.Fatalf("%q, %v", out, err)
			}
			if header := <-seen; header.Get("Proxy-Authorization") != "" {
				t.Error("the server was shown the corporate proxy's password")
			}
			eventually(t, "it went through the corporate proxy", func() bool { return strings.Contains(log.String(), c.asked+target) })
			var found *recording.Exchange
			for _, e := range s.stop() {
				if e.Location == "/out" {
					found = e
				}
			}
			if found == nil || found.NetworkAddress != target || found.Tags.Get(recording.TagVia) != c.via || found.Status != "200" ||
				string(found.HTTP.Res.Body) != "outside" || found.HTTP.Req.Headers.Get("Proxy-Authorization") != "" {
				t.Errorf("recorded: %+v", found)
			}
		})
	}
}
