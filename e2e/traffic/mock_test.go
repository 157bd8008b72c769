package traffic

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

// deck runs `tapedeck record` or `tapedeck mock` around a command, and returns the command's
// output and Tapedeck's messages.
func deck(t *testing.T, env []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv(envPrograms), "tapedeck"), args...)
	cmd.Env = append(append(os.Environ(), "HTTPS_PROXY=", "PATH=/usr/bin:"+os.Getenv("PATH")), env...) // Debian's Python has the modules
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	return out.String(), said.String(), err
}

// dependency is a server at an address that is not on loopback. When it is closed, a trap replaces
// it, which counts connections.
type dependency struct {
	address string
	close   func() (calls *atomic.Int64)
}

func depend(t *testing.T, h http.Handler, secure *tls.Config) dependency {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(outside, "0"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, TLSConfig: secure, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	if secure != nil {
		go srv.ServeTLS(l, "", "")
	} else {
		go srv.Serve(l)
	}
	address := l.Addr().String()
	return dependency{address, func() *atomic.Int64 {
		srv.Close()
		return trap(t, address)
	}}
}

// trap listens at the address of a former server.
func trap(t *testing.T, address string) (calls *atomic.Int64) {
	t.Helper()
	calls = new(atomic.Int64)
	var l net.Listener
	eventually(t, "the server's port is free", func() (free bool) {
		var err error
		l, err = net.Listen("tcp", address)
		return err == nil
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return calls
}

// shop answers the requests of the clients below.
func shop(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	n := 0
	mux.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		n++
		fmt.Fprintf(w, "%s %d\n", r.Proto, n)
	})
	mux.HandleFunc("/json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"query":%q,"items":[1,2,3]}`+"\n", r.URL.RawQuery)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		w.Write(append(body, '\n'))
	})
	mux.HandleFunc("/zipped", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			io.WriteString(w, "plain plain plain\n")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, "zipped zipped zipped\n")
		z.Close()
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/json?moved=1", http.StatusFound) })
	mux.HandleFunc("/wrong", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "wrong", http.StatusConflict) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat("0123456789", 200_000)) })
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	return mux
}

// clients are programs that call HTTP=$1 and HTTPS=$2. Each is used if it is installed.
const clients = `
say() { echo "== $1"; shift; "$@" 2>&1 || echo "failed: $?"; }
for url in "$1" "$2"; do
  say curl curl -sS -w '%{http_code} %{http_version}\n' $url/json?a=1 $url/count $url/wrong
  case $url in http:*) say 'curl, HTTP/1.0' curl -sS -0 -w '%{http_code}\n' $url/json?a=2 ;; esac # net/http refuses it in TLS
  say 'curl, HTTP/1.1' curl -sS --http1.1 -w '%{http_code} %{http_version}\n' $url/json?a=3
  say 'curl, h2' curl -sS --http2 -w '%{http_code}\n' $url/json?a=4
  say 'curl, POST' curl -sS -d '{"a":1}' -H 'Content-Type: application/json' $url/echo
  say 'curl, chunked POST' curl -sS -d x=1 -H 'Transfer-Encoding: chunked' $url/echo
  say 'curl, HEAD' sh -c "curl -sSI $url/json?a=5 | grep -i content-length"
  say 'curl, compressed' curl -sS --compressed $url/zipped
  say 'curl, as it is' curl -sS $url/zipped
  say 'curl, redirect' curl -sSL $url/moved
  say 'curl, large' sh -c "curl -sS $url/large | md5sum"
  say 'curl, events' curl -sSN $url/events
  say 'curl, tunnel' curl -sS -p $url/json?a=6
  say 'curl, SOCKS5' curl -sS -x $(echo $HTTP_PROXY | sed s/http/socks5h/) $url/json?a=7
  say 'curl, SOCKS4a' curl -sS -x $(echo $HTTP_PROXY | sed s/http/socks4a/) $url/json?a=8
  say 'requests' python3 -c "
import requests
s = requests.Session()
for path in ['/json?c=1', '/zipped', '/moved', '/wrong', '/count']:
    r = s.get('$url' + path)
    print(r.status_code, r.text.strip())
print(s.post('$url/echo', json={'b': 2}).text.strip())
"
  say 'httpx' python3 -c "
import httpx
with httpx.Client() as c:
    for path in ['/json?d=1', '/zipped', '/wrong']:
        r = c.get('$url' + path)
        print(r.status_code, r.text.strip())
"
  say 'urllib' python3 -c "
import urllib.request
print(urllib.request.urlopen('$url/json?e=1').read())
"
  say 'axios' env NODE_PATH=/usr/share/nodejs node -e "
require('axios').get('$url/json?f=1').then(r => console.log(r.status, r.data), e => console.log(e.message))
"
  say 'Java' sh -c "java Get.java $url/json?g=1 2>&1 | grep -v 'Picked up'"
done
`

const getJava = `
import java.net.*; import java.io.*;
public class Get { public static void main(String[] a) throws Exception {
  HttpURLConnection c = (HttpURLConnection) new URL(a[0]).openConnection();
  System.out.println(c.getResponseCode() + " " + new String(c.getInputStream().readAllBytes()).trim());
} }
`

// Programs of many kinds get the same from the mock as from the servers, which are gone.
func TestMockAnswersProgramsAlike(t *testing.T) {
	a := newAuthority(t)
	leaf := a.sign(&x509.Certificate{DNSNames: []string{serverName}, IPAddresses: []net.IP{net.ParseIP(outside)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	plain, secure := depend(t, shop(t), nil), depend(t, shop(t), &tls.Config{Certificates: []tls.Certificate{leaf}})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "clients.sh"), clients)
	write(t, filepath.Join(dir, "Get.java"), getJava)
	script := []string{"sh", "-c", "cd " + dir + " && exec sh clients.sh http://" + plain.address + " https://" + secure.address}
	rec := filepath.Join(dir, "recordings")
	want, said, err := deck(t, []string{"TAPEDECK_UPSTREAM_CA=" + a.file}, append([]string{"record", rec, "--"}, script...)...)
	if err != nil {
		t.Fatalf("record: %v\n%s\n%s", err, said, want)
	}
	traps := []*atomic.Int64{plain.close(), secure.close()}
	for round := range 2 {
		receipt := filepath.Join(dir, "receipt.json")
		got, said, err := deck(t, nil, append([]string{"mock", rec, "--fail-on-miss", "--receipt", receipt, "--latency", "none", "--"}, script...)...)
		if err != nil || got != want {
			t.Errorf("round %d: %v\n%s\n%s", round, err, said, lineDiff(want, got))
		}
		var r struct {
			Served, Missed, Escaped int
			NeverUsed               int
		}
		text, err := os.ReadFile(receipt)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &r); err != nil || r.Served < 20 || r.Missed != 0 || r.Escaped != 0 || r.NeverUsed != 0 {
			t.Errorf("round %d: receipt %+v, %v\n%s", round, r, err, said)
		}
	}
	for i, calls := range traps {
		if n := calls.Load(); n != 0 {
			t.Errorf("%d connections reached server %d", n, i)
		}
	}
	t.Logf("clients that are not installed: %d", strings.Count(want, "not found")+strings.Count(want, "ModuleNotFoundError")+strings.Count(want, "Cannot find module"))
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// lineDiff shows the lines that differ.
func lineDiff(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out strings.Builder
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			fmt.Fprintf(&out, "line %d: want %.200q, got %.200q\n", i, x, y)
		}
	}
	return out.String()
}

// envCalls turns this process into a gRPC client of the server that it names.
const envCalls = "TRAFFIC_CALLS"

// makeCalls makes all calls that end with a status, and prints the result of each. The proxy and
// the roots come from the environment.
func makeCalls() {
	target, secure := strings.CutSuffix(os.Getenv(envCalls), ",tls")
	creds := insecure.NewCredentials()
	if secure {
		creds = credentials.NewTLS(&tls.Config{ServerName: serverName})
	}
	conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(creds))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	client := pb.NewTestServiceClient(conn)
	for _, c := range calls {
		if c.givenUp {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err := c.do(metadata.AppendToOutgoingContext(ctx, "x-call", c.name), client)
		fmt.Printf("%s: %v\n", c.name, err)
		cancel()
	}
	// A call that was not recorded, if the test wants one.
	if os.Getenv(envCalls+"_OTHER") != "" {
		_, err := client.UnaryCall(context.Background(), &pb.SimpleRequest{Payload: payload("something else")})
		fmt.Printf("other: %v %t\n", status.Code(err), strings.Contains(fmt.Sprint(err), "tapedeck: MISS"))
	}
	os.Exit(0)
}

// gRPC's own client gets the same from the mock as from the server, in all kinds of calls.
func TestMockAnswersCallsAlike(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %t", secure), func(t *testing.T) {
			a := newAuthority(t)
			var cfg *tls.Config
			suffix := ""
			if secure {
				cfg, suffix = a.server("h2"), ",tls"
			}
			server := serveGRPC(t, &service{}, cfg)
			e := newTee(t, net.JoinHostPort(outside, "0"), server)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			rec := t.TempDir()
			env := []string{envCalls + "=" + e.address() + suffix, "TAPEDECK_UPSTREAM_CA=" + a.file}
			want, said, err := deck(t, env, "record", rec, "--", self)
			if err != nil || strings.Contains(want, "Unavailable") {
				t.Fatalf("record: %v\n%s\n%s", err, said, want)
			}
			address := e.address()
			e.end()
			calls := trap(t, address)
			for range 2 {
				got, said, err := deck(t, append(env, envCalls+"_OTHER=1"), "mock", rec, "--", self)
				// Binary metadata is secret: the recording has a token for it.
				first, rest, _ := strings.Cut(got, "\n")
				_, wanted, _ := strings.Cut(want, "\n")
				if err != nil || !strings.Contains(first, "unary: \"REDACTED-") || rest != wanted+"other: Internal true\n" {
					t.Errorf("%v\n%s\n%s\n%s", err, said, first, lineDiff(wanted, rest))
				}
			}
			if n := calls.Load(); n != 0 {
				t.Errorf("%d connections reached the server", n)
			}
		})
	}
}
