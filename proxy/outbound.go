package proxy

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

const (
	// outboundPatience is how long there may be inbound traffic but no outbound traffic
	// before the proxy warns.
	outboundPatience = 2 * time.Minute
	// idleTicks is how many times longer the proxy waits without inbound traffic. Such an
	// application may have nothing to do yet.
	idleTicks = 5
)

// routeRemedy says, for each runtime, how to send an application's traffic through the
// forward proxy.
func (p *Proxy) routeRemedy() string {
	port := p.OutAddr().(*net.TCPAddr).Port
	return fmt.Sprintf("HTTP_PROXY and HTTPS_PROXY=http://127.0.0.1:%[1]d (most runtimes; lower case too for curl); "+
		"Java: the annotation %[2]sjava-proxy, or JAVA_TOOL_OPTIONS=-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=%[1]d -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=%[1]d; "+
		"Node.js 24 and 22.21: NODE_USE_ENV_PROXY=1, older: the package global-agent with GLOBAL_AGENT_HTTP_PROXY; "+
		"gRPC: grpc_proxy; databases and others with SOCKS: ALL_PROXY=socks5h://127.0.0.1:%[1]d; "+
		"clients that ignore all of these, in any protocol: the annotation %[2]scapture-hosts with the hosts and their ports, such as postgres.db:5432", port, contract.OwnPrefix)
}

// trustRemedy says, for each runtime, how to make an application trust the CA.
func (p *Proxy) trustRemedy() string {
	in := func(file string) string { return path.Join(p.cfg.TrustDir, path.Base(file)) }
	return fmt.Sprintf("Go, OpenSSL, Ruby, .NET: SSL_CERT_FILE=%[1]s; Python: REQUESTS_CA_BUNDLE=%[1]s; curl: CURL_CA_BUNDLE=%[1]s; "+
		"AWS: AWS_CA_BUNDLE=%[1]s; Node.js: NODE_EXTRA_CA_CERTS=%[2]s; "+
		"Java: JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=%[3]s -Djavax.net.ssl.trustStorePassword=%[4]s; "+
		"PostgreSQL: PGSSLROOTCERT=%[1]s; nothing if the client pins certificates",
		in(contract.CABundle), in(contract.CACert), in(contract.TrustStore), contract.TrustStorePassword)
}

// watchOutbound warns once if there is no outbound traffic. The usual cause is that the
// application was never pointed at the forward proxy.
func (p *Proxy) watchOutbound(ctx context.Context) {
	if !p.cfg.Forward {
		return
	}
	ticker := time.NewTicker(cmp.Or(p.cfg.outboundPatience, outboundPatience))
	defer ticker.Stop()
	called := false
	for ticks := 1; ; ticks++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		out, _ := p.conns.sums(tap.Out)
		in, _ := p.conns.sums(tap.In)
		switch {
		case out.accepted > 0:
			return
		case called || ticks >= idleTicks:
			p.log.Warn("the application has made no call through the forward proxy: outbound traffic that goes elsewhere is not recorded",
				"called", called, "remedy", p.routeRemedy())
			return
		}
		called = in.accepted > 0
	}
}
