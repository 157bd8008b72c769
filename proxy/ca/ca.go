// Package ca makes certificates: the CA, and a leaf for each name that a client asks for.
//
// It keeps one leaf for each name in a bounded cache, and writes no key to disk. A leaf
// never outlives the CA or a certificate of its chain, and is made only while all of them
// are valid. The sidecar uses the package to intercept TLS, and `tapedeck ca` to make the
// CA. The package imports contract and the standard library.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

const (
	// LeafValidity is how long a leaf certificate is valid.
	LeafValidity = time.Hour
	// leafRenewal is the age at which a cached leaf is replaced. It is less than
	// LeafValidity, so that a client whose clock is ahead still finds the leaf valid.
	leafRenewal = 50 * time.Minute
	// backdate lets clients whose clock is behind accept a new leaf.
	backdate = 5 * time.Minute
	// maxLeaves bounds the cache, because the application chooses the names. A leaf takes
	// about 6 KB.
	maxLeaves = 1024
)

// Authority makes leaf certificates, one at a time for each name. It is safe for concurrent
// use.
type Authority struct {
	ca    *x509.Certificate
	chain [][]byte // the certificates that follow the leaf in a handshake
	// All certificates of the chain are valid between from and until.
	from, until time.Time
	key         crypto.Signer
	leaf        *ecdsa.PrivateKey // the key of all leaves, which never leaves the process

	mu     sync.Mutex
	leaves map[string]*leafEntry
	minted int64
}

type leafEntry struct {
	once  sync.Once
	until time.Time
	cert  *tls.Certificate
	err   error
}

// Load reads tls.crt and tls.key from dir. The error wraps fs.ErrNotExist if there is no CA.
func Load(dir string) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		return nil, fmt.Errorf("load CA from %s: %w", dir, err)
	}
	a, err := New(pair)
	if err != nil {
		return nil, fmt.Errorf("load CA from %s: %w", dir, err)
	}
	return a, nil
}

// New returns an authority with a CA's certificate chain and key.
func New(pair tls.Certificate) (*Authority, error) {
	a := &Authority{chain: pair.Certificate, leaves: map[string]*leafEntry{}}
	for n, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", n+1, err)
		}
		if n == 0 {
			a.ca, a.from, a.until = cert, cert.NotBefore, cert.NotAfter
			continue
		}
		if cert.NotBefore.After(a.from) {
			a.from = cert.NotBefore
		}
		if cert.NotAfter.Before(a.until) {
			a.until = cert.NotAfter
		}
	}
	switch {
	case !a.ca.IsCA:
		return nil, fmt.Errorf("certificate %q is not a CA's: basicConstraints must say CA:TRUE", a.ca.Subject)
	case a.ca.KeyUsage != 0 && a.ca.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, fmt.Errorf("certificate %q may not sign others: its keyUsage must have keyCertSign", a.ca.Subject)
	}
	var ok bool
	if a.key, ok = pair.PrivateKey.(crypto.Signer); !ok {
		return nil, errors.New("the CA's key cannot sign")
	}
	var err error
	if a.leaf, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	return a, nil
}

// Validity returns the time in which all certificates of the CA's chain are valid.
func (a *Authority) Validity() (from, until time.Time) { return a.from, a.until }

// The reasons why a CA can't be used at a time.
var (
	ErrNotYetValid = errors.New("the CA is not valid yet")
	ErrExpired     = errors.New("the CA has expired")
)

// Check returns an error if the CA can't be used at that time.
func (a *Authority) Check(now time.Time) error {
	switch {
	case now.Before(a.from):
		return fmt.Errorf("%w: it becomes valid on %s", ErrNotYetValid, a.from.Format(time.RFC3339))
	case now.After(a.until):
		return fmt.Errorf("%w on %s", ErrExpired, a.until.Format(time.RFC3339))
	}
	return nil
}

// Certificate returns the CA's certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.ca }

// Minted returns how many leaves have been made.
func (a *Authority) Minted() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.minted
}

// Leaf returns a certificate for a DNS name or an IP address. Concurrent calls with the same
// name wait for one certificate.
func (a *Authority) Leaf(name string) (*tls.Certificate, error) {
	if err := contract.CheckHostName(name); err != nil {
		return nil, fmt.Errorf("mint a certificate: %w", err)
	}
	now := time.Now()
	if err := a.Check(now); err != nil {
		return nil, fmt.Errorf("mint a certificate: %w", err)
	}
	a.mu.Lock()
	e := a.leaves[name]
	if e == nil || now.After(e.until) {
		if len(a.leaves) >= maxLeaves {
			a.evict(now)
		}
		e = &leafEntry{until: now.Add(leafRenewal)}
		a.leaves[name] = e
	}
	a.mu.Unlock()
	e.once.Do(func() {
		e.cert, e.err = a.mint(name, now)
	})
	return e.cert, e.err
}

// evict makes room. It removes leaves that are due for renewal, and others at random if that
// is not enough.
func (a *Authority) evict(now time.Time) {
	for name, e := range a.leaves {
		if now.After(e.until) {
			delete(a.leaves, name)
		}
	}
	for name := range a.leaves {
		if len(a.leaves) < maxLeaves {
			return
		}
		delete(a.leaves, name)
	}
}

func (a *Authority) mint(name string, now time.Time) (*tls.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := rand.Read(serial); err != nil {
		return nil, err
	}
	serial[0] &= 0x7f // positive
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: commonName(name)},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(LeafValidity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotBefore.Before(a.from) {
		template.NotBefore = a.from
	}
	if template.NotAfter.After(a.until) {
		template.NotAfter = a.until
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca, a.leaf.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("mint a certificate for %s: %w", name, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.minted++
	a.mu.Unlock()
	return &tls.Certificate{Certificate: append([][]byte{der}, a.chain...), PrivateKey: a.leaf, Leaf: leaf}, nil
}

// commonName shortens a name to the 64 characters that X.520 allows. Clients read the full
// name in the subjectAltName.
func commonName(name string) string {
	return name[:min(len(name), 64)]
}

// Generate makes a CA: an ECDSA P-256 key and a self-signed certificate, both in PEM. The CA
// can't sign other CAs.
func Generate(name string, from time.Time, validity time.Duration) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial := make([]byte, 16)
	if _, err := rand.Read(serial); err != nil {
		return nil, nil, err
	}
	serial[0] &= 0x7f
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             from.Add(-backdate),
		NotAfter:              from.Add(validity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
