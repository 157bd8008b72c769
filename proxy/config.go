package proxy

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// Protocol is the protocol of the reverse proxy's clients.
type Protocol string

// With HTTP and SOCKS, a client may ask for a tunnel in that protocol, or speak to the
// application directly. In both cases it reaches the application.
const (
	TCP   Protocol = "tcp"
	HTTP  Protocol = "http"
	SOCKS Protocol = "socks"
)

// KeyFiles name a certificate chain and its key, both PEM.
type KeyFiles struct{ Cert, Key string }

// App is the application that the reverse proxy forwards to.
type App struct {
	Host string
	Port int
	// TLS says that the application speaks TLS. Its certificate is verified unless Host
	// is loopback.
	TLS bool
}

// Inbound is a port of the reverse proxy.
type Inbound struct {
	// Port is the port that it listens on; 0 takes any free port.
	Port int
	App  App
}

// Config configures a [Proxy]. The zero value is not valid.
type Config struct {
	// Reverse and Forward say which proxies run.
	Reverse, Forward bool
	// InProtocol is the protocol of the reverse proxy's clients.
	InProtocol Protocol
	// In lists the ports of the reverse proxy.
	In []Inbound
	// OutPort is the port of the forward proxy. AdminPort serves /metrics, /healthz,
	// /connections and /status on loopback. 0 takes any free port.
	OutPort, AdminPort int
	// InAll makes the reverse proxy listen on every address instead of loopback.
	InAll bool
	// TLSOut turns on the interception of outbound TLS, with Authority or else the CA in
	// CADir.
	TLSOut    bool
	CADir     string
	Authority *ca.Authority
	// TLSIn is the certificate that terminates inbound TLS; nil: TLS passes through.
	TLSIn *KeyFiles
	// Mutual is the client certificate shown to upstreams; nil: none.
	Mutual *KeyFiles
	// Hosts are captured with a hosts file. The proxy writes the file to TrustDir: the
	// lines of the pod's hosts file, and then an address for each host, on which the
	// forward proxy listens.
	Hosts []contract.CaptureHost
	// TrustDir is the directory for the trust files. UpstreamCA is a file with more roots.
	TrustDir, UpstreamCA string
	// PrometheusPort serves /metrics on every address; 0: no port does.
	PrometheusPort int
	// TapMemory is the maximum of copied traffic that waits for the tap's readers, in
	// bytes.
	TapMemory int64
	// Memory limits the memory for forwarding.
	Memory Memory
	// Paused, if not nil and true, tells the tap to hold nothing for the time being.
	Paused *atomic.Bool
	// Classic says that the application gets SIGTERM together with the proxy, and may
	// still receive and make calls then.
	Classic bool
	// Drain is the time for open connections to finish after the stop.
	Drain time.Duration
	// Describe, if not nil, adds the caller's facts to the answer of /status. It is called
	// from several goroutines.
	Describe func(*status.Status)
	// Pod is the pod's name, which may resolve to loopback; "" if it is not known.
	Pod string
	// Proxies are the proxies that outbound connections are chained to.
	Proxies upstream.Proxies
	// UpstreamReady, if not "", is a URL that must answer with status 200 before the
	// forward proxy connects to anything. It also makes Proxies the only way out: see
	// [upstream.Proxies].
	UpstreamReady string

	// These replace constants in tests; lull replaces the part of Drain.
	outboundPatience, rootsRecheck, hostsRecheck, adminPatience, lull time.Duration
	// etc replaces /etc in a test.
	etc string
}

// Check rejects ports that are used twice, and a reverse proxy that would forward to
// itself. The error names the variables of package contract.
func (c *Config) Check() error {
	used := map[int]string{c.AdminPort: "the admin port"}
	var errs []error
	take := func(on bool, name string, port int) {
		if !on || port == 0 {
			return
		}
		if other, taken := used[port]; taken {
			errs = append(errs, fmt.Errorf("%s=%d: %s has that port already", name, port, other))
		}
		used[port] = name
	}
	for i, in := range c.In {
		take(c.Reverse, inPortVariable(i), in.Port)
	}
	take(c.Forward, contract.EnvProxyOutPort, c.OutPort)
	take(c.PrometheusPort != 0, contract.EnvPrometheusPort, c.PrometheusPort)
	if c.UpstreamReady != "" && c.Forward && c.Proxies.All == "" {
		errs = append(errs, fmt.Errorf("%s: it needs a proxy for all traffic; set %s to the proxy's URL", contract.EnvUpstreamReady, contract.EnvUpstreamAllProxy))
	}
	for i, in := range c.In {
		if other, taken := used[in.App.Port]; c.Reverse && taken && isLoopback(in.App.Host) {
			variable := contract.EnvReverseProxyPort
			if i > 0 {
				variable = contract.EnvInPorts
			}
			errs = append(errs, fmt.Errorf("%s=%d: the proxy would forward to itself; %s has that port", variable, in.App.Port, other))
		}
	}
	return errors.Join(append(errs, c.checkHosts())...)
}

// checkHosts rejects ports of captured hosts that another listener needs on every
// address, because a listener on one address of a port blocks such a listener.
func (c *Config) checkHosts() error {
	if len(c.Hosts) > 0 && !c.Forward {
		return fmt.Errorf("%s: the forward proxy captures hosts, and %s turns it off", contract.EnvCaptureHosts, contract.EnvProxyType)
	}
	everywhere := map[int]string{}
	for i, in := range c.In {
		if c.Reverse && isLoopback(in.App.Host) {
			everywhere[in.App.Port] = "the application's, which could not listen on it"
		}
		if c.Reverse && c.InAll {
			everywhere[in.Port] = inPortVariable(i)
		}
	}
	if c.PrometheusPort != 0 {
		everywhere[c.PrometheusPort] = contract.EnvPrometheusPort
	}
	var errs []error
	for _, h := range c.Hosts {
		for _, port := range h.Ports {
			if other, taken := everywhere[port]; taken {
				errs = append(errs, fmt.Errorf("%s: %s: that port is %s", contract.EnvCaptureHosts, hostPort(h.Name, port), other))
			}
		}
	}
	return errors.Join(errs...)
}

// inPortVariable names the variable that sets the reverse proxy's port number i.
func inPortVariable(i int) string {
	if i > 0 {
		return contract.EnvInPorts
	}
	return contract.EnvProxyInPort
}

// isLoopback reports whether a host is this pod's own loopback.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
