package check_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/check"
)

func ExampleForm_Write() {
	var r check.Report
	r.Add(
		check.Finding{Subject: "Deployment shop/cart", Area: check.Inbound, State: check.OK, Found: "port 8080 is captured: Service cart leads to it"},
		check.Finding{Subject: "Deployment shop/cart", Area: check.Outbound, State: check.Partly, Found: "container app: calls of .shop.svc go past the sidecar, since NO_PROXY has it", Fix: "set the option captureNoProxy to true", Code: "no-proxy-wide"},
		check.Finding{Subject: "Deployment shop/web", Area: check.Capture, State: check.LeftOut, Found: "no annotation asks for a sidecar", Fix: `annotate it with sidecar.speedscale.com/inject: "true"`},
	)
	form, err := check.FormNamed("text")
	if err != nil {
		panic(err)
	}
	if err := form.Write(os.Stdout, r, check.Options{}); err != nil {
		panic(err)
	}
	// Output:
	// Deployment shop/cart
	//   ✓ ok        inbound   port 8080 is captured: Service cart leads to it
	//   ! partly    outbound  container app: calls of .shop.svc go past the sidecar, since NO_PROXY has it
	//                         → set the option captureNoProxy to true
	//
	// Deployment shop/web
	//   – left out  capture   no annotation asks for a sidecar
	//                         → annotate it with sidecar.speedscale.com/inject: "true"
	//
	// 2 subjects: 1 partly, 1 left out, 1 ok
}

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		states []check.State
		worst  check.State
		code   int
	}{
		{nil, check.OK, check.Fine},
		{[]check.State{check.OK, check.LeftOut}, check.LeftOut, check.Fine},
		{[]check.State{check.Unknown, check.LeftOut}, check.Unknown, check.Fine},
		{[]check.State{check.OK, check.Partly, check.Unknown}, check.Partly, check.Missing},
		{[]check.State{check.Problem, check.Partly}, check.Problem, check.Missing},
	} {
		var r check.Report
		for _, s := range test.states {
			r.Add(check.Finding{State: s})
		}
		if r.Worst() != test.worst || r.ExitCode() != test.code {
			t.Errorf("%q: found %q, exit code %d, want %q, %d", test.states, r.Worst(), r.ExitCode(), test.worst, test.code)
		}
	}
}

func write(t *testing.T, form string, r check.Report, o check.Options) string {
	t.Helper()
	f, err := check.FormNamed(form)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := f.Write(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Findings of one subject are printed together, even if others were added between them.
func TestFindingsOfOneSubject(t *testing.T) {
	got := write(t, "text", check.Report{Findings: []check.Finding{
		{Subject: "b", Area: "sink", State: check.OK, Found: "first"},
		{Subject: "a", Area: "sink", State: check.OK, Found: "second"},
		{Subject: "b", Area: "tls", State: check.OK, Found: "third"},
	}}, check.Options{})
	want := `b
  ✓ ok        sink  first
  ✓ ok        tls   third

a
  ✓ ok        sink  second

2 subjects: 3 ok
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A hostile name can't begin a line, control a terminal or fill a screen, in any form.
func TestHostileText(t *testing.T) {
	hostile := "x\n  ✓ ok\r\x1b[2J\u202e\u2028\xff" + strings.Repeat("y", 1<<20)
	r := check.Report{Findings: []check.Finding{{Subject: hostile, Area: hostile, State: check.Problem, Found: hostile, Fix: hostile}}}
	for _, form := range check.Forms() {
		t.Run(form.Name, func(t *testing.T) {
			got := write(t, form.Name, r, check.Options{})
			if i := strings.IndexAny(got, "\r\x1b\u202e\u2028"); i >= 0 || !utf8.ValidString(got) {
				t.Errorf("acts on a terminal, or is no UTF-8: %q", got[max(i, 0):min(len(got), max(i, 0)+40)])
			}
			if form.Name != "text" {
				return
			}
			if lines := strings.Count(got, "\n"); lines != 5 {
				t.Errorf("found %d lines, want 5", lines)
			}
			if len(got) > 64<<10 {
				t.Errorf("found %d bytes, want less than 64 KiB", len(got))
			}
		})
	}
}

// Input that can't be read gives the exit code of a check that could not run, whatever else was
// found.
func TestExitCodeOfInput(t *testing.T) {
	r := check.Report{Findings: []check.Finding{{Area: check.Input, State: check.Problem}, {Area: check.TLS, State: check.Problem}}}
	if got := r.ExitCode(); got != check.CantCheck {
		t.Errorf("found %d, want %d", got, check.CantCheck)
	}
	r.Findings[0].State = check.LeftOut
	if got := r.ExitCode(); got != check.Missing {
		t.Errorf("a file that is left out: found %d, want %d", got, check.Missing)
	}
}

func TestBrief(t *testing.T) {
	got := write(t, "text", check.Report{Findings: []check.Finding{
		{Subject: "a", Area: "sink", State: check.OK, Found: "fine"},
		{Subject: "b", Area: "sink", State: check.OK, Found: "fine"},
		{Subject: "b", Area: "tls", State: check.Problem, Found: "not", Fix: "do"},
	}}, check.Options{Brief: true})
	want := "b\n  ✗ problem   tls   not\n                    → do\n\n2 subjects: 1 problem, 2 ok\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestColour(t *testing.T) {
	r := check.Report{Findings: []check.Finding{{Subject: "s", Area: "tls", State: check.Problem, Found: "f"}}}
	if got, want := write(t, "text", r, check.Options{Colour: true}), "  \x1b[31m✗ problem \x1b[0m  tls  f\n"; !strings.Contains(got, want) {
		t.Errorf("found %q, want %q in it", got, want)
	}
}

func TestJSON(t *testing.T) {
	got := write(t, "json", check.Report{Findings: []check.Finding{{Subject: "Job a/b", Area: "inbound", State: check.LeftOut, Found: "f <x>", Fix: "do", Code: "c"}, {Subject: "s", State: check.OK}}}, check.Options{})
	want := `{
  "state": "left out",
  "findings": [
    {
      "subject": "Job a/b",
      "area": "inbound",
      "state": "left out",
      "found": "f <x>",
      "fix": "do",
      "code": "c"
    },
    {
      "subject": "s",
      "area": "",
      "state": "ok",
      "found": ""
    }
  ]
}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("{\n  \"state\": \"ok\",\n  \"findings\": []\n}\n", write(t, "json", check.Report{}, check.Options{})); diff != "" {
		t.Errorf("nothing (-want +got):\n%s", diff)
	}
}

func TestFormNamed(t *testing.T) {
	if _, err := check.FormNamed("xml"); err == nil || err.Error() != `form of a check: found "xml", allowed: text, json` {
		t.Errorf("found %v", err)
	}
}

// A report of many workloads ends with the names of those that need a change.
func TestManySubjects(t *testing.T) {
	var r check.Report
	for i := range 100 {
		state := check.OK
		switch {
		case i%3 == 0:
			state = check.Problem
		case i == 1:
			state = check.Partly
		}
		r.Add(check.Finding{Subject: fmt.Sprintf("Pod p%d\x1b", i), Area: check.Inbound, State: check.OK, Found: "it is captured"},
			check.Finding{Subject: fmt.Sprintf("Pod p%d\x1b", i), Area: check.Outbound, State: state, Found: "it is as it is"})
	}
	form, err := check.FormNamed("text")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := form.Write(&out, r, check.Options{Brief: true}); err != nil {
		t.Fatal(err)
	}
	all := strings.Split(strings.TrimSpace(out.String()), "\n")
	got := strings.ReplaceAll(strings.Join(all[len(all)-3:], "\n"), "\ufffd", "")
	want := `problem: Pod p0, Pod p3, Pod p6, Pod p9, Pod p12, Pod p15, Pod p18, Pod p21, Pod p24, Pod p27, Pod p30, Pod p33, Pod p36, Pod p39, Pod p42, Pod p45, Pod p48, Pod p51, Pod p54, Pod p57 and 14 more
partly: Pod p1
100 subjects: 34 problem, 1 partly, 165 ok`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("found a control character")
	}
}
