package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

// startS3 runs versitygw with a bucket, and returns its address. The metadata is next to
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

// skipS3 are tests that versitygw does not pass, but S3 would.
var skipS3 = map[string]string{
	"objects come and go while others are written": "versitygw answers ExistingObjectIsDirectory if a directory vanishes during a put",
}

func TestS3KeepsThePromisesOfAStore(t *testing.T) {
	endpoint, n := startS3(t, "recordings"), 0
	storetest.Run(t, storetest.Suite{Open: place.OpenText, Skip: skipS3, Place: func(t *testing.T) string {
		return makePlace("s3://recordings/%s?endpoint="+endpoint, &n)
	}})
}

func TestS3WithoutAPrefixKeepsThePromisesOfAStore(t *testing.T) {
	endpoint, dir := startGateway(t, "--sidecar", t.TempDir())
	n := 0
	storetest.Run(t, storetest.Suite{Open: place.OpenText, BigBytes: 1 << 20, Skip: skipS3, Place: func(t *testing.T) string {
		n++
		bucket := "bucket-" + strings.Repeat("x", n)
		if err := os.Mkdir(filepath.Join(dir, bucket), 0o700); err != nil {
			t.Fatal(err)
		}
		return "s3://" + bucket + "?endpoint=" + endpoint
	}})
}

// versitygw with --nometa accepts a key twice, as Google's store does over its S3 protocol.
func TestAStoreThatOverwritesIsFoundOut(t *testing.T) {
	endpoint := startS3(t, "recordings", "--nometa")
	s := open(t, "s3://recordings/p?endpoint="+endpoint)
	for range 2 {
		err := s.Put(t.Context(), "key", strings.NewReader("body"))
		if err == nil || errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "overwrites objects despite If-None-Match") {
			t.Errorf("put: %v", err)
		}
	}
	if got := storetest.Get(t, s, "key"); got != "body" {
		t.Errorf("the object has %q", got)
	}
}

// Several stores reject checksums after the body, which AWS's library sends by
// default.
func TestS3SendsNoTrailingChecksumsToOtherStores(t *testing.T) {
	upstream := behind(t, startS3(t, "recordings"))
	door := frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Amz-Trailer", "X-Amz-Sdk-Checksum-Algorithm", "Content-Encoding", "X-Amz-Checksum-Mode"} {
			if v := r.Header.Get(name); v != "" {
				t.Errorf("%s %s has %s: %s", r.Method, r.URL.Path, name, v)
			}
		}
		if r.Method == http.MethodPut && (r.ContentLength != 4 || r.Header.Get("If-None-Match") != "*" || len(r.Header.Get("X-Amz-Content-Sha256")) != 64) {
			t.Errorf("put %d bytes with %v", r.ContentLength, r.Header)
		}
		upstream.ServeHTTP(w, r)
	})
	s := open(t, "s3://recordings/p?endpoint="+door)
	if err := s.Put(t.Context(), "key", strings.NewReader("body")); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get(t, s, "key"); got != "body" {
		t.Errorf("the object has %q", got)
	}
}

// Objects that consoles and other programs leave in a bucket are not listed, or can't be read.
func TestS3ForeignKeys(t *testing.T) {
	endpoint, dir := startGateway(t, "--sidecar", t.TempDir())
	for _, name := range []string{"hour=20/x.jsonl.zst", "folder/.hidden", ".git/config", `back\slash`} {
		name = filepath.Join(dir, "recordings", "p", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "recordings", "p", "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, "s3://recordings/p?endpoint="+endpoint)
	var got []string
	for o, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.Key)
		if r, err := s.Get(t.Context(), o.Key); err == nil {
			r.Close()
		} else if store.CheckKey(o.Key) == nil {
			t.Errorf("get %q: %v", o.Key, err)
		} else if !strings.Contains(err.Error(), "that not every store keeps") {
			t.Errorf("get %q: %v", o.Key, err)
		}
	}
	if want := []string{`back\slash`, "hour=20/x.jsonl.zst"}; !slices.Equal(got, want) {
		t.Errorf("listed %q; want %q", got, want)
	}
}

// Amazon's store escapes names in a listing if it is asked to, because XML can't contain
// every character. versitygw does not.
func TestS3ListsEscapedNames(t *testing.T) {
	door := frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("encoding-type") != "url" {
			t.Errorf("asked %s", r.URL)
		}
		fmt.Fprint(w, `<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>p/a+b%2Bc%01/50%25</Key><Size>1</Size></Contents></ListBucketResult>`)
	})
	for o, err := range open(t, "s3://recordings/p?endpoint="+door).List(t.Context(), "") {
		if err != nil || o.Key != "a b+c\x01/50%" {
			t.Errorf("listed %q, %v", o.Key, err)
		}
	}
}
