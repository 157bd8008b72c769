// Package trust writes the files that make the application trust the sidecar's CA, and
// holds the roots that the sidecar verifies upstreams against.
//
//	ca-bundle.crt  public roots, configured roots and the CA: replaces a runtime's roots
//	tls.crt        only the CA: adds to a runtime's roots
//	cacerts.p12    the same as ca-bundle.crt in PKCS#12, for Java
//
// It writes only certificates, and never a key. The package imports x509roots, go-pkcs12,
// contract and the standard library.
package trust

import (
	"bufio"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/tapedeck/tapedeck/contract"
)

// Roots holds the certificates that upstreams are verified against. It parses most of them
// only when they are needed, because many sidecars never verify an upstream, and need not hold
// them in memory.
type Roots struct {
	given []*x509.Certificate // the certificates of the file
	pool  func() *x509.CertPool
}

// Load returns the system's roots, Mozilla's public roots and those of a PEM file, which may
// be "". If the file can't be read, Load returns the other roots and an error.
func Load(file string) (*Roots, error) {
	r := &Roots{}
	r.pool = sync.OnceValue(r.gather)
	if file == "" {
		return r, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return r, fmt.Errorf("read roots: %w", err)
	}
	if r.given, err = parse(text); err != nil {
		return r, fmt.Errorf("read roots from %s: %w", file, err)
	}
	return r, nil
}

// gather returns a pool of all roots.
func (r *Roots) gather() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // an image without certificates
	}
	for cert, constraint := range public() {
		if constraint == nil {
			pool.AddCert(cert)
		} else {
			pool.AddCertWithConstraint(cert, constraint)
		}
	}
	for _, cert := range r.given {
		pool.AddCert(cert)
	}
	return pool
}

// public parses Mozilla's roots. Some are trusted only within a constraint.
func public() iter.Seq2[*x509.Certificate, func([]*x509.Certificate) error] {
	return func(yield func(*x509.Certificate, func([]*x509.Certificate) error) bool) {
		for root := range bundle.Roots() {
			cert, err := x509.ParseCertificate(root.Certificate)
			if err != nil {
				continue // a missing root is better than no proxy
			}
			if !yield(cert, root.Constraint) {
				return
			}
		}
	}
}

// parse parses the certificates of a PEM file, which must have at least one.
func parse(text []byte) (certs []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no PEM block CERTIFICATE found")
	}
	return certs, nil
}

// Pool returns the pool of all roots.
func (r *Roots) Pool() *x509.CertPool { return r.pool() }

// Write writes the trust files into dir, which must exist. It replaces each file atomically:
// a reader sees the old file or the new one. Without a CA it writes no tls.crt, and the other
// files have only the roots, so that an application whose environment names them still trusts
// the roots.
func (r *Roots) Write(dir string, ca *x509.Certificate) error {
	if info, err := os.Stat(dir); err != nil {
		return fmt.Errorf("write trust files: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("write trust files: %s is not a directory: %w", dir, fs.ErrInvalid)
	}
	var all []*x509.Certificate // without the system's roots, because their pool can't be listed
	if ca != nil {
		all = append(all, ca)
	}
	for root := range bundle.Roots() {
		cert, err := named(root.Certificate)
		if err != nil {
			continue // a missing root is better than no file
		}
		all = append(all, cert)
	}
	all = append(all, r.given...)
	if ca != nil {
		if err := replace(dir, contract.CACert, encode(ca)); err != nil {
			return err
		}
	}
	if err := replace(dir, contract.CABundle, encode(all...)); err != nil {
		return err
	}
	return replace(dir, contract.TrustStore, func(w io.Writer) error {
		store, err := pkcs12.Modern.EncodeTrustStore(all, contract.TrustStorePassword)
		if err != nil {
			return fmt.Errorf("encode truststore: %w", err)
		}
		_, err = w.Write(store)
		return err
	})
}

// named returns a certificate with only its bytes and its subject, because the trust files
// need no more. Parsing the rest would double the memory that an idle sidecar's start takes,
// and load the code of every kind of key.
func named(der []byte) (*x509.Certificate, error) {
	var parsed struct {
		Signed struct {
			Version                             int `asn1:"optional,explicit,tag:0"`
			Serial, Algorithm, Issuer, Validity asn1.RawValue
			Subject                             pkix.RDNSequence
		}
	}
	if _, err := asn1.Unmarshal(der, &parsed); err != nil {
		return nil, err
	}
	cert := &x509.Certificate{Raw: der}
	cert.Subject.FillFromRDNSequence(&parsed.Signed.Subject)
	return cert, nil
}

// encode returns a function that writes certificates as PEM.
func encode(certs ...*x509.Certificate) func(io.Writer) error {
	return func(w io.Writer) error {
		for _, c := range certs {
			if err := pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
				return err
			}
		}
		return nil
	}
}

// replace atomically replaces a file in dir with the bytes that write writes. Its name is the
// last element of path. All users in the pod may read it.
func replace(dir, path string, write func(io.Writer) error) error {
	name := filepath.Join(dir, filepath.Base(path))
	tmp, err := os.CreateTemp(dir, ".tapedeck-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w := bufio.NewWriter(tmp)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
