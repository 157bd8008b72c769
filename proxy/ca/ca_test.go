package ca

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// authority makes a CA and the pool that trusts it.
func authority(t testing.TB) (*Authority, *x509.CertPool) {
	t.Helper()
	cert, key, err := Generate("test CA", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(pair)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	return a, pool
}

func TestOneMintPerNameUnderLoad(t *testing.T) {
	a, pool := authority(t)
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			name := fmt.Sprintf("host-%d.test", n%4)
			cert, err := a.Leaf(name)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); err != nil {
				t.Error(err)
			}
			if got := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore); got > LeafValidity+backdate {
				t.Errorf("valid for %v", got)
			}
		})
	}
	wg.Wait()
	if got := a.Minted(); got != 4 {
		t.Errorf("%d mints for 4 names", got)
	}
}

func TestLeafForAnAddress(t *testing.T) {
	a, pool := authority(t)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		cert, err := a.Leaf(addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: addr, Roots: pool}); err != nil {
			t.Error(err)
		}
	}
}

// Names come from the application: their leaves take a bounded part of the
// memory, and a name that can be none gets no leaf.
func TestTheCacheIsBounded(t *testing.T) {
	a, _ := authority(t)
	for n := range maxLeaves + 100 {
		if _, err := a.Leaf(fmt.Sprintf("host-%d.test", n)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.leaves); n != maxLeaves {
		t.Errorf("%d leaves are kept, want %d", n, maxLeaves)
	}
	before := a.Minted()
	if _, err := a.Leaf(strings.Repeat("a", contract.MaxHostName+1)); err == nil || a.Minted() != before {
		t.Errorf("a name of 256 bytes: %v", err)
	}
	if _, err := a.Leaf(strings.Repeat("a", contract.MaxHostName)); err != nil {
		t.Error(err)
	}
}
