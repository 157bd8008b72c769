package sidecar

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// Identity is the pod's name and place, which recordings include.
type Identity struct {
	App, Pod, Namespace, Node, ServiceAccount, HostIP, PodIP, Cluster string
}

// Config configures a sidecar. [FromEnv] makes one; the zero value is not valid.
type Config struct {
	// Config configures the proxy.
	proxy.Config
	// Type and Protocols are PROXY_TYPE and PROXY_PROTOCOL as they were given.
	Type, Protocols string
	// Sink is the directory of the recording. SinkSize is its maximum size in bytes; 0: no
	// maximum.
	Sink     string
	SinkSize int64
	// Collector, unless it is the zero Place, is the collector that gets the complete
	// segments of Sink, with the token in SinkTokenFile.
	Collector     contract.Place
	SinkTokenFile string
	// SinkPlainHTTP allows a Collector outside the pod without TLS.
	SinkPlainHTTP bool
	// Choice selects what is captured, by the keys of package filter. Files with the same
	// names in ChoiceDir, unless that is "", override them.
	Choice    map[string]string
	ChoiceDir string
	// BodyLimit is the maximum number of bytes recorded of a body or message.
	BodyLimit int64
	// OpaqueBytes records the bytes of streams in unknown protocols.
	OpaqueBytes bool
	// RedactHeaders are additional headers and URL parameters to redact.
	RedactHeaders []string
	// Redact selects what is redacted in addition to secrets.
	Redact contract.Redaction
	// RedactKeyFile is the file with the redaction key; "": the key is random.
	RedactKeyFile string
	// LogLevel is the lowest level that is logged.
	LogLevel slog.Level
	// Memory is the maximum memory for capture, in bytes.
	Memory int64
	// Identity is the pod's identity.
	Identity Identity
	// Listening, if not nil, is called once the proxy listens. Recorded, if not nil, is called
	// once all records are written, with the number of outbound exchanges among them.
	Listening func(*proxy.Proxy)
	Recorded  func(kept spool.Stats, outbound uint64)
}

// settings are parsed in this order. The protocols depend on the type, so it comes first.
var settings = []struct {
	env string
	set func(*Config, string) error
}{
	{contract.EnvCaptureMode, func(c *Config, v string) error { return oneOf(v, "proxy") }},
	{contract.EnvProxyType, setType},
	{contract.EnvProxyProtocol, setProtocol},
	{contract.EnvProxyInPort, port(func(c *Config) *int { return &c.In[0].Port })},
	{contract.EnvProxyOutPort, port(func(c *Config) *int { return &c.OutPort })},
	{contract.EnvProxyInAddress, func(c *Config, v string) error {
		c.InAll = v == "all"
		return oneOf(v, "loopback", "all")
	}},
	{contract.EnvReverseProxyHost, setAppHost},
	{contract.EnvReverseProxyPort, port(func(c *Config) *int { return &c.In[0].App.Port })},
	{contract.EnvInPorts, setInPorts},
	{contract.EnvTLSOutUnwrap, boolean(func(c *Config) *bool { return &c.TLSOut })},
	{contract.EnvCADir, text(func(c *Config) *string { return &c.CADir })},
	{contract.EnvTLSCertDir, text(func(c *Config) *string { return &c.TrustDir })},
	{contract.EnvUpstreamCA, text(func(c *Config) *string { return &c.UpstreamCA })},
	{contract.EnvUpstreamReady, func(c *Config, v string) error {
		c.UpstreamReady = v
		if v == "" {
			return nil
		}
		return checkHealthURL(v)
	}},
	{contract.EnvSink, setSink},
	{contract.EnvSpool, func(c *Config, v string) error {
		dir, err := contract.ParseDirectory(v)
		if c.Collector.IsCollector() {
			c.Sink = dir
		}
		return err
	}},
	{contract.EnvSinkTokenFile, text(func(c *Config) *string { return &c.SinkTokenFile })},
	{contract.EnvSinkPlainHTTP, boolean(func(c *Config) *bool { return &c.SinkPlainHTTP })},
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
	{contract.EnvCapture, choice("capture")},
	{contract.EnvCaptureInclude, choice("include")},
	{contract.EnvCaptureExclude, choice("exclude")},
	{contract.EnvCaptureSample, choice("sample")},
	{contract.EnvCaptureDir, text(func(c *Config) *string { return &c.ChoiceDir })},
	{contract.EnvCaptureHosts, func(c *Config, v string) (err error) {
		if c.Hosts, err = contract.ParseCaptureHosts(v); err != nil {
			return fmt.Errorf("%w: want %s", err, contract.CaptureHostsAllowed)
		}
		return nil
	}},
	{contract.EnvSinkSize, func(c *Config, v string) (err error) { c.SinkSize, err = contract.ParseSize(v); return err }},
	{contract.EnvMemory, func(c *Config, v string) (err error) { c.Memory, err = contract.ParseSize(v); return err }},
	{contract.EnvBodyLimit, func(c *Config, v string) (err error) { c.BodyLimit, err = contract.ParseSize(v); return err }},
	{contract.EnvOpaqueBytes, boolean(func(c *Config) *bool { return &c.OpaqueBytes })},
	{contract.EnvRedactHeaders, func(c *Config, v string) error {
		c.RedactHeaders = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	}},
	{contract.EnvRedact, func(c *Config, v string) (err error) {
		if c.Redact, err = contract.ParseRedaction(v); err != nil {
			return fmt.Errorf("%w: want %s", err, contract.RedactionAllowed)
		}
		return nil
	}},
	{contract.EnvRedactKeyFile, text(func(c *Config) *string { return &c.RedactKeyFile })},
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

// FromEnv reads the configuration from environment variables, with the names and defaults
// of package contract. The error lists every wrong variable with its value and the allowed
// values.
func FromEnv(getenv func(string) string) (Config, error) {
	defaults := map[string]string{}
	for _, e := range contract.Envs() {
		defaults[e.Name] = e.Default
	}
	value := func(name string) string {
		if v := getenv(name); v != "" && !serviceLink(name, v) {
			return v
		}
		return defaults[name]
	}
	c := Config{Protocols: getenv(contract.EnvProxyProtocol)}
	c.In = make([]proxy.Inbound, 1)
	c.AdminPort = contract.AdminPort
	var errs []error
	for _, s := range settings {
		v := value(s.env)
		if s.env == contract.EnvProxyProtocol && c.Protocols == "" {
			v = "" // the default depends on the type
		}
		if err := s.set(&c, v); err != nil {
			shown := fmt.Sprintf("%s=%q", s.env, v)
			// The errors of these two variables quote the value without a password. Other values
			// may have a password in a URL or before an @.
			if slices.Contains([]string{contract.EnvCaptureHosts, contract.EnvSink}, s.env) || strings.Contains(v, "://") || strings.Contains(v, "@") {
				shown = s.env
			}
			errs = append(errs, fmt.Errorf("%s: %w", shown, err))
		}
	}
	var unwrap bool
	var inErr, mutualErr error
	c.TLSIn, inErr = keyFiles(value, contract.EnvTLSInPublicKey, contract.EnvTLSInPrivateKey)
	c.Mutual, mutualErr = keyFiles(value, contract.EnvTLSMutualPublicKey, contract.EnvTLSMutualPrivateKey)
	errs = append(errs, inErr, mutualErr)
	switch on := value(contract.EnvTLSInUnwrap); {
	case parseBool(on, &unwrap) != nil:
		errs = append(errs, fmt.Errorf("%s=%q: want true or false", contract.EnvTLSInUnwrap, on))
	case !unwrap:
		c.TLSIn = nil
	case c.TLSIn == nil && inErr == nil:
		errs = append(errs, fmt.Errorf("%s=true needs %s and %s: set them to the files with the certificate and key", contract.EnvTLSInUnwrap, contract.EnvTLSInPublicKey, contract.EnvTLSInPrivateKey))
	}
	errs = append(errs, c.checkCollector(), c.Check())
	return c, errors.Join(errs...)
}

// serviceLink reports whether Kubernetes set a variable, and not a manifest. Every container
// gets NAME_PORT=tcp://ADDRESS:PORT for each Service NAME of its namespace, so a Service
// prometheus sets PROMETHEUS_PORT. A variable in the manifest wins.
// https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
func serviceLink(name, v string) bool {
	if !strings.HasSuffix(name, "_PORT") {
		return false
	}
	protocol, _, found := strings.Cut(v, "://")
	return found && slices.Contains([]string{"tcp", "udp", "sctp"}, protocol)
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
		return errors.New("transparent mode needs NET_ADMIN, and Tapedeck runs without privileges: want reverse, forward or dual")
	}
	c.Type = v
	c.Reverse = v == "reverse" || v == "dual"
	c.Forward = v == "forward" || v == "dual"
	return oneOf(v, "reverse", "forward", "dual")
}

// protocols lists the values of PROXY_PROTOCOL, the types that allow each, and the protocol
// of the reverse proxy's clients. The forward proxy always accepts both HTTP and SOCKS.
var protocols = []struct {
	name  string
	types string
	in    proxy.Protocol
}{
	{"tcp", "reverse", proxy.TCP},
	{"tcp:http", "dual", proxy.TCP},
	{"tcp:socks", "dual", proxy.TCP},
	{"http", "reverse forward dual", proxy.HTTP},
	{"socks", "reverse forward dual", proxy.SOCKS},
}

// defaultProtocol is the default protocol of each type.
var defaultProtocol = map[string]string{"reverse": "tcp", "forward": "http", "dual": "tcp:http"}

func setProtocol(c *Config, v string) error {
	if !c.Reverse && !c.Forward {
		return nil // the type is wrong, and has its own error
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

func setSink(c *Config, v string) error {
	place, err := contract.ParseSink(v)
	if err != nil {
		return err
	}
	if place.IsCollector() {
		c.Collector = place
	} else {
		c.Sink = place.Path
	}
	return nil
}

func setAppHost(c *Config, v string) error {
	if rest, ok := strings.CutPrefix(v, "https://"); ok {
		c.In[0].App.TLS, v = true, rest
	} else {
		v = strings.TrimPrefix(v, "http://")
	}
	v = strings.TrimSuffix(v, "/")
	c.In[0].App.Host = strings.Trim(v, "[]")
	if c.In[0].App.Host == "" || strings.ContainsAny(v, "/@ ") || strings.Contains(v, ":") && net.ParseIP(c.In[0].App.Host) == nil {
		return fmt.Errorf("want a host without a port (that is %s), or https://host", contract.EnvReverseProxyPort)
	}
	return nil
}

// setInPorts adds the other ports of the reverse proxy. All forward to the same host.
func setInPorts(c *Config, v string) error {
	if v == "" {
		return nil
	}
	routes, err := contract.ParseInRoutes(v)
	if err != nil {
		return err
	}
	first := c.In[0]
	if routes[0] != (contract.InRoute{In: first.Port, App: first.App.Port}) {
		return fmt.Errorf("the first pair is %d=%d: want %d=%d, the values of %s and %s", routes[0].In, routes[0].App, first.Port, first.App.Port, contract.EnvProxyInPort, contract.EnvReverseProxyPort)
	}
	for _, r := range routes[1:] {
		in := proxy.Inbound{Port: r.In, App: first.App}
		in.App.Port = r.App
		c.In = append(c.In, in)
	}
	return nil
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error { *field(c) = v; return nil }
}

func choice(name string) func(*Config, string) error {
	key := filter.KeyOf(name)
	return func(c *Config, v string) error {
		if c.Choice == nil {
			c.Choice = map[string]string{}
		}
		c.Choice[name] = v
		if err := key.Check(v); err != nil {
			return fmt.Errorf("%w: want %s", err, key.Allowed)
		}
		return nil
	}
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

func keyFiles(value func(string) string, cert, key string) (*proxy.KeyFiles, error) {
	k := &proxy.KeyFiles{Cert: value(cert), Key: value(key)}
	switch {
	case k.Cert == "" && k.Key == "":
		return nil, nil
	case k.Cert == "":
		return nil, fmt.Errorf("%s is set and %s is not: want both or neither", key, cert)
	case k.Key == "":
		return nil, fmt.Errorf("%s is set and %s is not: want both or neither", cert, key)
	}
	return k, nil
}
