package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

// startS3 runs versitygw with a bucket, and returns its address. The metadata is beside
// the objects, so that the file system needs no extended attributes.
func startS3(t *testing.T, bucket string, options ...string) (endpoint string) {
	t.Helper()
	if options == nil {
		options = []string{"--sidecar", t.TempDir()}
	}
	endpoint, dir := startGateway(t, options...)
	if err := os.Mkdir(filepath.Join(dir, bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	return endpoint
}

// skipS3 are tests that versitygw does not pass, and S3 would.
var skipS3 = map[string]string{
	"objects come and go while others are written": "versitygw answers ExistingObjectIsDirectory if a directory vanishes during a put",
}

func TestS3KeepsThePromisesOfAStore(t *testing.T) {
	endpoint, n := startS3(t, "recordings"), 0
	storetest.Run(t, storetest.Suite{Open: place.Parse, Skip: skipS3, Place: func(t *testing.T) string {
		return makePlace("s3://recordings/%s?endpoint="+endpoint, &n)
	}})
}

func TestS3WithoutAPrefixKeepsThePromisesOfAStore(t *testing.T) {
	endpoint, dir := startGateway(t, "--sidecar", t.TempDir())
	n := 0
	storetest.Run(t, storetest.Suite{Open: place.Parse, BigBytes: 1 << 20, Skip: skipS3, Place: func(t *testing.T) string {
		n++
		bucket := "bucket-" + strings.Repeat("x", n)
		if err := os.Mkdir(filepath.Join(dir, bucket), 0o700); err != nil {
			t.Fatal(err)
		}
		return "s3://" + bucket + "?endpoint=" + endpoint
	}})
}

// versitygw with --nometa takes a key twice, as Google's store behind its S3 protocol
// does.
func TestAStoreThatOverwritesIsFoundOut(t *testing.T) {
	endpoint := startS3(t, "recordings", "--nometa")
	s := open(t, "s3://recordings/p?endpoint="+endpoint)
	for range 2 {
		err := s.Put(t.Context(), "key", strings.NewReader("body"))
		if err == nil || errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "overwrites objects although it is told not to") {
			t.Errorf("put: %v", err)
		}
	}
	if got := readAll(t, s, "key"); got != "body" {
		t.Errorf("the object has %q", got)
	}
}
