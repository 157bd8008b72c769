package sidecar

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/secrettest"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/archive"
	"github.com/tapedeck/tapedeck/recording/inspect"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/show"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

// A sidecar that forwards secrets in each of the places neither writes nor logs any of them, nor
// shows one in its metrics and its list of connections. No command shows a secret of the recorded
// exchanges either.
func TestNoSecretIsWrittenLoggedShownOrExported(t *testing.T) {
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	cfg := config(t)
	cfg.In[0].App.Port = app.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	logs := &logs{level: slog.LevelDebug}
	s := serve(t, cfg, into(t, spool.Dir(dir), cfg, logs), logs)

	conversations := 0
	for n, place := range secrettest.Places(t) {
		for _, c := range place.Conversations(t, secrettest.Secret(n)) {
			speak(t, app, s.InAddr(), c)
			conversations++
		}
	}
	said := map[string][]byte{"metrics": ask(t, s, "/metrics"), "connections": ask(t, s, "/connections"), "status": append(ask(t, s, "/status"), make([]byte, 1<<10)...)}
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	said["the log"] = []byte(logs.String())
	said["files"] = secrettest.Written(t, dir)
	for _, o := range []inspect.Options{{Output: "table"}, {Output: "json"}, {Output: "json", Parts: true}} {
		var shown, notes bytes.Buffer
		if err := inspect.Run(t.Context(), &shown, &notes, "", []string{dir}, inspect.Path, o); err != nil {
			t.Error(err)
		}
		said[fmt.Sprintf("inspect %+v", o)] = append(shown.Bytes(), notes.Bytes()...)
	}
	plain, exchanges := showAll(t, dir, inspect.Plain)
	full, _ := showAll(t, dir, func(w io.Writer, e *recording.Exchange) error { return show.New(e, show.Options{}).Write(w) })
	said["the sidecar's inspect --show"], said["inspect --show"] = plain, full
	var exported bytes.Buffer
	if _, err := archive.Write(t.Context(), &exported, dir, "test"); err != nil {
		t.Fatal(err)
	}
	said["the archive"] = secrettest.Archived(t, exported.Bytes())

	if exchanges < conversations || conversations < 1000 {
		t.Errorf("%d exchanges of %d conversations", exchanges, conversations)
	}
	for what, text := range said {
		if len(text) < 1<<10 {
			t.Errorf("%s has %d bytes", what, len(text))
		}
		if found := secrettest.Found(text); len(found) > 0 {
			t.Errorf("%s: %q", what, found)
		}
	}
	for _, what := range []string{"files", "the sidecar's inspect --show", "inspect --show", "the archive"} {
		if !bytes.Contains(said[what], []byte("REDACTED-")) {
			t.Errorf("%s has no token", what)
		}
	}
}

// speak plays a conversation through the sidecar, and sends each part once the one before it has
// arrived.
func speak(t *testing.T, app net.Listener, in net.Addr, conversation []secrettest.Said) {
	t.Helper()
	client, err := net.Dial("tcp", in.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := app.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	for _, said := range conversation {
		from, to := client, server
		if said.Side == tap.FromServer {
			from, to = server, client
		}
		if _, err := from.Write(said.Data); err != nil {
			t.Fatal(err)
		}
		arrived := make([]byte, len(said.Data))
		if _, err := io.ReadFull(to, arrived); err != nil || !bytes.Equal(arrived, said.Data) {
			t.Fatalf("%q arrived as %q: %v", said.Data, arrived, err)
		}
	}
}

// ask returns an answer of the admin port.
func ask(t *testing.T, s *sidecar, path string) []byte {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + s.AdminAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, answer.Status, err)
	}
	return text
}

// showAll shows each exchange of a recording in full, and returns how many there are.
func showAll(t *testing.T, dir string, write func(io.Writer, *recording.Exchange) error) ([]byte, int) {
	t.Helper()
	r, err := read.Open(t.Context(), read.Query{}, read.Options{}, store.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	n := 0
	for e, err := range r.Exchanges() {
		if err == nil {
			err = write(&shown, e)
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return shown.Bytes(), n
}
