package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// tapedeckCA runs `tapedeck ca` and returns what it printed.
func tapedeckCA(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(append([]string{"ca"}, args...), strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

func TestCASecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.yaml")
	out, errs, code := tapedeckCA("--output", file, "--namespace", "shop")
	if code != 0 || out != "" || errs != "" {
		t.Fatalf("code %d, printed %q and %q", code, out, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var secret struct {
		Kind, Type string
		Metadata   struct{ Name, Namespace string }
		Data       map[string]string
	}
	if err := yaml.Unmarshal(text, &secret); err != nil {
		t.Fatal(err)
	}
	if secret.Kind != "Secret" || secret.Type != "kubernetes.io/tls" || secret.Metadata.Name != "speedscale-certs" || secret.Metadata.Namespace != "shop" {
		t.Errorf("%+v", secret)
	}
	cert, _ := base64.StdEncoding.DecodeString(secret.Data["tls.crt"])
	key, _ := base64.StdEncoding.DecodeString(secret.Data["tls.key"])
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil || !pair.Leaf.IsCA {
		t.Fatalf("the pair is no CA: %v", err)
	}
	if left := time.Until(pair.Leaf.NotAfter); left > validity || left < validity-time.Hour {
		t.Errorf("valid for %v, want %v", left, validity)
	}
	if _, errs, code := tapedeckCA("--output", file); code == 0 || !strings.Contains(errs, "exists already") {
		t.Errorf("an existing file: code %d, %q", code, errs)
	}
}

// cert-manager renews a CA early enough that pods can be restarted with it.
func TestCACertificateIsRenewed(t *testing.T) {
	for _, c := range []struct {
		args                  []string
		duration, renewBefore string
	}{
		{nil, "8760h0m0s", "2920h0m0s"},
		{[]string{"--validity", "1h"}, "1h0m0s", "20m0s"},
		{[]string{"--validity", "100h0m1s"}, "100h0m1s", "33h20m0s"},
	} {
		out, errs, code := tapedeckCA(append(c.args, "--cert-manager")...)
		if code != 0 {
			t.Fatal(errs)
		}
		_, out, _ = strings.Cut(out, "---\n")
		var certificate struct {
			Spec struct {
				Duration    string
				RenewBefore string `yaml:"renewBefore"`
			}
		}
		if err := yaml.Unmarshal([]byte(out), &certificate); err != nil {
			t.Fatal(err)
		}
		if s := certificate.Spec; s.Duration != c.duration || s.RenewBefore != c.renewBefore {
			t.Errorf("%v: %+v", c.args, s)
		}
	}
	if _, errs, code := tapedeckCA("--cert-manager", "--validity", "59m"); code == 0 || !strings.Contains(errs, "1h0m0s at least") {
		t.Errorf("code %d, %s", code, errs)
	}
}

// The output is applied to a cluster, so a name must not be able to inject YAML.
func TestCANamesAreNames(t *testing.T) {
	for _, args := range [][]string{
		{"--name", "x: {y}"}, {"--name", ""}, {"--name", "-a"}, {"--name", "a."}, {"--name", "A"}, {"--name", "a\n"}, {"--name", strings.Repeat("a", 250)},
		{"--namespace", "shop\nkind: Pod"}, {"--namespace", "a.b"}, {"--namespace", strings.Repeat("a", 64)},
	} {
		for _, kind := range []string{"--cert-manager", "--output=-"} {
			out, errs, code := tapedeckCA(append(args, kind)...)
			if code == 0 || out != "" || !strings.Contains(errs, args[0]) || !strings.Contains(errs, "RFC 1123") {
				t.Errorf("%q: code %d, %s%s", args, code, out, errs)
			}
		}
	}
	for _, name := range []string{"123", "true", "a.b-c", "1e3"} {
		for _, kind := range []string{"--cert-manager", "--output=-"} {
			out, errs, code := tapedeckCA("--name", name, "--namespace", "123", kind)
			for _, doc := range strings.Split(out, "---\n") {
				var object struct{ Metadata map[string]any }
				if err := yaml.Unmarshal([]byte(doc), &object); err != nil || code != 0 {
					t.Fatalf("%s: code %d, %s, %v", name, code, errs, err)
				}
				if got, ok := object.Metadata["name"].(string); !ok || !strings.HasPrefix(got, name) || object.Metadata["namespace"] != "123" {
					t.Errorf("%s: %v", name, object.Metadata)
				}
			}
		}
	}
}

func TestCANeverPrintsAKeyUnasked(t *testing.T) {
	for _, args := range [][]string{{}, {"--cert-manager"}, {"--cert-manager", "--output", "-"}} {
		out, errs, code := tapedeckCA(args...)
		if strings.Contains(out+errs, "tls.key") || strings.Contains(out+errs, "PRIVATE") {
			t.Errorf("%v: %s%s", args, out, errs)
		}
		if wantErr := len(args) == 0; wantErr != (code != 0) {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
	if out, _, _ := tapedeckCA("--output", "-"); !strings.Contains(out, "tls.key: ") {
		t.Error("it does not print what it was asked for")
	}
}
