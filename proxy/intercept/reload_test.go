package intercept

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/proxy/ca"
)

// writeKeyFiles writes a leaf's certificate and key as a Secret's volume does: under
// a new name, and then into place.
func writeKeyFiles(t *testing.T, a *ca.Authority, name, cert, key string) {
	t.Helper()
	leaf, err := a.Leaf(name)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	put := func(file, kind string, der []byte) {
		if file == "" {
			return
		}
		if err := os.WriteFile(file+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		stamp := time.Now() // the bubble's, so that it moves
		if err := os.Chtimes(file+".new", stamp, stamp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put(cert, "CERTIFICATE", leaf.Certificate[0])
	put(key, "PRIVATE KEY", der)
}

// A certificate that comes late, or is renewed, is used without a restart, and only together with
// its key.
func TestCertificatesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, _ := authority(t, "first")
		second, _ := authority(t, "second") // with another key for its leaves
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
		get, missing := KeyPair(cert, key)
		if _, err := get(); !errors.Is(err, fs.ErrNotExist) || !errors.Is(missing, fs.ErrNotExist) {
			t.Errorf("without files: %v, %v", missing, err)
		}
		writeKeyFiles(t, first, "old.test", cert, key)
		time.Sleep(recheck + time.Second)
		serves := func(step, want string) {
			t.Helper()
			c, err := get()
			if err != nil || c.Leaf.DNSNames[0] != want {
				t.Errorf("%s: %v, %v, want %s", step, c.Leaf.DNSNames, err, want)
			}
		}
		serves("at first", "old.test")
		time.Sleep(time.Minute)
		writeKeyFiles(t, second, "new.test", cert, "")
		serves("half replaced", "old.test")
		time.Sleep(recheck + time.Second)
		serves("half replaced, a while ago", "old.test")
		writeKeyFiles(t, second, "new.test", "", key)
		time.Sleep(recheck + time.Second)
		serves("replaced", "new.test")
		os.Remove(key)
		time.Sleep(recheck + time.Second)
		serves("removed", "new.test")
	})
}
