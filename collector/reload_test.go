package collector_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/internal/logbuffer"
)

// Keys are replaced while the collector runs. One that can't be read leaves the old one.
func TestKeysAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, second := strings.Repeat("1", 32), strings.Repeat("2", 32)
	write("new", first+"\n")
	write("old", second+"\n")
	synctest.Test(t, func(t *testing.T) {
		var log logbuffer.Buffer
		keys, err := collector.KeyFiles([]string{dir + "/new", dir + "/old"}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		is := func(want ...string) {
			t.Helper()
			var got []string
			for _, k := range keys() {
				got = append(got, string(k))
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("keys %q, want %q", got, want)
			}
		}
		is(first, second)
		third := strings.Repeat("3", 32)
		write("new", third)
		time.Sleep(10 * time.Second)
		is(third, second)
		write("old", "short")
		for range 3 {
			time.Sleep(10 * time.Second)
			is(third, second)
		}
		if n := strings.Count(log.String(), "its last content stays in use"); n != 1 || strings.Contains(log.String(), third) {
			t.Errorf("the log: %s", &log)
		}
		write("old", first)
		time.Sleep(10 * time.Second)
		is(third, first)
	})
	if _, err := collector.KeyFiles([]string{dir + "/none"}, nil); err == nil {
		t.Error("a key that is not there passed")
	}
}

// A certificate is renewed while the collector runs.
func TestTheCertificateIsReadAgain(t *testing.T) {
	_, certFile, keyFile := certificate(t)
	_, newCert, newKey := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		c, err := collector.Certificate(certFile, keyFile, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		shown := func() string {
			got, err := c.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return string(got.Certificate[0])
		}
		first := shown()
		for from, to := range map[string]string{newCert: certFile, newKey: keyFile} {
			text, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if shown() != first {
			t.Error("files are read for every connection")
		}
		time.Sleep(10 * time.Second)
		if shown() == first {
			t.Error("the old certificate is shown")
		}
	})
	if _, err := collector.Certificate(certFile, certFile, nil); err == nil {
		t.Error("a certificate without its key passed")
	}
}
