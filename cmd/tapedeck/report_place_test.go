package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/replay/report"
)

// program runs a command in this process.
func program(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

// TestReportsOfAPlace lists runs, and shows a report by the name in the list.
func TestReportsOfAPlace(t *testing.T) {
	dir := t.TempDir()
	write := func(run string, text []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, "runs", run), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "runs", run, "report.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ended := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	for i, run := range []string{"cart-replay-a/1", "cart-replay-a/2"} {
		r := &report.Report{Run: "runs/" + run, Target: "http://cart", Started: ended, Ended: ended.Add(time.Duration(i) * time.Hour)}
		if i == 1 {
			r.Partial = "it was interrupted"
		}
		r.Judge(nil)
		form, err := report.FormNamed("json")
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := form.Write(&text, r); err != nil {
			t.Fatal(err)
		}
		write(run, text.Bytes())
		if i == 0 {
			write("cart-replay-d/1", text.Bytes()) // a copy
		}
	}
	write("cart-replay-b/1", []byte("{\x1b[2J"))
	if err := os.MkdirAll(filepath.Join(dir, "runs", "cart-replay-c", "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "runs", "cart-replay-c", "1", "start.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}

	out, stderr, code := program("report", "list", dir)
	if code != 0 {
		t.Fatalf("list: exit code %d: %s", code, stderr)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, want := range []string{"can't be read", "no report yet", `report.json belongs to the run "runs/cart-replay-a/1"`, "Failed: incomplete", "Passed"} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Fatalf("line %d of the list: want %q in\n%s", i, want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("the list repeats a control sequence: %q", out)
	}
	for _, name := range []string{"runs/link", "runs/cart-replay-a/link"} {
		if err := os.Symlink("/etc/passwd", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if all, stderr, code := program("report", "list", dir); code != codeCannotRun || all != out || strings.Count(stderr, "/link: ") != 2 {
		t.Errorf("list of a place with links out of it: exit code %d, %s%s", code, all, stderr)
	}
	fields := strings.Fields(lines[4])
	shown, stderr, code := program("report", "show", fields[len(fields)-1])
	if code != 0 || !strings.Contains(shown, "http://cart") {
		t.Errorf("show %s: exit code %d, %s%s", fields[len(fields)-1], code, shown, stderr)
	}
	if _, stderr, code := program("report", "show", "file://"+dir+"/"); code != 2 || !strings.Contains(stderr, "not a regular file") {
		t.Errorf("show of a directory: exit code %d, %s", code, stderr)
	}
}
