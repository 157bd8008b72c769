package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

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
		"version 1":           `unexpected argument "1": want none`,
	} {
		_, got, code := call(t, strings.Fields(args)...)
		if code != 1 || got != "tapedeck-proxy: "+want+"\n" {
			t.Errorf("%s: exit code %d, %q, want %q", args, code, got, want)
		}
	}
}

func TestVersion(t *testing.T) {
	if out, _, code := call(t, "version"); code != 0 || !strings.HasPrefix(out, "tapedeck-proxy dev ") {
		t.Errorf("exit code %d, %q", code, out)
	}
}

// Every pod pays for what the sidecar links.
func TestTheSidecarLinksNoYAMLNoCloudAndNoCLIFramework(t *testing.T) {
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
		for _, heavy := range []string{"yaml", "kustomize", "istio.io", "spf13", "gocloud", "aws", "azure", "cloud.google", "minio", "sqlite", "tapedeck/transformer", "tapedeck/fn"} {
			if strings.Contains(pkg, heavy) {
				t.Errorf("the sidecar links %s", pkg)
			}
		}
	}
}
