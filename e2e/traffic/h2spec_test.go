package traffic

import (
	"encoding/xml"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// h2spec runs HTTP/2's conformance tests against a server, and returns what
// came of each.
func h2spec(t *testing.T, address string) map[string]string {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	file := filepath.Join(t.TempDir(), "report.xml")
	// It exits with 1 if a case fails, as some do with every server.
	out, _ := exec.CommandContext(t.Context(), filepath.Join(os.Getenv(envPrograms), "h2spec"), "--strict", "-h", host, "-p", port, "-j", file).CombinedOutput()
	var report struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Class   string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	results := map[string]string{}
	for _, s := range report.Suites {
		for _, c := range s.Cases {
			result := "passed"
			switch {
			case c.Failure != nil:
				result = "failed"
			case c.Error != nil:
				result = "error"
			case c.Skipped != nil:
				result = "skipped"
			}
			results[c.Package+" "+c.Class] = result
		}
	}
	return results
}

// Whatever HTTP/2 allows and forbids gets through: to its conformance tests a
// server behind the sidecar is the same as the server itself.
func TestH2Spec(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
	app.Config.ErrorLog = log.New(io.Discard, "", 0) // it is wronged all the time
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	defer app.Close()
	server := app.Listener.Addr().String()
	want := h2spec(t, server)
	s := start(t, server)
	s.lossy = true
	got := h2spec(t, s.reverse())
	s.stop()
	if !maps.Equal(got, want) {
		for name, result := range want {
			if got[name] != result {
				t.Errorf("%s: %s, without the sidecar %s", name, got[name], result)
			}
		}
	}
	count := map[string]int{}
	for _, result := range got {
		count[result]++
	}
	t.Logf("%d cases: %v", len(got), count)
	if count["passed"] < 100 {
		t.Errorf("of %d cases %d passed", len(got), count["passed"])
	}
}
