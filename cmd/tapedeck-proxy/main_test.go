package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/docpage"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/archive"
	"github.com/tapedeck/tapedeck/recording/spool"
)

var update = flag.Bool("update", false, "write the table of commands in docs")

func TestTheCommandsPageListsTheCommands(t *testing.T) {
	var b strings.Builder
	b.WriteString("| command | what it does |\n|---|---|\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "| `%s` | %s. Example: `%s` |\n", c.called(c.usage), strings.ReplaceAll(c.does, "|", `\|`), strings.ReplaceAll(c.example, "|", `\|`))
	}
	docpage.Tables(t, "../../docs/commands.md", *update, map[string]string{"sidecar": b.String()})
}

func call(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), code
}

func TestHelpNamesEveryCommandWithAnExample(t *testing.T) {
	out, _, code := call(t, "--help")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, c := range commands() {
		if !strings.Contains(out, c.called(c.usage)+"\n") || !strings.Contains(out, "Example: "+c.example) {
			t.Errorf("the help does not show %q:\n%s", c.name, out)
		}
	}
	if out, _, code := call(t, "inspect", "--help"); code != 0 || !strings.Contains(out, "-direction") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestWrongUse(t *testing.T) {
	for args, want := range map[string]string{
		"heathz":              `unknown command "heathz"; tapedeck-proxy --help lists the commands`,
		"healthz now":         `unexpected argument "now": want none`,
		"healthz --wait soon": `invalid value "soon" for flag -wait: parse error; tapedeck-proxy healthz --help lists the flags`,
		"--wait 1s":           `flag provided but not defined: -wait; tapedeck-proxy --help lists the flags`,
		"inspect":             "name at least one directory or segment, such as /var/lib/tapedeck/recordings",
		"inspect -o xml .":    `output "xml": want table or json`,
		"hosts a b":           `unexpected argument "b": want one file, or none`,
		"version 1":           `unexpected argument "1": want none`,
		"export a b":          `unexpected argument "b": want one directory, or none`,
		"export s3://a":       `place "s3://a": want file:///directory, or a path without a scheme`,
	} {
		_, got, code := call(t, strings.Fields(args)...)
		if code != 1 || got != "tapedeck-proxy: "+want+"\n" {
			t.Errorf("%s: exit code %d, %q, want %q", args, code, got, want)
		}
	}
}

// The init container of a classic sidecar writes the pod's own hosts file to where the application
// mounts one, since nothing listens for captured hosts yet.
func TestHostsAreThePodsOwnAtFirst(t *testing.T) {
	own, err := os.ReadFile(contract.SystemHosts)
	if err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), contract.HostsName)
	for range 2 { // as an init container that runs again
		if _, stderr, code := call(t, "hosts", file); code != 0 {
			t.Fatal(stderr)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, own) {
			t.Errorf("%v:\n%s\nwant\n%s", err, got, own)
		}
	}
	if _, stderr, code := call(t, "hosts", filepath.Join(file, "no-directory")); code != 1 || !strings.Contains(stderr, "no-directory") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestVersion(t *testing.T) {
	if out, _, code := call(t, "version"); code != 0 || !strings.HasPrefix(out, "tapedeck-proxy dev ") {
		t.Errorf("exit code %d, %q", code, out)
	}
}

// The program exports the directory to which the sidecar in the same pod writes.
func TestExportWritesTheSinkOfTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	r, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Write(&recording.Exchange{MsgType: recording.MsgType})
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sink, spool string
		args        []string
	}{
		{"file://" + dir, "", []string{"export"}},
		{"https://collector.speedscale:4310", dir, []string{"export"}}, // segments that the collector does not have yet
		{"file://" + dir + "/other", "", []string{"export", dir}},
	} {
		t.Setenv(contract.EnvSink, c.sink)
		t.Setenv(contract.EnvSpool, c.spool)
		args := c.args
		out, notes, code := call(t, args...)
		segments := 0
		m, err := archive.Read(t.Context(), strings.NewReader(out), archive.DefaultLimits(), func(recording.SegmentKey, int64, io.Reader) error {
			segments++
			return nil
		})
		if code != 0 || err != nil || segments != 1 || m.Version != contract.BuildVersion("") || notes != "note: not sent: files that are not segments: 1\n" {
			t.Errorf("%v: exit code %d, %d segments, %+v, %v; %s", args, code, segments, m, err, notes)
		}
	}
	t.Setenv(contract.EnvSink, filepath.Join(dir, "nowhere"))
	if _, notes, code := call(t, "export"); code != 1 || !strings.Contains(notes, "nowhere") {
		t.Errorf("exit code %d: %s", code, notes)
	}
}

// Every pod pays for the packages that the sidecar links. The garbage collector reads all of their
// variables, so each table of a package is resident, used or not.
func TestTheSidecarLinksNothingThatOnlyCommandsNeed(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command to list the packages with")
	}
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		for _, heavy := range []string{
			"yaml", "kustomize", "istio.io", "k8s.io", "spf13", "gocloud", "aws", "azure", "cloud.google", "oauth2", "minio", "sqlite",
			"encoding/xml", "html/template", "text/template", "golang.org/x/text/encoding", "types/dynamicpb",
			"tapedeck/check", "tapedeck/collector", "tapedeck/convert", "tapedeck/fn", "tapedeck/match", "tapedeck/mock", "tapedeck/replay",
			"tapedeck/snapshot", "tapedeck/transformer", "tapedeck/view", "recording/place", "recording/show",
		} {
			if strings.Contains(pkg, heavy) {
				t.Errorf("the sidecar links %s", pkg)
			}
		}
	}
}
