package traffic

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

// envGateway makes this process an application that answers HTTP by calling gRPC. Its value has
// the address to listen on, and the servers without and with TLS.
const envGateway = "TRAFFIC_GATEWAY"

// serveGateway answers /unary?say=X with one message, and /stream?say=X with three.
func serveGateway() {
	addresses := strings.Split(os.Getenv(envGateway), ",")
	client := func(address string, creds credentials.TransportCredentials) pb.TestServiceClient {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds))
		if err != nil {
			panic(err)
		}
		return pb.NewTestServiceClient(conn)
	}
	plain, secure := client(addresses[1], insecure.NewCredentials()), client(addresses[2], credentials.NewTLS(nil))
	answer := func(c pb.TestServiceClient, do func(context.Context, pb.TestServiceClient, string) (string, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			said, err := do(r.Context(), c, r.FormValue("say"))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			fmt.Fprintln(w, said)
		}
	}
	http.HandleFunc("/unary", answer(plain, func(ctx context.Context, c pb.TestServiceClient, say string) (string, error) {
		got, err := c.UnaryCall(ctx, &pb.SimpleRequest{Payload: payload(say)})
		return string(got.GetPayload().GetBody()), err
	}))
	http.HandleFunc("/stream", answer(secure, func(ctx context.Context, c pb.TestServiceClient, say string) (string, error) {
		request := ask(3, 0, 20)
		request.Payload = payload(say)
		s, err := c.StreamingOutputCall(ctx, request)
		for _, size := range []int{3, 0, 20} {
			if err == nil {
				err = hear(s, size)
			}
		}
		if _, end := s.Recv(); err == nil && end != io.EOF {
			err = fmt.Errorf("want the end: %w", end)
		}
		return "3, 0 and 20 bytes", err
	}))
	panic(http.ListenAndServe(addresses[0], nil))
}

// serveProgram starts a program, which ends with stop or at the end of the test.
func serveProgram(t *testing.T, env []string, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(filepath.Join(os.Getenv(envPrograms), name), args...)
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(stop)
	return stop
}

// freeAddresses returns n different addresses of a host at which nothing listens.
func freeAddresses(t *testing.T, host string, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // once all are known
		all = append(all, l.Addr().String())
	}
	return all
}

// world has applications and their dependencies: the price service of the example and podinfo,
// each without and with TLS, and a server of gRPC.
type world struct {
	t       *testing.T
	env     []string
	script  string
	targets []string // of the applications, in the order of kinds
	end     func() []*atomic.Int64
}

func newWorld(t *testing.T) *world {
	a := newAuthority(t)
	certificate := &tls.Config{NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{
		a.sign(&x509.Certificate{IPAddresses: []net.IP{net.ParseIP(outside)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})}}
	own := freeAddresses(t, outside, 2)
	prices, backend := own[0], own[1]
	_, backendPort, _ := net.SplitHostPort(backend)
	stops := []func(){serveProgram(t, []string{"LISTEN=" + prices}, "prices"), serveProgram(t, nil, "podinfo", "--level=fatal", "--host="+outside, "--port="+backendPort)}
	for _, address := range []string{prices, backend} {
		eventually(t, address+" listens", func() bool {
			c, err := net.Dial("tcp", address)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	behind := func(address string) dependency {
		return depend(t, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address}), certificate)
	}
	rpc := grpc.NewServer()
	pb.RegisterTestServiceServer(rpc, new(service))
	dependencies := []dependency{behind(prices), behind(backend), depend(t, rpc, nil), depend(t, rpc, certificate)}
	w := &world{t: t, env: []string{"TAPEDECK_UPSTREAM_CA=" + a.file}}
	w.end = func() (traps []*atomic.Int64) {
		for _, d := range dependencies {
			traps = append(traps, d.close())
		}
		for _, stop := range stops {
			stop()
		}
		return append(traps, trap(t, prices), trap(t, backend))
	}
	for _, address := range freeAddresses(t, "127.0.0.1", len(kinds)) {
		w.targets = append(w.targets, "http://"+address)
	}
	listens := func(kind int) string { return strings.TrimPrefix(w.targets[kind], "http://") }
	podinfo := func(kind int, url string) string {
		_, port, _ := net.SplitHostPort(listens(kind))
		return "podinfo --level=fatal --host=127.0.0.1 --port=" + port + " --backend-url=" + url + "/echo"
	}
	w.targets[5] = w.targets[4] // the gateway has both
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.script = "PATH=" + os.Getenv(envPrograms) + ":$PATH\n"
	for _, command := range []string{
		"LISTEN=" + listens(0) + " PRICES_URL=http://" + prices + " checkout",
		"LISTEN=" + listens(1) + " PRICES_URL=https://" + dependencies[0].address + " checkout",
		podinfo(2, "http://"+backend),
		podinfo(3, "https://"+dependencies[1].address),
		envGateway + "=" + listens(4) + "," + dependencies[2].address + "," + dependencies[3].address + " " + self,
	} {
		w.script += command + ` & started="$started $!"` + "\n"
	}
	w.script += "trap 'kill $started; exit 0' TERM\nwait"
	return w
}

// kinds are the kinds of requests to the applications. Each makes them call one dependency, and n
// distinguishes the requests of a kind.
var kinds = []func(target string, n int) (method, url, body string){
	func(target string, n int) (string, string, string) {
		return "GET", target + "/checkout?item=" + []string{"tea", "coffee", "cup", "nothing"}[n%4], ""
	},
	func(target string, n int) (string, string, string) {
		return "GET", target + "/checkout?item=" + []string{"tea", "coffee", "cup"}[n%3], ""
	},
	func(target string, n int) (string, string, string) {
		return "POST", target + "/api/echo", fmt.Sprintf(`{"customer":"number %d","n":%d}`, n, n)
	},
	func(target string, n int) (string, string, string) {
		return "POST", target + "/api/echo", fmt.Sprintf(`{"customer":"number %d, in TLS","n":%d}`, n, n)
	},
	func(target string, n int) (string, string, string) {
		return "GET", fmt.Sprintf("%s/unary?say=number+%d", target, n), ""
	},
	func(target string, n int) (string, string, string) {
		return "GET", fmt.Sprintf("%s/stream?say=number+%d", target, n), ""
	},
}

// perKind is how many requests of each kind a load has.
const perKind = 64

type report struct {
	Served, Missed, Escaped int
	Misses                  []struct {
		Host, Path, Code string
		Explanation      struct {
			Nearest struct {
				Differences []struct{ Place, Recorded, Live string }
			}
			Known struct{ Names []string }
		}
	}
}

// run runs the applications under `tapedeck ARGS`, lets clients send requests at the same time,
// and returns the answers. change changes the request of a kind and number.
func (w *world) run(clients int, change func(kind, n int, url, body string) (string, string), args ...string) (answers []string, said string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(os.Getenv(envPrograms), "tapedeck"), append(args, "--", "sh", "-c", w.script)...)
	cmd.Env = append(append(os.Environ(), "HTTPS_PROXY="), w.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	transport := &http.Transport{Proxy: nil, MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	for _, target := range w.targets {
		eventually(w.t, target+" answers", func() bool {
			res, err := client.Get(target + "/healthz")
			if err != nil {
				return false
			}
			res.Body.Close()
			return true
		})
	}
	answers = make([]string, len(kinds)*perKind)
	var next atomic.Int64
	var working sync.WaitGroup
	for range clients {
		working.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(answers); i = int(next.Add(1)) - 1 {
				kind, n := i%len(kinds), i/len(kinds)
				method, target, body := kinds[kind](w.targets[kind], n)
				if change != nil {
					target, body = change(kind, n, target, body)
				}
				answers[i] = fetchText(client, method, target, body)
			}
		})
	}
	working.Wait()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	if err := <-ended; err != nil {
		w.t.Fatalf("%v: %v\n%s", args, err, out.String())
	}
	return answers, out.String()
}

func fetchText(client *http.Client, method, target, body string) string {
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	res, err := client.Do(r)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%s %s %v", res.Status, text, err)
}

// mock runs the applications under `tapedeck mock`.
func (w *world) mock(rec string, clients int, change func(kind, n int, url, body string) (string, string)) ([]string, report, string) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "receipt.json")
	answers, said := w.run(clients, change, "mock", rec, "--receipt", file, "--latency", "none")
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		w.t.Fatal(err)
	}
	return answers, r, said
}

// The example and podinfo are recorded under load, with dependencies that use HTTP and gRPC, also
// with TLS. Then the dependencies are stopped. Under the same load the mock has an answer to every
// call, and the applications answer as before, each time, whether clients send requests one after
// another or all at once. One request that is changed is one miss.
func TestMockUnderLoad(t *testing.T) {
	w := newWorld(t)
	rec := filepath.Join(t.TempDir(), "recordings")
	want, said := w.run(64, nil, "record", rec)
	for i, answer := range want {
		if ok := strings.HasPrefix(answer, "200 ") || strings.HasPrefix(answer, "202 ") || i%len(kinds) == 0 && strings.HasPrefix(answer, "502 ") && strings.Contains(answer, "404"); !ok || strings.Contains(answer, "backend ") {
			t.Fatalf("request %d got %s\n%s", i, answer, said)
		}
	}
	traps := w.end()
	all, rounds := len(want), 10
	if testing.Short() {
		rounds = 1
	}
	for _, clients := range []int{1, 64} {
		for round := range rounds {
			got, r, said := w.mock(rec, clients, nil)
			if r.Served != all || r.Missed != 0 || r.Escaped != 0 {
				t.Errorf("%d clients, round %d: %+v\n%s", clients, round, r, said)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%d clients, round %d: request %d got %s, want %s", clients, round, i, got[i], want[i])
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	for kind, c := range []struct {
		from, to string
		code     string
		explains string // how the explanation shows what was changed
	}{
		{"item=tea", "item=bread", "no_endpoint", "/prices/tea GET"},
		{"item=tea", "item=bread", "no_endpoint", "/prices/tea GET"},
		{`"n":20}`, `"n":20000}`, "no_match", "{body:$.n 20 20000}"},
		{`"n":20}`, `"n":20000}`, "no_match", "{body:$.n 20 20000}"},
		{"number+20", "number+twenty", "no_match", " number twenty}"},
		{"number+20", "number+twenty", "no_match", " number twenty}"},
	} {
		changed := -1
		got, r, said := w.mock(rec, 64, func(of, n int, url, body string) (string, string) {
			if of == kind && n >= 20 && (strings.Contains(url, c.from) || strings.Contains(body, c.from)) && (changed < 0 || changed == n) {
				changed = n
				return strings.Replace(url, c.from, c.to, 1), strings.Replace(body, c.from, c.to, 1)
			}
			return url, body
		})
		if r.Served != all-1 || r.Missed != 1 || r.Escaped != 0 || len(r.Misses) != 1 || r.Misses[0].Code != c.code {
			t.Errorf("kind %d changed: %+v\n%s", kind, r, said)
			continue
		}
		if e := fmt.Sprint(r.Misses[0].Explanation); !strings.Contains(e, c.explains) {
			t.Errorf("kind %d changed: want %s in %s", kind, c.explains, e)
		}
		for i := range want {
			if is := i%len(kinds) == kind && i/len(kinds) == changed; is == (got[i] == want[i]) {
				t.Errorf("kind %d changed: request %d got %s, recorded %s", kind, i, got[i], want[i])
			}
		}
	}
	for i, calls := range traps {
		if n := calls.Load(); n != 0 {
			t.Errorf("%d connections reached dependency %d", n, i)
		}
	}
}
