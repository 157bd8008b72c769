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

// Protocol is what clients of the reverse half speak.
type Protocol string

// The protocols. With HTTP and SOCKS a client may ask for a tunnel in that
// protocol, or send what is meant for the application right away; either way
// the application is what it reaches.
const (
	TCP   Protocol = "tcp"
	HTTP  Protocol = "http"
	SOCKS Protocol = "socks"
)

// KeyFiles name a certificate chain and its key, both PEM.
type KeyFiles struct{ Cert, Key string }

// App is where the reverse half forwards to.
type App struct {
	Host string
	Port int
	// TLS: the application speaks TLS. Its certificate is verified unless it is
	// reached on loopback.
	TLS bool
}

// Inbound is a port of the reverse half, and where its connections go.
type Inbound struct {
	// Port is where it listens; 0 takes any free port.
	Port int
	App  App
}

// Config is how the proxy forwards. The zero value is not valid.
type Config struct {
	// Reverse and Forward say which halves run.
	Reverse, Forward bool
	// InProtocol is what the reverse half's clients speak.
	InProtocol Protocol
	// In lists the ports of the reverse half.
	In []Inbound
	// OutPort is where the forward half listens, AdminPort where /metrics, /healthz,
	// /connections and /status are, on loopback. 0 takes any free port.
	OutPort, AdminPort int
	// InAll: the reverse half listens on every address instead of loopback.
	InAll bool
	// TLSOut intercepts outbound TLS, with Authority if it is set, else with the CA
	// from CADir.
	TLSOut    bool
	CADir     string
	Authority *ca.Authority
	// TLSIn terminates inbound TLS; nil: it does not.
	TLSIn *KeyFiles
	// Mutual is the client certificate shown to upstreams; nil: none.
	Mutual *KeyFiles
	// Hosts are captured through a hosts file, which is written into TrustDir: the pod's
	// own hosts file and, behind it, an address for each host, on which the forward half
	// listens.
	Hosts []contract.CaptureHost
	// TrustDir is where the trust files go; UpstreamCA names further roots.
	TrustDir, UpstreamCA string
	// PrometheusPort serves /metrics on every address; 0: it does not.
	PrometheusPort int
	// TapMemory bounds the copied traffic that waits for the tap's readers, in
	// bytes.
	TapMemory int64
	// Memory bounds what forwarding takes.
	Memory Memory
	// Paused, when set, tells whether the tap is to hold nothing for the time being.
	Paused *atomic.Bool
	// Classic: the application is stopped together with the proxy, and may be called
	// and call after that.
	Classic bool
	// Drain bounds how long in-flight connections may take to finish.
	Drain time.Duration
	// Describe, unless it is nil, adds to the answer of /status what the proxy does not
	// know. It is called by any goroutine.
	Describe func(*status.Status)
	// Pod is the pod's name, which may lead to loopback; "" if it is not known.
	Pod string
	// Proxies are chained to.
	Proxies upstream.Proxies
	// UpstreamReady, unless it is "", is a URL that has to answer with status 200 before
	// the forward half connects to anything. It also makes the proxies the only way out:
	// see [upstream.Proxies].
	UpstreamReady string

	// outboundPatience, rootsRecheck and adminPatience replace the constants in a
	// test, lull the part of Drain.
	outboundPatience, rootsRecheck, hostsRecheck, adminPatience, lull time.Duration
	// etc replaces /etc in a test.
	etc string
}

// Check finds ports that are used twice, and a reverse half that would forward
// to itself. The error names the variables of package contract.
func (c *Config) Check() error {
	used := map[int]string{c.AdminPort: "the admin port"}
	var errs []error
	take := func(on bool, name string, port int) {
		if !on || port == 0 {
			return
		}
		if other, taken := used[port]; taken {
			errs = append(errs, fmt.Errorf("%s=%d: that is %s already", name, port, other))
		}
		used[port] = name
	}
	for i, in := range c.In {
		take(c.Reverse, inPortVariable(i), in.Port)
	}
	take(c.Forward, contract.EnvProxyOutPort, c.OutPort)
	take(c.PrometheusPort != 0, contract.EnvPrometheusPort, c.PrometheusPort)
	if c.UpstreamReady != "" && c.Forward && c.Proxies.All == "" {
		errs = append(errs, fmt.Errorf("%s: nothing but proxies is connected to then, and %s names none: want it to name the one that everything is chained to", contract.EnvUpstreamReady, contract.EnvUpstreamAllProxy))
	}
	for i, in := range c.In {
		if other, taken := used[in.App.Port]; c.Reverse && taken && isLoopback(in.App.Host) {
			variable := contract.EnvReverseProxyPort
			if i > 0 {
				variable = contract.EnvInPorts
			}
			errs = append(errs, fmt.Errorf("%s=%d: the proxy would forward to itself, that is %s", variable, in.App.Port, other))
		}
	}
	return errors.Join(append(errs, c.checkHosts())...)
}

// checkHosts finds ports of captured hosts on which nobody could listen beside somebody
// who listens on every address: a listener on one address of a port keeps it from others.
func (c *Config) checkHosts() error {
	if len(c.Hosts) > 0 && !c.Forward {
		return fmt.Errorf("%s: hosts are captured by the forward half, which %s leaves out", contract.EnvCaptureHosts, contract.EnvProxyType)
	}
	everywhere := map[int]string{}
	for i, in := range c.In {
		if c.Reverse && isLoopback(in.App.Host) {
			everywhere[in.App.Port] = "the application's own, which it could not listen on any more"
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

// inPortVariable names the variable that gives the reverse half's port with an index.
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
