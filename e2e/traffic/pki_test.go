package traffic

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/ca"
)

// authority is a CA that signs the servers of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "root.crt")}
	certificate := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.cert, a.key = certificate.Leaf, certificate.PrivateKey.(*ecdsa.PrivateKey)
	writePEM(t, a.file, "CERTIFICATE", a.cert.Raw)
	return a
}

// serverName is the servers' name in their certificates.
const serverName = "server.test"

// server returns the TLS configuration of a server.
func (a *authority) server(alpn ...string) *tls.Config {
	return &tls.Config{NextProtos: alpn, Certificates: []tls.Certificate{a.leaf(serverName, x509.ExtKeyUsageServerAuth)}}
}

// files writes a server's certificate and key, for programs to read.
func (a *authority) files() (cert, key string) {
	a.t.Helper()
	return a.write(a.leaf(serverName, x509.ExtKeyUsageServerAuth))
}

// client writes a client's certificate and key.
func (a *authority) client() (cert, key string) {
	a.t.Helper()
	return a.write(a.leaf("the client", x509.ExtKeyUsageClientAuth))
}

func (a *authority) leaf(name string, usage x509.ExtKeyUsage) tls.Certificate {
	a.t.Helper()
	return a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{serverName}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	})
}

func (a *authority) write(pair tls.Certificate) (cert, key string) {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePEM(a.t, cert, "CERTIFICATE", pair.Certificate[0])
	writePEM(a.t, key, "PRIVATE KEY", der)
	return cert, key
}

// sign makes a certificate from the template. The first one is self-signed.
func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// intercepting returns the environment of a sidecar that intercepts outbound TLS and trusts the
// authority's servers.
func (a *authority) intercepting() []string {
	a.t.Helper()
	dir := a.t.TempDir()
	cert, key, err := ca.Generate("the sidecar's CA", time.Now(), time.Hour)
	if err != nil {
		a.t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return []string{contract.EnvTLSOutUnwrap + "=true", contract.EnvCADir + "=" + dir, contract.EnvUpstreamCA + "=" + a.file}
}

// terminating returns the environment of a sidecar that terminates inbound TLS as the server
// behind it.
func (a *authority) terminating() []string {
	a.t.Helper()
	cert, key := a.files()
	return []string{contract.EnvTLSInUnwrap + "=true", contract.EnvTLSInPublicKey + "=" + cert, contract.EnvTLSInPrivateKey + "=" + key}
}

// pool trusts the certificates in a file.
func pool(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	certificates, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certificates) {
		t.Fatalf("%s: no certificates", file)
	}
	return roots
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
