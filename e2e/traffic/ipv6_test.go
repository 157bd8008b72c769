package traffic

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// On a machine with only IPv6, both halves listen on ::1 and reach servers there.
func TestIPv6(t *testing.T) {
	curl := program(t, "curl", "curl")
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this kernel has no IPv6: %v", err)
	}
	app := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(web)}}
	app.Start()
	defer app.Close()
	port := fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
	in, out := net.JoinHostPort("::1", fmt.Sprint(contract.InPort)), net.JoinHostPort("::1", fmt.Sprint(contract.OutPort))
	for _, way := range []struct {
		name, direction, via string
		host, args           string
	}{
		{"reverse", recording.In, "tcp", in, ""},
		{"absolute-form", recording.Out, "http", ln.Addr().String(), "-x http://" + out},
		{"CONNECT", recording.Out, "connect", ln.Addr().String(), "--proxytunnel -x http://" + out},
		{"SOCKS5", recording.Out, "socks5", ln.Addr().String(), "-x socks5://" + out},
		{"SOCKS5, as a name", recording.Out, "socks5", ln.Addr().String(), "-x socks5h://" + out},
		{"SOCKS4a, as a name", recording.Out, "socks4", ln.Addr().String(), "-x socks4a://" + out},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := start(t, "", contract.EnvReverseProxyHost+"=::1", contract.EnvReverseProxyPort+"="+port)
			args := strings.Fields("-sS -m 20 --globoff --noproxy , --data-binary hello " + way.args)
			if got, err := exec.CommandContext(t.Context(), curl, append(args, "http://"+way.host+"/echo")...).CombinedOutput(); string(got) != "hello" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			var recorded []*recording.Exchange
			for _, e := range s.stop() {
				if e.Command != http.MethodConnect {
					recorded = append(recorded, e)
				}
			}
			if len(recorded) != 1 {
				t.Fatalf("%d exchanges are recorded", len(recorded))
			}
			asked := way.host
			if way.direction == recording.In {
				asked = ln.Addr().String()
			}
			if e := recorded[0]; e.Direction != way.direction || e.Tags.Get(recording.TagVia) != way.via || e.NetworkAddress != asked ||
				e.NetInfo.Downstream.IPAddress != "::1" || e.NetInfo.Upstream.IPAddress != "::1" || string(e.HTTP.Res.Body) != "hello" {
				t.Errorf("%s via %s to %s: %+v, %q", e.Direction, e.Tags.Get(recording.TagVia), e.NetworkAddress, e.NetInfo, e.HTTP.Res.Body)
			}
		})
	}
}
