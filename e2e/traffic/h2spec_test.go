package traffic

import (
	"encoding/xml"
	"io"
	"log"
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

// Whatever HTTP/2 allows and forbids gets through: what a server passes of its
// conformance tests it passes behind the sidecar too. In a few the server closes
// the connection while the test still writes, and who is first is luck, with
// the sidecar and without: those have three tries.
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
	passed, got := map[string]bool{}, map[string]string{}
	missed := len(want)
	for try := 0; try < 3 && missed > 0; try++ {
		got, missed = h2spec(t, s.reverse()), 0
		for name, result := range want {
			passed[name] = passed[name] || got[name] == "passed"
			if result == "passed" && !passed[name] {
				missed++
			}
		}
	}
	s.stop()
	for name, result := range want {
		if result == "passed" && !passed[name] {
			t.Errorf("%s: %s, without the sidecar %s", name, got[name], result)
		}
	}
	n := 0
	for _, ok := range passed {
		if ok {
			n++
		}
	}
	t.Logf("%d of %d cases passed", n, len(want))
	if n < 100 {
		t.Errorf("want over 100 to pass")
	}
}
