package proxy

import (
	"context"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// outboundPatience is how long inbound traffic may be alone before the lack of
// outbound traffic is remarked on.
const outboundPatience = 2 * time.Minute

// routeRemedy says, per runtime, what sends an application's traffic through
// the forward half.
const routeRemedy = "HTTP_PROXY and HTTPS_PROXY=http://127.0.0.1:4140 (most runtimes; lower case too for curl); " +
	"Java: JAVA_TOOL_OPTIONS=-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=4140 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=4140; " +
	"Node.js 24 and 22.21: NODE_USE_ENV_PROXY=1, older: the package global-agent with GLOBAL_AGENT_HTTP_PROXY; " +
	"gRPC: grpc_proxy; databases and others with SOCKS: ALL_PROXY=socks5h://127.0.0.1:4140"

// trustRemedy says, per runtime, what makes an application trust the CA.
const trustRemedy = "Go, OpenSSL, Ruby, .NET: SSL_CERT_FILE=" + contract.CABundle + "; Python: REQUESTS_CA_BUNDLE=" + contract.CABundle +
	"; curl: CURL_CA_BUNDLE=" + contract.CABundle + "; AWS: AWS_CA_BUNDLE=" + contract.CABundle + "; Node.js: NODE_EXTRA_CA_CERTS=" + contract.CACert +
	"; Java: JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=" + contract.TrustStore + " -Djavax.net.ssl.trustStorePassword=" + contract.TrustStorePassword +
	"; PostgreSQL: PGSSLROOTCERT=" + contract.CABundle + "; or leave it, if the client pins certificates"

// watchOutbound warns, once, when inbound traffic has come for a while and none
// went out: most often the application was never pointed at the forward half.
func (p *Proxy) watchOutbound(ctx context.Context) {
	if !p.cfg.Forward || !p.cfg.Reverse {
		return
	}
	patience := outboundPatience
	if p.cfg.outboundPatience > 0 {
		patience = p.cfg.outboundPatience
	}
	ticker := time.NewTicker(patience)
	defer ticker.Stop()
	for heard := false; ; {
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
		case heard:
			p.log.Warn("the application was called, but has called nobody through the forward half: its outbound traffic is not recorded", "remedy", routeRemedy)
			return
		}
		heard = in.accepted > 0
	}
}
