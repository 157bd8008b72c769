// Command envoy stands in for Istio's sidecar, which can't be had without its
// image. It does what the data plane does to a connection, and no more:
//
//	iptables ─▶ :15006 ─ mTLS ends ─▶ where the listener's cluster says
//	iptables ─▶ :15001 ─ by Host or SNI ─ mTLS begins ─▶ endpoint, or the black hole
//
// HTTP is proxied request by request, everything else byte by byte; where a
// connection was meant to go it asks the kernel (SO_ORIGINAL_DST). Each
// decision is one line of JSON on standard output.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// config is what the control plane would send.
type config struct {
	// Certificate, Key and Roots are PEM files of the mesh's identity.
	Certificate, Key, Roots string
	// Inbound says, by the port that was dialed, where it leads; a port that
	// is not there leads to itself.
	Inbound map[int]string
	// Routes are what the registry has.
	Routes []route
}

// route is one host of the registry.
type route struct {
	// Host is the name in Host or SNI, without port.
	Host string
	Port int
	// Endpoint is where it leads, "" where it was dialed; MTLS that the
	// endpoint is in the mesh.
	Endpoint string
	MTLS     bool
}

// envoy is one running stand-in.
type envoy struct {
	config
	certificate tls.Certificate
	roots       *x509.CertPool

	mu  sync.Mutex
	log *json.Encoder
}

// decision is one line of the log.
type decision struct {
	Direction   string `json:"direction"`
	Destination string `json:"destination"`   // that was dialed
	Name        string `json:"name"`          // Host or SNI
	To          string `json:"to"`            // endpoint, or BlackHoleCluster
	TLS         string `json:"tls,omitempty"` // mtls, or passthrough
	Peer        string `json:"peer,omitempty"`
}

// blackHole is where Istio sends what the registry does not have.
const blackHole = "BlackHoleCluster"

// passthroughSource is where Envoy connects from to the pod's own address: by
// it, Istio's rules know that the connection was redirected once already.
const passthroughSource = "127.0.0.6"

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

	ended := make(chan error, 2)
	for port, half := range map[int]func() func(*conn){15006: e.inbound, 15001: e.outbound} {
		// Multipath TCP has no SO_ORIGINAL_DST.
		lc := net.ListenConfig{}
		lc.SetMultipathTCP(false)
		l, err := lc.Listen(context.Background(), "tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			return err
		}
		go func() { ended <- accept(l, half()) }()
	}
	return <-ended
}

func accept(l net.Listener, serve func(*conn)) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			k, err := open(c.(*net.TCPConn))
			if err != nil {
				log.Print(err)
				c.Close()
				return
			}
			serve(k)
		}()
	}
}

func (e *envoy) say(d decision) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.log.Encode(d)
}

// inbound ends mTLS and sends what is in it on, as the listener's cluster says.
func (e *envoy) inbound() func(*conn) {
	web := e.serveHTTP("inbound", func(k *conn, _ string) (string, bool, bool) { return e.cluster(k), false, true })
	server := &tls.Config{
		Certificates: []tls.Certificate{e.certificate}, ClientCAs: e.roots, ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"istio"}, MinVersion: tls.VersionTLS12,
	}
	return func(k *conn) {
		first, err := k.Peek(1)
		if err != nil {
			k.Close()
			return
		}
		if first[0] == 0x16 { // a TLS handshake
			if err := k.unwrap(server); err != nil {
				log.Printf("mTLS from %s: %v", k.RemoteAddr(), err)
				k.Close()
				return
			}
		}
		if k.speaksHTTP() {
			web(k)
			return
		}
		to := e.cluster(k)
		e.say(decision{Direction: "inbound", Destination: k.destination.String(), To: to, TLS: k.tls(), Peer: k.peer})
		c, err := e.dial(to)
		join(k, c, err)
	}
}

// cluster is where an inbound connection leads.
func (e *envoy) cluster(k *conn) string {
	if to := e.Inbound[k.destination.Port]; to != "" {
		return to
	}
	return k.destination.String()
}

// outbound sends on what the pod's own programs dialed.
func (e *envoy) outbound() func(*conn) {
	web := e.serveHTTP("outbound", func(k *conn, host string) (string, bool, bool) { return e.find(k, host) })
	return func(k *conn) {
		if k.speaksHTTP() {
			web(k)
			return
		}
		d := decision{Direction: "outbound", Destination: k.destination.String(), To: blackHole}
		if name, ok := k.serverName(); ok {
			d.Name, d.TLS = name, "passthrough"
			if to, mtls, ok := e.find(k, name); ok && !mtls {
				d.To = to
			}
		}
		e.say(d)
		if d.To == blackHole {
			k.Close()
			return
		}
		c, err := e.dial(d.To)
		join(k, c, err)
	}
}

// find looks a host up in the registry.
func (e *envoy) find(k *conn, host string) (to string, mtls, ok bool) {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	for _, r := range e.Routes {
		if !strings.EqualFold(r.Host, name) || r.Port != k.destination.Port {
			continue
		}
		if r.Endpoint == "" {
			return k.destination.String(), r.MTLS, true
		}
		return r.Endpoint, r.MTLS, true
	}
	return "", false, false
}

// dial connects; the pod's own address from where iptables let it pass.
func (e *envoy) dial(to string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	if host, _, _ := net.SplitHostPort(to); ownAddress(host) {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(passthroughSource)}
	}
	return d.Dial("tcp4", to)
}

// dialMesh begins mTLS with another pod of the mesh.
func (e *envoy) dialMesh(ctx context.Context, to string) (net.Conn, error) {
	c, err := e.dial(to)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, &tls.Config{
		Certificates: []tls.Certificate{e.certificate}, RootCAs: e.roots, NextProtos: []string{"istio"},
		ServerName: "mesh", MinVersion: tls.VersionTLS12,
	})
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// ownAddress tells whether an address is this pod's, loopback aside.
func ownAddress(host string) bool {
	ip := net.ParseIP(host)
	if ip == nil || ip.IsLoopback() {
		return false
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}

// join copies both ways until both are done.
func join(k *conn, c net.Conn, err error) {
	defer k.Close()
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()
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
