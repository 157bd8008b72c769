package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/proxy/trust"
)

// rootsRecheck is how often the proxy looks for missing roots.
const rootsRecheck = 10 * time.Second

// prepareTLS loads the files for TLS and writes the trust files. Missing files do not stop
// the sidecar: TLS then passes untouched, or works without them.
func (p *Proxy) prepareTLS() {
	switch {
	case !p.cfg.TLSOut:
	case p.cfg.Authority != nil:
		p.ca = p.cfg.Authority
	default:
		var err error
		p.ca, err = ca.Load(p.cfg.CADir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			p.log.Warn("there is no CA: outbound TLS passes untouched, and records have no plaintext",
				"directory", p.cfg.CADir, "variable", contract.EnvCADir, "remedy", "create a CA with `tapedeck ca`, and restart the pod")
		case err != nil:
			p.log.Error("the CA can't be used: outbound TLS passes untouched, and records have no plaintext", LogError, err)
		}
		p.caError = err
		p.watch = newCAWatch(p.log, p.ca, p.cfg.CADir)
		p.watch.look(time.Now())
	}
	roots, err := trust.Load(p.cfg.UpstreamCA)
	if p.rootless = err != nil; p.rootless {
		p.log.Warn("can't read the additional roots: until the sidecar can, it verifies upstreams only against the public and the system's roots",
			"variable", contract.EnvUpstreamCA, LogError, err)
	}
	p.use(roots)
	p.upstream = intercept.Config{Authority: p.ca, Roots: p.Roots}
	p.upstream.Certificate = p.keyPair(p.cfg.Mutual, contract.EnvTLSMutualPublicKey, "can't read the client certificate: until the sidecar can, it shows none to upstreams")
	if p.ca != nil {
		p.out = intercept.New(p.upstream)
	}
	certificate := p.keyPair(p.cfg.TLSIn, contract.EnvTLSInPublicKey, "can't read the certificate for inbound TLS: until the sidecar can, TLS passes untouched, and records have no plaintext")
	for _, in := range p.cfg.In {
		if !p.cfg.Reverse {
			break
		}
		r := &reverse{Inbound: in, p: p}
		if certificate != nil {
			r.tls = &intercept.Terminator{Certificate: certificate}
		}
		p.reverse = append(p.reverse, r)
	}
}

// keyPair returns a function that returns a certificate; nil: none is configured. without
// is the warning if its files can't be read.
func (p *Proxy) keyPair(k *KeyFiles, variable, without string) func() (*tls.Certificate, error) {
	if k == nil {
		return nil
	}
	get, err := intercept.KeyPair(k.Cert, k.Key)
	if err != nil {
		p.log.Warn(without, "variable", variable, LogError, err)
	}
	return get
}

// use sets the roots that upstreams are verified against, and writes the trust files.
func (p *Proxy) use(roots *trust.Roots) {
	p.roots.Store(roots)
	var ca *x509.Certificate
	if p.ca != nil {
		ca = p.ca.Certificate()
	}
	p.trustError.Store(nil)
	if err := roots.Write(p.cfg.TrustDir, ca); err != nil && (ca != nil || !errors.Is(err, fs.ErrNotExist)) {
		text := status.Text(err.Error())
		p.trustError.Store(&text)
		p.log.Warn("can't write the trust files: applications that use them will trust no server", LogError, err)
	}
}

// awaitRoots waits until the configured roots can be read.
func (p *Proxy) awaitRoots(ctx context.Context) {
	ticker := time.NewTicker(cmp.Or(p.cfg.rootsRecheck, rootsRecheck))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if _, err := os.Stat(p.cfg.UpstreamCA); err != nil {
			continue
		}
		if roots, err := trust.Load(p.cfg.UpstreamCA); err == nil {
			p.use(roots)
			p.log.Info("upstreams are now verified against the additional roots, too", "variable", contract.EnvUpstreamCA)
			return
		}
	}
}

// Roots returns the current roots that upstreams are verified against.
func (p *Proxy) Roots() *x509.CertPool { return p.roots.Load().Pool() }
