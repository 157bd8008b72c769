package trust

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/ca"
)

func newCA(t *testing.T) *x509.Certificate {
	t.Helper()
	cert, key, err := ca.Generate("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func read(t *testing.T, dir, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, filepath.Base(path)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWrite(t *testing.T) {
	roots, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	ca, dir := newCA(t), t.TempDir()
	if err := roots.Write(dir, ca); err != nil {
		t.Fatal(err)
	}
	if alone, err := parse(read(t, dir, contract.CACert)); err != nil || len(alone) != 1 || !alone[0].Equal(ca) {
		t.Errorf("tls.crt holds %d certificates, %v", len(alone), err)
	}
	all, err := parse(read(t, dir, contract.CABundle))
	if err != nil || len(all) < 100 || !all[0].Equal(ca) {
		t.Errorf("ca-bundle.crt holds %d certificates, %v", len(all), err)
	}
	store, err := pkcs12.DecodeTrustStore(read(t, dir, contract.TrustStore), contract.TrustStorePassword)
	if err != nil || len(store) != len(all) {
		t.Errorf("cacerts.p12 holds %d certificates, want %d; %v", len(store), len(all), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if b, _ := os.ReadFile(filepath.Join(dir, e.Name())); strings.Contains(string(b), "PRIVATE KEY") {
			t.Errorf("%s holds a key", e.Name())
		}
		if info, _ := e.Info(); info.Mode().Perm() != 0o644 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if len(entries) != 3 {
		t.Errorf("%d files, want 3: %v", len(entries), entries)
	}
}

func TestWriteWithoutACA(t *testing.T) {
	roots, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := roots.Write(dir, nil); err != nil {
		t.Fatal(err)
	}
	if all, err := parse(read(t, dir, contract.CABundle)); err != nil || len(all) < 100 {
		t.Errorf("ca-bundle.crt holds %d certificates, %v", len(all), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tls.crt")); !os.IsNotExist(err) {
		t.Errorf("tls.crt: %v", err)
	}
}

// The truststore names each root as if it had been parsed.
func TestEveryPublicRootIsNamed(t *testing.T) {
	roots := 0
	for want := range public() {
		roots++
		got, err := named(want.Raw)
		if err != nil || got.Subject.String() != want.Subject.String() {
			t.Errorf("%v: got %v, %v", want.Subject, got, err)
		}
	}
	if roots < 100 {
		t.Errorf("only %d roots", roots)
	}
	if got, err := named([]byte("nothing")); err == nil {
		t.Errorf("what is no certificate is named %v", got.Subject)
	}
}

func TestGivenRootsAreTrusted(t *testing.T) {
	ca := newCA(t)
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	roots, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Verify(x509.VerifyOptions{Roots: roots.Pool()}); err != nil {
		t.Error(err)
	}
}

func TestAFileWithoutCertificatesIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "no PEM block CERTIFICATE") {
		t.Errorf("error %v", err)
	}
}
