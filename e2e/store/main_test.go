package store

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

// gateway is the program versitygw.
var gateway string

// Credentials of versitygw's administrator, and of Azure's account.
const (
	accessKey    = "storetestadmin"
	secretKey    = "wJalrXUtnFEMIK7MDENG"
	azureAccount = "storetest"
	azureKey     = "a2V5LW9mLXRoZS1hY2NvdW50LWluLWJhc2U2NC1ub3QtZm9yLXVzZQ=="
)

func TestMain(m *testing.M) {
	gateway = os.Getenv(envGateway)
	if gateway == "" {
		os.Exit(enclosed())
	}
	storetest.Main(m, place.OpenText)
}

// envGateway tells this program that versitygw is built, and where it is.
const envGateway = "STORETEST_GATEWAY"

// enclosed builds versitygw, and runs this program again with an environment that contains nothing
// of the machine's. The processes that race for a key inherit it.
func enclosed() int {
	dir, err := os.MkdirTemp("", "tapedeck-store-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "github.com/versity/versitygw/cmd/versitygw")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "store: build versitygw: %v\n%s", err, out)
		return 1
	}
	// The certificate of httptest's servers, for those libraries that insist on TLS.
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Close()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		return 1
	}
	self := exec.Command(os.Args[0], os.Args[1:]...)
	self.Stdout, self.Stderr = os.Stdout, os.Stderr
	self.Env = []string{
		envGateway + "=" + filepath.Join(dir, "versitygw"), "TMPDIR=" + dir, "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "SSL_CERT_FILE=" + roots,
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_EC2_METADATA_DISABLED=true",
		"AZURE_STORAGE_ACCOUNT=" + azureAccount, "AZURE_STORAGE_KEY=" + azureKey,
		"GCE_METADATA_HOST=127.0.0.1:1",
	}
	if err := self.Run(); err != nil {
		return 1
	}
	return 0
}

func openText(t *testing.T, text string) (store.Store, error) {
	return place.OpenText(t.Context(), text)
}

// open opens a place.
func open(t *testing.T, text string) store.Store {
	t.Helper()
	s, err := openText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startGateway runs versitygw with its directory of buckets, and returns its address and
// that directory.
func startGateway(t *testing.T, options ...string) (endpoint, dir string) {
	t.Helper()
	dir = t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var log logbuffer.Buffer
	args := []string{"--port", address, "--access", accessKey, "--secret", secretKey, "--quiet", "--keep-alive", "--iam-dir", t.TempDir(), "posix"}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), gateway, append(append(args, options...), dir)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("versitygw:\n%s", log.String())
		}
	})
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return "http://" + address, dir
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("versitygw ended: %v\n%s", err, log.String())
		case <-time.After(10 * time.Millisecond): // until it listens
		}
	}
}

// makePlace returns a place with a different prefix each time, which contains a blank.
func makePlace(form string, n *int) string {
	*n++
	return fmt.Sprintf(form, fmt.Sprintf("tests/no %d", *n))
}

// frontDoor starts an HTTP server in front of a store. It may change requests and answers.
func frontDoor(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}
