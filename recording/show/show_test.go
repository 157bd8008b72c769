package show_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/show"
)

var update = flag.Bool("update", false, "write what is shown into the cases")

// Each file in testdata is a case. It has parts of an exchange and, last, what is shown of them:
//
//	request, answer        a start line, fields, and the body; with +quoted: in Go's quotes, line by line
//	grpc, websocket, tcp   one message per line: sender, microseconds, type or -, data in Go's quotes, flags
//	tags                   one tag per line
//	shown
func TestShown(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := show.New(readCase(t, a), show.Options{}).Write(&b); err != nil {
				t.Fatal(err)
			}
			last := &a.Files[len(a.Files)-1]
			if *update {
				if last.Name != "shown" {
					a.Files = append(a.Files, txtar.File{Name: "shown"})
					last = &a.Files[len(a.Files)-1]
				}
				last.Data = b.Bytes()
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(last.Data), b.String()); diff != "" {
				t.Errorf("want (-) got (+):\n%s", diff)
			}
		})
	}
}

// readCase builds an exchange from a case's files.
func readCase(t *testing.T, a *txtar.Archive) *recording.Exchange {
	t.Helper()
	e := &recording.Exchange{
		MsgType: recording.MsgType, L7Protocol: recording.HTTP1, Direction: recording.In, NetworkAddress: "cart:80",
		TS: time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC), Duration: 40,
	}
	for _, f := range a.Files {
		name, quoted := strings.CutSuffix(f.Name, "+quoted")
		text := string(f.Data)
		switch name {
		case "request":
			h := withHTTP(e)
			line, headers, body := readMessage(t, text, quoted)
			h.Req.Method, line, _ = strings.Cut(line, " ")
			h.Req.URI, h.Req.Version, _ = strings.Cut(line, " HTTP/")
			h.Req.URL, _, _ = strings.Cut(h.Req.URI, "?")
			h.Req.Headers, h.Req.Body = headers, body
		case "answer":
			h := withHTTP(e)
			line, headers, body := readMessage(t, text, quoted)
			h.Res.StatusMessage = line
			h.Res.StatusCode, _ = strconv.Atoi(line[:3])
			h.Res.Headers, h.Res.Body = headers, body
		case "grpc":
			e.L7Protocol, e.GRPC = recording.GRPC, readMessages(t, text)
		case "websocket":
			e.L7Protocol, e.WebSocket = recording.WebSocket, readMessages(t, text)
		case "tcp":
			e.L7Protocol, e.TCP = recording.TCP, readMessages(t, text)
		case "tags":
			for line := range strings.Lines(text) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
				e.Tags.Set(name, value)
			}
		case "shown":
		default:
			t.Fatalf("unknown file %s", f.Name)
		}
	}
	return e
}

func withHTTP(e *recording.Exchange) *recording.HTTP {
	if e.HTTP == nil {
		e.HTTP = new(recording.HTTP)
		e.HTTP.Req.Version = "1.1"
	}
	return e.HTTP
}

func readMessage(t *testing.T, text string, quoted bool) (line string, headers recording.Headers, body []byte) {
	t.Helper()
	line, text, _ = strings.Cut(text, "\n")
	for {
		var field string
		if field, text, _ = strings.Cut(text, "\n"); field == "" {
			break
		}
		name, value, _ := strings.Cut(field, ": ")
		headers = append(headers, recording.Header{Name: textproto.CanonicalMIMEHeaderKey(name), Value: value})
	}
	if !quoted {
		return line, headers, []byte(strings.TrimSuffix(text, "\n"))
	}
	for l := range strings.Lines(text) {
		body = append(body, unquote(t, strings.TrimSuffix(l, "\n"))...)
	}
	return line, headers, body
}

func unquote(t *testing.T, s string) string {
	t.Helper()
	text, err := strconv.Unquote(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return text
}

func readMessages(t *testing.T, text string) *recording.Conversation {
	t.Helper()
	c := &recording.Conversation{Part: 1, Last: true}
	for line := range strings.Lines(text) {
		var m recording.Message
		var data string
		if _, err := fmt.Sscanf(line, "%s %d %s %q", &m.From, &m.At, &m.Type, &data); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if m.Type == "-" {
			m.Type = ""
		}
		m.Data = []byte(data)
		rest := line[strings.LastIndexByte(line, '"')+1:]
		for flag := range strings.FieldsSeq(rest) {
			switch name, value, _ := strings.Cut(flag, "="); name {
			case "more":
				m.More = true
			case "compressed":
				m.Compressed = true
			case "size":
				m.Size, _ = strconv.ParseInt(value, 10, 64)
			default:
				t.Fatalf("unknown flag %s", flag)
			}
		}
		sent := &c.ClientBytes
		if m.From == recording.Server {
			sent = &c.ServerBytes
		}
		*sent += max(m.Size, int64(len(m.Data)))
		c.Messages = append(c.Messages, m)
	}
	return c
}
