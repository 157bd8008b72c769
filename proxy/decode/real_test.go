package decode

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tee is a listener whose connections pass their bytes to a reader, as the proxy's tap does. The
// reader gets the client's bytes before the server can act on them.
type tee struct {
	net.Listener
	decoders *Decoders
	open     sync.WaitGroup
}

type teed struct {
	net.Conn
	mu     sync.Mutex
	reader tap.Reader
	once   sync.Once
	done   func()
}

func (l *tee) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	flow := &tap.Flow{Direction: tap.In, Via: tap.ViaTCP, Started: time.Now(), Host: "localhost", Port: 80}
	return &teed{Conn: c, reader: l.decoders.Open(flow), done: l.open.Done}, nil
}

func (c *teed) say(side tap.Side, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) > 0 {
		c.reader.Data(side, time.Now(), p)
	}
}

func (c *teed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.say(tap.FromClient, p[:n])
	return n, err
}

func (c *teed) Write(p []byte) (int, error) {
	c.say(tap.FromServer, p)
	return c.Conn.Write(p)
}

func (c *teed) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reader.Close(time.Now())
		c.done()
	})
	return err
}

// message is one gRPC message.
func message(text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
}

// serve answers in every way in which net/http can frame an answer, and answers /grpc as gRPC
// does.
func serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/echo":
		body, _ := io.ReadAll(r.Body) // HTTP/1 isn't full-duplex by default
		w.Write(body)
	case "/chunks":
		for i := range 3 {
			fmt.Fprintf(w, "chunk %d;", i)
			w.(http.Flusher).Flush()
		}
	case "/trailer":
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "4")
	case "/none":
		w.WriteHeader(http.StatusNoContent)
	case "/close":
		w.Header().Set("Connection", "close")
		io.WriteString(w, "bye")
	case "/hints":
		w.Header().Set("Link", "</s.css>")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "hinted")
	case "/grpc":
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		head := make([]byte, 5)
		for {
			if _, err := io.ReadFull(r.Body, head); err != nil {
				break
			}
			text := make([]byte, binary.BigEndian.Uint32(head[1:]))
			io.ReadFull(r.Body, text)
			w.Write(message(strings.ToUpper(string(text))))
			w.(http.Flusher).Flush()
		}
		w.Header().Set("Grpc-Status", "0")
	default:
		http.NotFound(w, r)
	}
}

// TestRealTraffic runs net/http's client against its server, in both versions of HTTP, with many
// concurrent requests. Each of them is recorded unchanged.
func TestRealTraffic(t *testing.T) {
	for _, version := range []string{"1.1", "2.0"} {
		t.Run("HTTP "+version, func(t *testing.T) {
			var protocols http.Protocols
			protocols.SetHTTP1(version == "1.1")
			protocols.SetUnencryptedHTTP2(version == "2.0")
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var sink locked
			listener := &tee{Listener: inner, decoders: New(Config{}, &sink)}
			server := &http.Server{Handler: http.HandlerFunc(serve), Protocols: &protocols}
			served := make(chan error, 1)
			go func() { served <- server.Serve(listener) }()
			transport := &http.Transport{Protocols: &protocols}
			client := &http.Client{Transport: transport}

			type call struct{ method, path, body, want string }
			large := strings.Repeat("large ", 20_000)
			calls := []call{
				{"GET", "/chunks", "", "chunk 0;chunk 1;chunk 2;"}, {"POST", "/echo", "hello", "hello"}, {"PUT", "/echo", large, large},
				{"GET", "/trailer", "", "body"}, {"DELETE", "/none", "", ""}, {"HEAD", "/echo", "", ""},
				{"GET", "/missing", "", "404 page not found\n"}, {"GET", "/hints", "", "hinted"},
			}
			if version == "1.1" { // in HTTP/2 a GOAWAY would refuse the other requests
				calls = append(calls, call{"GET", "/close", "", "bye"})
			}
			if version == "2.0" {
				calls = append(calls, call{"POST", "/grpc", string(message("one")) + string(message("")) + string(message("three")),
					string(message("ONE")) + string(message("")) + string(message("THREE"))})
			}
			const rounds = 8
			run := func(round int) string { return fmt.Sprintf("run-%d", round%2) }
			var wg sync.WaitGroup
			for round := range rounds {
				wg.Go(func() {
					for i, c := range calls {
						var body io.Reader = strings.NewReader(c.body)
						if round%2 == 1 { // of unknown length: in chunks
							body = struct{ io.Reader }{body}
						}
						if c.body == "" {
							body = nil
						}
						req, _ := http.NewRequestWithContext(t.Context(), c.method, "http://"+inner.Addr().String()+c.path, body)
						req.Header.Set("X-Call", fmt.Sprintf("%d-%d", round, i))
						if round%4 < 2 { // of the requests of each connection some
							req.Header.Set(contract.HeaderReplay, run(round))
						}
						if c.path == "/grpc" {
							req.Header.Set("Content-Type", "application/grpc")
						}
						res, err := client.Do(req)
						if err != nil {
							t.Error(err)
							return
						}
						got, err := io.ReadAll(res.Body)
						res.Body.Close()
						if string(got) != c.want || err != nil {
							t.Errorf("%s: %.40q, %v", c.path, got, err)
						}
					}
				})
			}
			wg.Wait()
			transport.CloseIdleConnections()
			if err := server.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-served
			listener.open.Wait()

			stats := listener.decoders.Stats()
			if len(stats.Failed) > 0 || stats.Incomplete > 0 || stats.Held != 0 {
				t.Errorf("stats %+v", stats)
			}
			found := map[string]recording.Exchange{}
			for _, e := range sink.decode(t) {
				found[e.HTTP.Req.Headers.Get("X-Call")] = e
			}
			for round := range rounds {
				for i, c := range calls {
					e, ok := found[fmt.Sprintf("%d-%d", round, i)]
					if !ok {
						t.Errorf("%s %s of round %d isn't recorded", c.method, c.path, round)
						continue
					}
					asked, answered := string(e.HTTP.Req.Body), string(e.HTTP.Res.Body)
					if e.GRPC != nil {
						asked, answered = "", ""
						for _, m := range e.GRPC.Messages {
							if m.From == recording.Client {
								asked += string(message(string(m.Data)))
							} else {
								answered += string(message(string(m.Data)))
							}
						}
						if e.Status != "0" {
							t.Errorf("grpc-status %s", e.Status)
						}
					}
					if asked != c.body || answered != c.want || e.Command != c.method || e.Location != c.path || e.HTTP.Req.Version != version {
						t.Errorf("%s %s was recorded as %s %s HTTP/%s, %.40q answered by %.40q", c.method, c.path, e.Command, e.Location, e.HTTP.Req.Version, asked, answered)
					}
					want := ""
					if round%4 < 2 {
						want = run(round)
					}
					if got := e.Tags.Get(recording.TagReplay); got != want {
						t.Errorf("%s %s of round %d: replay %q, want %q", c.method, c.path, round, got, want)
					}
					if c.path == "/trailer" && e.HTTP.Res.Headers.Get("X-Sum") != "4" {
						t.Error("the trailer isn't recorded")
					}
				}
			}
		})
	}
}

// locked is memory for several connections.
type locked struct {
	mu sync.Mutex
	memory
}

func (l *locked) Write(e *recording.Exchange) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory.Write(e)
}
