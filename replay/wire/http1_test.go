package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/recording"
)

var update = flag.Bool("update", false, "write what the cases got into them")

// TestHTTP1 runs the cases of testdata/http1. Each has options in its comment, a recorded exchange,
// the answer of a server, the bytes that were sent, and the result.
func TestHTTP1(t *testing.T) {
	files, err := filepath.Glob("testdata/http1/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := map[string]*txtar.File{}
			for i := range a.Files {
				part[a.Files[i].Name] = &a.Files[i]
			}
			var e recording.Exchange
			if err := json.Unmarshal(part["recorded.json"].Data, &e); err != nil {
				t.Fatal(err)
			}
			sent, live := run(t, options(t, string(a.Comment)), &e, unquote(t, part["answer"].Data))
			for name, got := range map[string]string{"sent": sent, "live": live} {
				if part[name] == nil {
					t.Fatalf("the case has no file %s", name)
				}
				if *update {
					part[name].Data = []byte(got)
				} else if d := cmp.Diff(string(part[name].Data), got); d != "" {
					t.Errorf("%s (-want +got):\n%s", name, d)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// options parses the lines of a comment that are options: `option NAME VALUE`.
func options(t *testing.T, comment string) func(*Options) {
	return func(o *Options) {
		for line := range strings.Lines(comment) {
			f := strings.Fields(line)
			if len(f) < 2 || f[0] != "option" {
				continue
			}
			switch f[1] {
			case "rewrite-host":
				o.RewriteHost = true
			case "run":
				o.Run = f[2]
			case "max-body":
				n, err := strconv.ParseInt(f[2], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				o.MaxBody = n
			default:
				t.Fatalf("option %s", f[1])
			}
		}
	}
}

// run sends an exchange to a server that answers with these bytes and closes the connection.
func run(t *testing.T, set func(*Options), e *recording.Exchange, answer []byte) (sent, live string) {
	near, far := net.Pipe()
	got := make(chan []byte, 1)
	go func() {
		defer far.Close()
		var all bytes.Buffer
		in := bufio.NewReader(io.TeeReader(far, &all))
		for rest := answer; ; {
			req, err := http.ReadRequest(in)
			if err != nil {
				break
			}
			if first, after, ok := strings.Cut(string(rest), "\n(body)\n"); ok { // what comes before the body is read
				_, _ = far.Write([]byte(first))
				rest = []byte(after)
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if len(rest) > 0 {
				_, _ = far.Write(rest)
			}
			break
		}
		_ = far.Close()
		got <- all.Bytes()
	}()
	c := client(t, "http://target.example:8080", set, func(o *Options) {
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	})
	var r Result
	b, err := Append(nil, e)
	if err != nil {
		near.Close()
		return "", "not sent: " + err.Error() + "\n"
	}
	err = c.Send(t.Context(), b, &r)
	near.Close()
	return quote(<-got), render(&r, err)
}

// render formats a result.
func render(r *Result, err error) string {
	var b strings.Builder
	if err != nil {
		fmt.Fprintln(&b, "error:", err)
	}
	res := &r.Live.HTTP.Res
	fmt.Fprintf(&b, "status: %d %q\n", res.StatusCode, res.StatusMessage)
	for _, h := range res.Headers {
		fmt.Fprintf(&b, "field: %s: %s\n", h.Name, h.Value)
	}
	for _, tag := range r.Live.Tags {
		if tag.Name != recording.TagPace {
			fmt.Fprintf(&b, "tag: %s=%s\n", tag.Name, tag.Value)
		}
	}
	fmt.Fprintf(&b, "bytes: %d out, %d in\n", r.BytesOut, r.BytesIn)
	b.WriteString(quote(res.Body))
	return b.String()
}

// quote shows bytes: each line with its end.
func quote(p []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(p)) {
		text := strconv.Quote(line)
		b.WriteString(strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`) + "\n")
	}
	return b.String()
}

// unquote reverses quote. It keeps a line `(body)`.
func unquote(t *testing.T, text []byte) []byte {
	var all []byte
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "(body)" {
			all = append(all, "\n(body)\n"...)
			continue
		}
		s, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, s...)
	}
	return all
}
