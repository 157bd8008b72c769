package pod

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store"
)

// The overlay for S3 names this bucket. The keys are the credentials for it.
const (
	bucketName   = "tapedeck-recordings"
	bucketRegion = "eu-central-1"
	bucketDomain = "s3." + bucketRegion + ".amazonaws.com"
	bucketHost   = bucketName + "." + bucketDomain
	accessKey    = "podtestadmin"
	secretKey    = "wJalrXUtnFEMIK7MDENG"
)

// bucketBytes is the capacity of the bucket.
const bucketBytes = "16m"

// bucket is versitygw with a bucket in a small file system, in a separate
// namespace:
//
//	:443 a door, in this process, in TLS ──▶ 127.0.0.1:7070 versitygw ──▶ tmpfs
//
// The door is like S3's load balancers, but it may do something else with a
// request.
type bucket struct {
	namespace
	t       *testing.T
	at      string // the door's address
	dir     string // what versitygw keeps
	config  *tls.Config
	gateway http.Handler
	door    *http.Server
	// trouble, unless it is nil, is called before a PUT reaches versitygw. It has
	// answered if it returns true.
	trouble atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
}

// newBucket makes a bucket that the node routes to.
func (w *world) newBucket() *bucket {
	w.t.Helper()
	root := openDir(w.t)
	b := &bucket{t: w.t, namespace: w.network.join(w.t, "bucket", bucketIP), at: net.JoinHostPort(w.of(bucketIP), "443"), dir: filepath.Join(root, "data")}
	for _, dir := range []string{"data", "metadata", "users"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := syscall.Mount("tmpfs", b.dir, "tmpfs", 0, "size="+bucketBytes+",mode=700"); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := syscall.Unmount(b.dir, syscall.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	})
	if err := os.Mkdir(filepath.Join(b.dir, bucketName), 0o700); err != nil {
		w.t.Fatal(err)
	}
	// The module of the store tests has the version.
	program := filepath.Join(root, "versitygw")
	if err := execute("go", "-C", "../store", "build", "-trimpath", "-o", program, "github.com/versity/versitygw/cmd/versitygw"); err != nil {
		w.t.Fatal(err)
	}
	b.start(w.t, "versitygw", spec{Root: "/", Env: []string{"PATH=/usr/bin:/bin"}, Args: []string{
		program, "--port", gatewayAt, "--region", bucketRegion, "--virtual-domain", bucketDomain, "--access", accessKey, "--secret", secretKey,
		"--quiet", "--keep-alive", "--iam-dir", filepath.Join(root, "users"), "posix", "--sidecar", filepath.Join(root, "metadata"), b.dir,
	}})
	w.listening(b.namespace, gatewayAt)

	cert, key := w.site.issue(w.t, w.dir, "bucket", "", bucketHost)
	b.config = &tls.Config{Certificates: []tls.Certificate{loadPair(w.t, cert, key)}}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return b.dial(ctx, gatewayAt) }}
	w.t.Cleanup(transport.CloseIdleConnections)
	b.gateway = &httputil.ReverseProxy{
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: gatewayAt})
			r.Out.Host = r.In.Host // it is signed, and names the bucket
		},
	}
	b.open()
	w.t.Cleanup(b.close)
	return b
}

const gatewayAt = "127.0.0.1:7070"

// open opens the door.
func (b *bucket) open() {
	b.t.Helper()
	l, err := b.listen(b.t.Context(), b.at)
	if err != nil {
		b.t.Fatal(err)
	}
	b.door = &http.Server{Handler: b, TLSConfig: b.config, ErrorLog: log.New(io.Discard, "", 0)}
	go func(door *http.Server) { _ = door.ServeTLS(l, "", "") }(b.door)
}

// close closes the door: nothing listens there any more.
func (b *bucket) close() { _ = b.door.Close() }

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if trouble := b.trouble.Load(); trouble != nil && r.Method == http.MethodPut && (*trouble)(w, r) {
		return
	}
	b.gateway.ServeHTTP(w, r)
}

// doing makes the door call trouble for a PUT.
func (b *bucket) doing(trouble func(w http.ResponseWriter, r *http.Request) bool) {
	b.trouble.Store(&trouble)
}

func (b *bucket) healed() { b.trouble.Store(nil) }

// fill leaves no room in the bucket, and returns a function that makes room again.
func (b *bucket) fill() (empty func()) {
	b.t.Helper()
	name := filepath.Join(b.dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		b.t.Fatal(err)
	}
	zeros := make([]byte, 4<<10) // a page, so that none is left
	for err == nil {
		_, err = f.Write(zeros)
	}
	if f.Close(); !strings.Contains(err.Error(), "no space left") {
		b.t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			b.t.Error(err)
		}
	}
}

// place opens the bucket without its door, like a program outside the mesh.
func (b *bucket) place() store.Store {
	b.t.Helper()
	return openPlace(b.t, "s3://"+bucketName+"?region="+bucketRegion+"&endpoint=http://"+b.forward(b.t, gatewayAt))
}

func openPlace(t *testing.T, text string) store.Store {
	t.Helper()
	s, err := place.OpenText(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// forward listens here for an address in the namespace, like `kubectl port-forward`, and returns the
// local address.
func (n namespace) forward(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer here.Close()
				there, err := n.dial(context.Background(), address)
				if err != nil {
					return
				}
				defer there.Close()
				go func() {
					_, _ = io.Copy(there, here)
					_ = there.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(here, there)
			}()
		}
	}()
	return l.Addr().String()
}
