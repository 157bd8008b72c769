package fn_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// A Secret in the input is read as the sidecar will read it. An error about it does not quote its
// content.
func TestTheSecretOfTheRedactionKeyIsChecked(t *testing.T) {
	const key = "correct-horse-battery-staple"
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	secret := func(fields string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: keys, namespace: shop}\n" + fields
	}
	for _, test := range []struct{ name, beside, code, message string }{
		{"a Secret that is elsewhere", "", "", ""},
		{"a key as text", secret("stringData: {key: " + key + "}"), "", ""},
		{"a key as bytes", secret("data: {key: " + encoded(key) + "}"), "", ""},
		{"a key as binary", secret("data: {key: !!binary " + encoded(key) + "}"), "", ""},
		{"a key as bytes on lines", secret("data:\n  key: |\n    " + encoded(key)[:8] + "\n    " + encoded(key)[8:]), "", ""},
		{"a key with a newline", secret("stringData: {key: \"" + key[:16] + "\\n\"}"), "", ""},
		{"text wins over bytes", secret("data: {key: c2hvcnQ=}\nstringData: {key: " + key + "}"), "", ""},
		{"a text that wins over bytes is short", secret("data: {key: " + encoded(key) + "}\nstringData: {key: hush}"), "redact-key", "stringData.key: found a key of 4 bytes, allowed: 16 to 4096"},
		{"a short key as text", secret("stringData: {key: " + key[:15] + "}"), "redact-key", "stringData.key: found a key of 15 bytes"},
		{"a short key as bytes", secret("data: {key: " + encoded(key[:15]) + "}"), "redact-key", "data.key: found a key of 15 bytes"},
		{"a short key with a newline", secret("data: {key: " + encoded(key[:15]+"\n") + "}"), "redact-key", "data.key: found a key of 15 bytes"},
		{"a long key", secret("stringData: {key: " + strings.Repeat(key, 200) + "}"), "redact-key", "stringData.key: found a key of 5600 bytes"},
		{"what is not base64", secret("data: {key: " + key + "}"), "redact-key", "data.key: found text that is not base64"},
		{"a key that is a map", secret("stringData: {key: {a: b}}"), "redact-key", "stringData.key: found a key of 0 bytes"},
		{"another key", secret("data: {password: " + encoded(key) + "}"), "redact-key", "data.key: found nothing"},
		{"no data", secret(""), "redact-key", "data.key: found nothing"},
		{"said once for two workloads", strings.Replace(forwarding("", "", ""), "name: app", "name: other", 1) + "---\n" + secret(""), "redact-key", "data.key: found nothing"},
		{"a Secret of another namespace", strings.Replace(secret(""), "shop", "other", 1), "", ""},
		{"a ConfigMap of that name", strings.Replace(secret(""), "kind: Secret", "kind: ConfigMap", 1), "", ""},
		{"a Secret with kustomize's hash", strings.Replace(secret(""), "keys", "keys-6fmc9hffgt", 1), "name-hashed", "option redactKeySecret names Secret keys"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := transformer.DefaultConfig()
			if err := cfg.Set("redactKeySecret", "keys"); err != nil {
				t.Fatal(err)
			}
			input := forwarding("", "", test.beside)
			out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
			if err != nil || results.Failed() {
				t.Fatal(err, results)
			}
			var said transformer.Results
			for _, r := range results {
				if r.Code() == transformer.CodeRedactKey || r.Code() == transformer.CodeNameHashed {
					said = append(said, r)
				}
			}
			switch {
			case test.code == "" && len(said) > 0, test.code != "" && len(said) != 1:
				t.Fatalf("%v; want the code %q", said, test.code)
			case test.code != "" && (string(said[0].Code()) != test.code || !strings.Contains(said[0].Message, test.message)):
				t.Errorf("%v; want %s: %s", said, test.code, test.message)
			}
			for _, r := range said {
				for _, text := range []string{r.Message, r.Field.CurrentValue} {
					if strings.Contains(text, key[:4]) || strings.Contains(text, encoded(key)[:4]) || strings.Contains(text, "hush") {
						t.Errorf("a result shows the key: %v", r)
					}
				}
			}
			checkPromises(t, []byte(input), out, cfg)
		})
	}
}

func TestTheSecretOfTheRedactionKeyHasTheNameOfASecret(t *testing.T) {
	for name, want := range map[string]bool{"keys": true, "team.keys-2": true, "Keys": false, "keys/key": false, "../keys": false, "keys ": false, "": false} {
		cfg := transformer.DefaultConfig()
		if err := cfg.Set("redactKeySecret", name); (err == nil) != want {
			t.Errorf("%q: %v, want it accepted: %t", name, err, want)
		}
	}
}

// The volume's name belongs to the sidecar, whether or not this render needs it.
func TestTheVolumeOfTheRedactionKeyIsTheSidecars(t *testing.T) {
	input := forwarding("", "volumeMounts: [{name: tapedeck-redact-key, mountPath: /k}]\n      volumes: [{name: tapedeck-redact-key, emptyDir: {}}]", "")
	_, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
	if err != nil || !results.Failed() || results[0].Code() != transformer.CodeNameClash {
		t.Errorf("%v, %v; want %s", err, results, transformer.CodeNameClash)
	}
}
