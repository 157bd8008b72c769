package traffic

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// Each type and protocol opens the ports that the annotations promise, and no others. The outbound
// port understands every client. On the inbound port, a client that asks for a tunnel in the
// protocol reaches the application, whatever host it asks for.
func TestModes(t *testing.T) {
	curl := program(t, "curl", "curl")
	answering := func(text string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(text)) }))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	app, dependency := answering("the application"), answering("the dependency")
	const plain, connect, socks = "", "--proxytunnel -x http://DOOR", "-x socks5h://DOOR"
	outbound := []string{"-x http://DOOR", connect, "-x socks4://DOOR", "-x socks4a://DOOR", "-x socks5://DOOR", socks}
	for _, c := range []struct {
		kind, protocol string
		in, out        []string // arguments for curl to get in and out; nil if it can't
	}{
		{"reverse", "tcp", []string{plain}, nil},
		{"reverse", "http", []string{plain, connect}, nil},
		{"reverse", "socks", []string{plain, socks}, nil},
		{"forward", "http", nil, outbound},
		{"forward", "socks", nil, outbound},
		{"dual", "tcp:http", []string{plain}, outbound},
		{"dual", "tcp:socks", []string{plain}, outbound},
		{"dual", "http", []string{plain, connect}, outbound},
		{"dual", "socks", []string{plain, socks}, outbound},
	} {
		t.Run(c.kind+" "+c.protocol, func(t *testing.T) {
			s := start(t, app, contract.EnvProxyType+"="+c.kind, contract.EnvProxyProtocol+"="+c.protocol)
			s.understood = true // the tunnels' handshakes
			for door, ways := range map[string][]string{inPort: c.in, outPort: c.out} {
				conn, err := net.Dial("tcp", door)
				if err == nil {
					conn.Close()
				}
				if open := err == nil; open != (ways != nil) {
					t.Errorf("%s is open: %v", door, open)
				}
			}
			fetch := func(way, door, url, want string) {
				t.Helper()
				args := append(strings.Fields("-sS -m 20 "+strings.ReplaceAll(way, "DOOR", door)), url)
				if out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput(); string(out) != want || err != nil {
					t.Errorf("curl %s: %q, %v, want %q", strings.Join(args, " "), out, err, want)
				}
			}
			for _, way := range c.in {
				url := "http://elsewhere.test/in"
				if way == plain {
					url = "http://" + s.reverse() + "/in"
				}
				fetch(way, s.reverse(), url, "the application")
			}
			for _, way := range c.out {
				fetch(way, outTee, "http://"+s.to(dependency)+"/out", "the dependency")
			}
			count := map[string]int{}
			for _, e := range s.stop() {
				if e.Command == http.MethodGet && e.Status == "200" && strings.EqualFold(e.Direction, e.Location[1:]) {
					count[e.Direction]++
				}
			}
			if count[recording.In] != len(c.in) || count[recording.Out] != len(c.out) {
				t.Errorf("recorded: %v", count)
			}
		})
	}
}
