package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/contract"
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

// Identity is what the pod is called, as recordings name it.
type Identity struct {
	App, Pod, Namespace, Node, ServiceAccount, HostIP, PodIP, Cluster string
}

// Config is how the proxy runs. FromEnv makes one; the zero value is not valid.
type Config struct {
	// Reverse and Forward say which halves run.
	Reverse, Forward bool
	// Type and Protocols are PROXY_TYPE and PROXY_PROTOCOL as they were given.
	Type, Protocols string
	// InProtocol is what the reverse half's clients speak.
	InProtocol Protocol
	// InPort and OutPort are where the halves listen, AdminPort where /metrics,
	// /healthz and /connections are, on loopback. 0 takes any free port.
	InPort, OutPort, AdminPort int
	// InAll: the reverse half listens on every address instead of loopback.
	InAll bool
	// App is where the reverse half forwards to.
	App App
	// TLSOut intercepts outbound TLS, with the CA from CADir.
	TLSOut bool
	CADir  string
	// TLSIn terminates inbound TLS; nil: it does not.
	TLSIn *KeyFiles
	// Mutual is the client certificate shown to upstreams; nil: none.
	Mutual *KeyFiles
	// TrustDir is where the trust files go; UpstreamCA names further roots.
	TrustDir, UpstreamCA string
	// Sink is the URL of the recording. SinkSize bounds its directory, in bytes;
	// 0: it does not.
	Sink     string
	SinkSize int64
	// BodyLimit bounds what is recorded of a body or message, in bytes.
	BodyLimit int64
	// RedactHeaders are redacted besides the usual ones.
	RedactHeaders []string
	// LogLevel is the least level that is logged.
	LogLevel slog.Level
	// PrometheusPort serves /metrics on every address; 0: it does not.
	PrometheusPort int
	// Memory bounds what capture holds in memory, in bytes; a quarter of it is
	// the tap's.
	Memory int64
	// Classic: the application is stopped together with the proxy, and may be called
	// and call after that.
	Classic bool
	// Drain bounds how long in-flight connections may take to finish.
	Drain time.Duration
	// Proxies are chained to.
	Proxies upstream.Proxies
	// Identity is the pod's.
	Identity Identity

	// outboundPatience and rootsRecheck replace the constants in a test, lull the
	// part of Drain.
	outboundPatience, rootsRecheck, lull time.Duration
}

// settings are parsed in this order: the type before the protocols, whose
// meaning depends on it.
var settings = []struct {
	env string
	set func(*Config, string) error
}{
	{contract.EnvCaptureMode, func(c *Config, v string) error { return oneOf(v, "proxy") }},
	{contract.EnvProxyType, setType},
	{contract.EnvProxyProtocol, setProtocol},
	{contract.EnvProxyInPort, port(func(c *Config) *int { return &c.InPort })},
	{contract.EnvProxyOutPort, port(func(c *Config) *int { return &c.OutPort })},
	{contract.EnvProxyInAddress, func(c *Config, v string) error {
		c.InAll = v == "all"
		return oneOf(v, "loopback", "all")
	}},
	{contract.EnvReverseProxyHost, setAppHost},
	{contract.EnvReverseProxyPort, port(func(c *Config) *int { return &c.App.Port })},
	{contract.EnvTLSOutUnwrap, boolean(func(c *Config) *bool { return &c.TLSOut })},
	{contract.EnvCADir, text(func(c *Config) *string { return &c.CADir })},
	{contract.EnvTLSCertDir, text(func(c *Config) *string { return &c.TrustDir })},
	{contract.EnvUpstreamCA, text(func(c *Config) *string { return &c.UpstreamCA })},
	{contract.EnvSink, text(func(c *Config) *string { return &c.Sink })},
	{contract.EnvLogLevel, func(c *Config, v string) error {
		if err := oneOf(v, "debug", "info", "warn", "error"); err != nil {
			return err
		}
		return c.LogLevel.UnmarshalText([]byte(v))
	}},
	{contract.EnvPrometheusPort, func(c *Config, v string) error {
		if v == "" {
			return nil
		}
		return port(func(c *Config) *int { return &c.PrometheusPort })(c, v)
	}},
	{contract.EnvSinkSize, func(c *Config, v string) (err error) { c.SinkSize, err = contract.ParseSize(v); return err }},
	{contract.EnvMemory, func(c *Config, v string) (err error) { c.Memory, err = contract.ParseSize(v); return err }},
	{contract.EnvBodyLimit, func(c *Config, v string) (err error) { c.BodyLimit, err = contract.ParseSize(v); return err }},
	{contract.EnvRedactHeaders, func(c *Config, v string) error {
		c.RedactHeaders = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	}},
	{contract.EnvSidecar, func(c *Config, v string) error {
		c.Classic = v == "classic"
		return oneOf(v, "native", "classic")
	}},
	{contract.EnvDrain, func(c *Config, v string) (err error) {
		if c.Drain, err = time.ParseDuration(v); err != nil || c.Drain < 0 {
			return errors.New("want a duration such as 25s")
		}
		return nil
	}},
	{contract.EnvUpstreamHTTPProxy, text(func(c *Config) *string { return &c.Proxies.HTTP })},
	{contract.EnvUpstreamHTTPSProxy, text(func(c *Config) *string { return &c.Proxies.HTTPS })},
	{contract.EnvUpstreamAllProxy, text(func(c *Config) *string { return &c.Proxies.All })},
	{contract.EnvUpstreamNoProxy, text(func(c *Config) *string { return &c.Proxies.NoProxy })},
	{contract.EnvAppLabel, text(func(c *Config) *string { return &c.Identity.App })},
	{contract.EnvPodName, text(func(c *Config) *string { return &c.Identity.Pod })},
	{contract.EnvPodNamespace, text(func(c *Config) *string { return &c.Identity.Namespace })},
	{contract.EnvNodeName, text(func(c *Config) *string { return &c.Identity.Node })},
	{contract.EnvServiceAccount, text(func(c *Config) *string { return &c.Identity.ServiceAccount })},
	{contract.EnvHostIP, text(func(c *Config) *string { return &c.Identity.HostIP })},
	{contract.EnvPodIP, text(func(c *Config) *string { return &c.Identity.PodIP })},
	{contract.EnvCluster, text(func(c *Config) *string { return &c.Identity.Cluster })},
}

// FromEnv reads the configuration from environment variables, with the names
// and defaults of package contract. The error lists every variable that is
// wrong, its value and what it may be.
func FromEnv(getenv func(string) string) (Config, error) {
	defaults := map[string]string{}
	for _, e := range contract.Envs() {
		defaults[e.Name] = e.Default
	}
	value := func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return defaults[name]
	}
	c := Config{AdminPort: contract.AdminPort, Protocols: getenv(contract.EnvProxyProtocol)}
	var errs []error
	for _, s := range settings {
		v := value(s.env)
		if s.env == contract.EnvProxyProtocol && c.Protocols == "" {
			v = "" // the default follows from the type
		}
		if err := s.set(&c, v); err != nil {
			errs = append(errs, fmt.Errorf("%s=%q: %w", s.env, v, err))
		}
	}
	var err error
	if c.TLSIn, err = keyFiles(value, contract.EnvTLSInPublicKey, contract.EnvTLSInPrivateKey); err != nil {
		errs = append(errs, err)
	}
	if c.Mutual, err = keyFiles(value, contract.EnvTLSMutualPublicKey, contract.EnvTLSMutualPrivateKey); err != nil {
		errs = append(errs, err)
	}
	var unwrap bool
	switch on := value(contract.EnvTLSInUnwrap); {
	case parseBool(on, &unwrap) != nil:
		errs = append(errs, fmt.Errorf("%s=%q: want true or false", contract.EnvTLSInUnwrap, on))
	case !unwrap:
		c.TLSIn = nil
	case c.TLSIn == nil && err == nil:
		errs = append(errs, fmt.Errorf("%s=true needs %s and %s, the files to answer with", contract.EnvTLSInUnwrap, contract.EnvTLSInPublicKey, contract.EnvTLSInPrivateKey))
	}
	errs = append(errs, c.checkPorts())
	return c, errors.Join(errs...)
}

func oneOf(v string, allowed ...string) error {
	for _, a := range allowed {
		if v == a {
			return nil
		}
	}
	return fmt.Errorf("want %s", strings.Join(allowed, ", "))
}

func setType(c *Config, v string) error {
	if v == "transparent" {
		return errors.New("it needs NET_ADMIN, and Tapedeck runs without privileges: want reverse, forward or dual")
	}
	c.Type = v
	c.Reverse = v == "reverse" || v == "dual"
	c.Forward = v == "forward" || v == "dual"
	return oneOf(v, "reverse", "forward", "dual")
}

// protocols says, for every PROXY_PROTOCOL, with which types it goes and what
// the reverse half's clients then speak. The forward half always understands
// both HTTP and SOCKS.
var protocols = []struct {
	name  string
	types string
	in    Protocol
}{
	{"tcp", "reverse", TCP},
	{"tcp:http", "dual", TCP},
	{"tcp:socks", "dual", TCP},
	{"http", "reverse forward dual", HTTP},
	{"socks", "reverse forward dual", SOCKS},
}

// defaultProtocol is, for every type, the plainest one that goes with it.
var defaultProtocol = map[string]string{"reverse": "tcp", "forward": "http", "dual": "tcp:http"}

func setProtocol(c *Config, v string) error {
	if !c.Reverse && !c.Forward {
		return nil // the type is wrong, which is said already
	}
	if v == "" {
		v = defaultProtocol[c.Type]
	}
	var allowed []string
	for _, p := range protocols {
		if !strings.Contains(p.types, c.Type) {
			continue
		}
		if p.name == v {
			c.Protocols, c.InProtocol = v, p.in
			return nil
		}
		allowed = append(allowed, p.name)
	}
	return fmt.Errorf("want %s with %s=%s", strings.Join(allowed, ", "), contract.EnvProxyType, c.Type)
}

func setAppHost(c *Config, v string) error {
	if rest, ok := strings.CutPrefix(v, "https://"); ok {
		c.App.TLS, v = true, rest
	} else {
		v = strings.TrimPrefix(v, "http://")
	}
	v = strings.TrimSuffix(v, "/")
	c.App.Host = strings.Trim(v, "[]")
	if c.App.Host == "" || strings.ContainsAny(v, "/@ ") || strings.Contains(v, ":") && net.ParseIP(c.App.Host) == nil {
		return fmt.Errorf("want a host without a port (that is %s), or https://host", contract.EnvReverseProxyPort)
	}
	return nil
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error { *field(c) = v; return nil }
}

func boolean(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error { return parseBool(v, field(c)) }
}

func parseBool(v string, b *bool) (err error) {
	if *b, err = strconv.ParseBool(v); err != nil {
		return errors.New("want true or false")
	}
	return nil
}

func port(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return errors.New("want a port, 1 to 65535")
		}
		*field(c) = int(n)
		return nil
	}
}

func keyFiles(value func(string) string, cert, key string) (*KeyFiles, error) {
	k := &KeyFiles{Cert: value(cert), Key: value(key)}
	switch {
	case k.Cert == "" && k.Key == "":
		return nil, nil
	case k.Cert == "":
		return nil, fmt.Errorf("%s is set but %s is not: want both or none", key, cert)
	case k.Key == "":
		return nil, fmt.Errorf("%s is set but %s is not: want both or none", cert, key)
	}
	return k, nil
}

// checkPorts finds ports that are used twice, and a reverse half that would
// forward to itself.
func (c *Config) checkPorts() error {
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
	take(c.Reverse, contract.EnvProxyInPort, c.InPort)
	take(c.Forward, contract.EnvProxyOutPort, c.OutPort)
	take(c.PrometheusPort != 0, contract.EnvPrometheusPort, c.PrometheusPort)
	if other, taken := used[c.App.Port]; c.Reverse && taken && isLoopback(c.App.Host) {
		errs = append(errs, fmt.Errorf("%s=%d: the proxy would forward to itself, that is %s", contract.EnvReverseProxyPort, c.App.Port, other))
	}
	return errors.Join(errs...)
}

// isLoopback reports whether a host is this pod's own loopback.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
