// Command envoy stands in for Istio's sidecar, which can't be had without its
// image. It does what the data plane does to a connection, and no more:
//
//	iptables ─▶ :15006 ─ mTLS ends ─▶ endpoint
//	iptables ─▶ :15001 ─ mTLS begins, where the endpoint is in the mesh ─▶ endpoint
//
// It proxies HTTP request by request, and everything else byte by byte,
// including HTTP at a port that is declared TCP. It asks the kernel for the
// original destination of a connection (SO_ORIGINAL_DST), and Istio's control
// plane which listener, route and cluster a call matches, and so to which
// endpoint it goes. It decides nothing itself. It logs each answer as one line
// of JSON on standard output.
//
// It has the parts of Istio's agent that a Job needs: :15021 reports when Envoy is
// ready, and a POST to 127.0.0.1:15020/quitquitquit ends it.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"strconv"
	"sync"
	"time"
)

// config is the configuration that an Envoy is started with.
type config struct {
	// Pod is the pod that this Envoy belongs to.
	Pod string
	// Certificate, Key and Roots are PEM files of the mesh's identity.
	Certificate, Key, Roots string
	// Control is the socket of the control plane.
	Control string
}

// call is a question to the control plane, like istio.Call.
type call struct {
	Pod                   string
	Inbound               bool
	Address               string
	Port                  int
	TLS, Protocol         string
	ALPN, SNI, Host, Path string
}

// landing is the answer, like istio.Landing.
type landing struct {
	Cluster, HTTP, Address string
	Port                   int
	MTLS                   bool
	Source                 string
}

// address is where the endpoint listens.
func (l landing) address() string { return net.JoinHostPort(l.Address, strconv.Itoa(l.Port)) }

// envoy is one running stand-in.
type envoy struct {
	config
	certificate tls.Certificate
	roots       *x509.CertPool
	control     *rpc.Client
	known       sync.Map // answer by call
	web         feed
	transports  sync.Map // *http.Transport by upstream

	mu  sync.Mutex
	log *json.Encoder
}

// answer is the control plane's answer for a call.
type answer struct {
	landing
	err error
}

// decision is one line of the log.
type decision struct {
	Direction   string `json:"direction"`
	Destination string `json:"destination"` // the dialed address
	Name        string `json:"name"`        // Host or SNI
	TLS         string `json:"tls"`         // plaintext, tls or mtls
	Peer        string `json:"peer,omitempty"`
	Cluster     string `json:"cluster"`      // as Istio generated it
	To          string `json:"to,omitempty"` // its endpoint
	MTLS        bool   `json:"mtls"`         // whether Envoy begins mTLS
	Error       string `json:"error,omitempty"`
}

func main() {
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(text string) error {
	e := &envoy{log: json.NewEncoder(os.Stdout), roots: x509.NewCertPool()}
	if err := json.Unmarshal([]byte(text), &e.config); err != nil {
		return err
	}
	var err error
	if e.certificate, err = tls.LoadX509KeyPair(e.Certificate, e.Key); err != nil {
		return err
	}
	roots, err := os.ReadFile(e.Roots)
	if err != nil {
		return err
	}
	e.roots.AppendCertsFromPEM(roots)
	if e.control, err = rpc.Dial("unix", e.Control); err != nil {
		return err
	}
	e.web = e.serveHTTP()

	ended := make(chan error, 7) // of four listeners, and of the agent
	for address, network := range map[string]string{"0.0.0.0": "tcp4", "::": "tcp6"} {
		for port, inbound := range map[string]bool{"15006": true, "15001": false} {
			// Multipath TCP has no SO_ORIGINAL_DST.
			lc := net.ListenConfig{}
			lc.SetMultipathTCP(false)
			l, err := lc.Listen(context.Background(), network, net.JoinHostPort(address, port))
			if err != nil {
				return err
			}
			go func() { ended <- e.accept(l, inbound) }()
		}
	}
	if err := agent(ended); err != nil {
		return err
	}
	return <-ended
}

// agent answers the application's requests to Istio's agent.
func agent(ended chan<- error) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /quitquitquit", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "OK")
		_ = http.NewResponseController(w).Flush()
		ended <- nil
	})
	for _, address := range []string{"127.0.0.1:15020", ":15021"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { ended <- http.Serve(l, mux) }()
	}
	return nil
}

func (e *envoy) accept(l net.Listener, inbound bool) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			k, err := open(c.(*net.TCPConn), inbound)
			if err == nil && inbound {
				err = k.unwrap(e.certificate, e.roots)
			}
			if err != nil {
				log.Printf("%s: %v", c.RemoteAddr(), err)
				c.Close()
				return
			}
			e.serve(k)
		}()
	}
}

// serve forwards a connection, as HTTP or as bytes.
func (e *envoy) serve(k *conn) {
	if e.routes(k) && k.speaksHTTP() {
		e.web <- k
		return
	}
	defer k.Close()
	c := call{TLS: k.tls, Protocol: "tcp"}
	if name, ok := k.serverName(); ok && !k.inbound {
		c.TLS, c.SNI = "tls", name
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := e.land(k, c)
	if err != nil {
		return // the log has it
	}
	to, err := e.connect(ctx, l, "istio")
	if err != nil {
		log.Print(err)
		return
	}
	defer to.Close()
	join(k, to)
}

// routes reports whether requests on a connection are routed one by one. A port that is
// declared TCP forwards any bytes, and does not wait for them.
func (e *envoy) routes(k *conn) bool {
	a := e.ask(k, call{TLS: k.tls, Protocol: "http"})
	return a.err != nil || a.HTTP != ""
}

// ask asks where a call lands. The answers of the control plane don't change during a
// run, so ask caches them.
func (e *envoy) ask(k *conn, c call) answer {
	c.Pod, c.Inbound, c.ALPN = e.Pod, k.inbound, k.alpn
	c.Address, c.Port = k.destination.IP.String(), k.destination.Port
	known, ok := e.known.Load(c)
	if !ok {
		var a answer
		a.err = e.control.Call("Istio.Land", c, &a.landing)
		if a.err == nil && a.Address == "" {
			a.err = errors.New(a.Cluster)
		}
		known, _ = e.known.LoadOrStore(c, a)
	}
	return known.(answer)
}

// land is like ask, for a call that is then made and therefore logged.
func (e *envoy) land(k *conn, c call) (landing, error) {
	a := e.ask(k, c)
	d := decision{Direction: "outbound", Destination: k.destination.String(), Name: c.Host + c.SNI, TLS: c.TLS, Peer: k.peer, Cluster: a.Cluster, MTLS: a.MTLS}
	if k.inbound {
		d.Direction = "inbound"
	}
	if a.err != nil {
		d.Error = a.err.Error()
	} else {
		d.To = a.address()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return a.landing, errors.Join(a.err, e.log.Encode(d))
}

// connect connects to an endpoint, and begins mTLS if that is in the mesh. The
// protocol tells the endpoint's Envoy what the connection carries.
func (e *envoy) connect(ctx context.Context, l landing, protocol string) (net.Conn, error) {
	var d net.Dialer
	if l.Source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(l.Source)}
	}
	c, err := d.DialContext(ctx, "tcp", l.address())
	if err != nil || !l.MTLS {
		return c, err
	}
	t := tls.Client(c, &tls.Config{
		Certificates: []tls.Certificate{e.certificate}, RootCAs: e.roots, NextProtos: []string{protocol},
		ServerName: "mesh", MinVersion: tls.VersionTLS12,
	})
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// join copies both ways until both are done.
func join(k *conn, c net.Conn) {
	var wg sync.WaitGroup
	for _, way := range []struct {
		to   net.Conn
		from io.Reader
	}{{c, k}, {k.Conn, c}} {
		wg.Go(func() {
			_, _ = io.Copy(way.to, way.from)
			if h, ok := way.to.(interface{ CloseWrite() error }); ok {
				_ = h.CloseWrite()
			}
		})
	}
	wg.Wait()
}
