package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// Names come from the application. Their leaves take bounded memory, and a name that is not valid
// gets no leaf.
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

// chain makes a CA under a root. root and ca are the times between which each is valid.
func chain(t testing.TB, root, ca [2]time.Time) tls.Certificate {
	t.Helper()
	var pair tls.Certificate
	var parent *x509.Certificate
	var signer crypto.Signer
	for n, validity := range [][2]time.Time{root, ca} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(n + 1)), Subject: pkix.Name{CommonName: fmt.Sprint("CA ", n)},
			NotBefore: validity[0], NotAfter: validity[1], BasicConstraintsValid: true, IsCA: true,
		}
		if parent == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		if parent, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		signer = key
		pair.Certificate, pair.PrivateKey = append([][]byte{der}, pair.Certificate...), key
	}
	return pair
}

// Every certificate of the chain counts. The clock is virtual.
func TestNoLeafOutlivesTheChain(t *testing.T) {
	type span [2]time.Duration // from now on
	for name, c := range map[string]struct {
		root, ca span
		from     time.Duration
		until    time.Duration
	}{
		"the CA expires first":      {span{-1, 50 * time.Hour}, span{-1, 20 * time.Hour}, 0, 20 * time.Hour},
		"its root expires first":    {span{-1, 20 * time.Hour}, span{-1, 50 * time.Hour}, 0, 20 * time.Hour},
		"the root is not valid yet": {span{9 * time.Hour, 20 * time.Hour}, span{-1, 50 * time.Hour}, 9 * time.Hour, 20 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				at := func(s span) [2]time.Time { return [2]time.Time{start.Add(s[0]), start.Add(s[1])} }
				a, err := New(chain(t, at(c.root), at(c.ca)))
				if err != nil {
					t.Fatal(err)
				}
				if from, until := a.Validity(); c.from > 0 && !from.Equal(start.Add(c.from)) || !until.Equal(start.Add(c.until)) {
					t.Errorf("valid from %v until %v", from, until)
				}
				if _, err := a.Leaf("early.test"); c.from > 0 && !errors.Is(err, ErrNotYetValid) {
					t.Errorf("before it is valid: %v", err)
				}
				for _, left := range []time.Duration{10 * time.Hour, LeafValidity, time.Minute, time.Second} {
					time.Sleep(time.Until(start.Add(c.until - left))) // in the bubble, which takes no time
					leaf, err := a.Leaf("host.test")
					if err != nil {
						t.Fatal(err)
					}
					if leaf.Leaf.NotAfter.After(start.Add(c.until)) || leaf.Leaf.NotBefore.Before(start.Add(c.from-backdate)) {
						t.Errorf("%v before the end, a leaf from %v until %v", left, leaf.Leaf.NotBefore, leaf.Leaf.NotAfter)
					}
				}
				time.Sleep(2 * time.Second)
				if _, err := a.Leaf("host.test"); !errors.Is(err, ErrExpired) {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

func TestWhatIsNoCAIsRefused(t *testing.T) {
	a, _ := authority(t)
	leaf, err := a.Leaf("host.test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(*leaf); err == nil || !strings.Contains(err.Error(), "CA:TRUE") {
		t.Errorf("a leaf: %v", err)
	}
	pair := chain(t, [2]time.Time{time.Now(), time.Now().Add(time.Hour)}, [2]time.Time{time.Now(), time.Now().Add(time.Hour)})
	pair.Certificate[1] = []byte("x")
	if _, err := New(pair); err == nil || !strings.Contains(err.Error(), "certificate 2") {
		t.Errorf("a broken chain: %v", err)
	}
}
