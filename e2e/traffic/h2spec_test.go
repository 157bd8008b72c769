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

// h2spec runs HTTP/2's conformance tests against a server, and returns the result of each.
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

// Everything that HTTP/2 allows and forbids passes through: a server passes the same conformance
// tests behind the sidecar. In a few of them, the server closes the connection while the test is
// still writing, and the result depends on which comes first, with and without the sidecar. Those
// have three tries.
func TestH2Spec(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
	app.Config.ErrorLog = log.New(io.Discard, "", 0) // it would log every violation
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	defer app.Close()
	server := app.Listener.Addr().String()
	missing := h2spec(t, server) // cases that pass without the sidecar, and not yet with it
	maps.DeleteFunc(missing, func(_, result string) bool { return result != "passed" })
	passing := len(missing)
	s := start(t, server)
	s.lossy = true
	for try := 0; try < 3 && len(missing) > 0; try++ {
		got := h2spec(t, s.reverse())
		maps.DeleteFunc(missing, func(name, _ string) bool { return got[name] == "passed" })
		t.Logf("%d cases pass without the sidecar, all but %d with it", passing, len(missing))
	}
	s.stop()
	for name := range missing {
		t.Errorf("%s: does not pass, and does without the sidecar", name)
	}
	if passing < 100 {
		t.Errorf("%d cases pass, want over 100", passing)
	}
}
