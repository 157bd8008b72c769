package sidecar

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
)

// loginDir, when set, makes the test binary a sidecar that records one login there.
const loginDir = "TAPEDECK_TEST_LOGIN_DIR"

// Processes with one key replace equal secrets with equal tokens, and name the key by its ID. A
// process starts and redacts, whatever is in the place of the key.
func TestTheKeyForRedactionIsReadFromAFile(t *testing.T) {
	if dir := os.Getenv(loginDir); dir != "" {
		recordLogin(t, dir)
		return
	}
	const key, other = "0123456789abcdefghij", "another key of 32 random bytes.."
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	const own, unusable = "makes one of its own", "can't be used"
	tokens := map[string]string{} // to the ID of the key that made them
	for _, c := range []struct {
		name, file string
		key        string   // under which tokens are; "" for one of the process's own
		log        []string // what it has
	}{
		{"a key", file("key", key, 0o444), key, []string{"level=INFO", "has been read", contract.RedactKeyID([]byte(key))}},
		{"the key with a line break", file("line", key+"\n", 0o444), key, []string{"has been read"}},
		{"another key", file("other", other, 0o444), other, []string{"has been read", contract.RedactKeyID([]byte(other))}},
		{"no variable", "", "", nil},
		{"a missing file", filepath.Join(dir, "missing"), "", []string{"level=INFO", "there is no key", own}},
		{"a missing directory", filepath.Join(dir, "missing", "key"), "", []string{"level=INFO", "there is no key", own}},
		{"an empty file", file("empty", "", 0o444), "", []string{"level=WARN", unusable, own, "0 bytes"}},
		{"a short key", file("short", key[:15]+"\n", 0o444), "", []string{"level=WARN", unusable, own, "15 bytes"}},
		{"a long key", file("long", strings.Repeat(key, 1000), 0o444), "", []string{"level=WARN", unusable, own, "20000 bytes"}},
		{"a file that isn't a key", file("huge", strings.Repeat(key, 10_000), 0o444), "", []string{"level=WARN", unusable, own, "more than 65536 bytes"}},
		{"a directory", dir, "", []string{"level=WARN", unusable, own, "not a regular file"}},
		{"a file in a file", filepath.Join(dir, "key", "key"), "", []string{"level=WARN", unusable, own, "not a directory"}},
		{"a pipe", pipe, "", []string{"level=WARN", unusable, own, "not a regular file"}},
		{"a file that may not be read", file("private", key, 0), "", []string{"level=WARN", unusable, own, "permission denied"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if os.Getuid() == 0 && strings.HasSuffix(c.file, "private") {
				t.Skip("root may read every file")
			}
			token, id, log := login(t, c.file)
			if !regexp.MustCompile(`^REDACTED-[0-9a-f]{16}$`).MatchString(token) || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(id) {
				t.Errorf("recorded token %q under key %q", token, id)
			}
			if before, seen := tokens[token]; seen != (c.name == "the key with a line break") || seen && before != id {
				t.Errorf("token %s is under key %s, and was under key %q before", token, id, before)
			}
			if c.key != "" && id != contract.RedactKeyID([]byte(c.key)) {
				t.Errorf("the segment names key %s, want %s", id, contract.RedactKeyID([]byte(c.key)))
			}
			tokens[token] = id
			for _, part := range c.log {
				if len(logLines(log, "key for redaction", part)) != 1 {
					t.Errorf("no line with %q in the log, or several:\n%s", part, log)
				}
			}
			if c.log == nil && strings.Contains(log, "key for redaction") {
				t.Errorf("the log speaks of a key that nobody asked for:\n%s", log)
			}
			for _, secret := range []string{key[:8], other[:8], fmt.Sprintf("%x", key[:8]), "hush"} {
				if strings.Contains(log, secret) {
					t.Errorf("%q is in the log:\n%s", secret, log)
				}
			}
		})
	}
}

// logLines returns the lines of a log that hold both parts.
func logLines(log string, parts ...string) (out []string) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, parts[0]) && strings.Contains(line, parts[1]) {
			out = append(out, line)
		}
	}
	return out
}

// login runs a sidecar as a separate process, and returns the token that it recorded of a secret,
// the ID of its key, and its log.
func login(t *testing.T, keyFile string) (token, id, log string) {
	t.Helper()
	dir := t.TempDir()
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+name+"$")
	cmd.Env = append(os.Environ(), loginDir+"="+dir, contract.EnvRedactKeyFile+"="+keyFile)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the sidecar failed: %v\n%s", err, out)
	}
	all, last := counted(t, dir)
	id = last.RedactKey
	for _, e := range all {
		token = strings.TrimPrefix(e.HTTP.Req.Headers.Get("Authorization"), "Bearer ")
	}
	return token, id, string(out)
}

// recordLogin is a sidecar that records one request with a secret.
func recordLogin(t *testing.T, dir string) {
	settings, err := FromEnv(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	cfg.Sink, cfg.RedactKeyFile = dir, settings.RedactKeyFile
	logs := &logs{}
	c, err := Open(cfg, "test", logs.logger())
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, cfg, c, logs)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.InAddr().String()+"/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer hush-hush")
	tr := new(http.Transport)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	tr.CloseIdleConnections()
	s.stop()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Print(logs)
}
