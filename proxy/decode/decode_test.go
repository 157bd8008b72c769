package decode

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

var update = flag.Bool("update", false, "rewrite the wanted records in testdata")

// epoch is when every test's connection was accepted.
var epoch = time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC)

// memory is a sink that keeps the records' JSON.
type memory struct {
	lines [][]byte
	// blur leaves out the counts that depend on what else came in the chunk
	// that ended an exchange.
	blur bool
}

func (m *memory) Write(e *recording.Exchange) error {
	if n := e.NetInfo; n != nil && m.blur {
		n.Downstream.BytesSent, n.Upstream.BytesSent = 0, 0
	}
	m.lines = append(m.lines, e.AppendJSON(nil))
	return nil
}
func (m *memory) Flush(context.Context) error { return nil }
func (m *memory) Close(context.Context) error { return nil }

// dull members are the same in every case, or appear only in the case "record".
var dull = regexp.MustCompile(`(?m)^  "(msgType|resource|cluster|namespace|service|network_address|uuid)": .*\n|^    "(source|proxyLocation|via)": .*\n|,\n  "netinfo": \{(?s:.*?)\n  \}`)

var (
	list     = regexp.MustCompile(`\[\s+("[^\n]*"(?:,\s+"[^\n]*")*)\s+\]`)
	indented = regexp.MustCompile(`\n\s+`)
	bytes64  = regexp.MustCompile(`"(body|data)Base64": "([^"]*)"`)
)

// text returns the records as the cases show them: with short lists on one line, bytes as text,
// and, unless full is set, without the dull members.
func (m *memory) text(full bool) string {
	var out strings.Builder
	for _, line := range m.lines {
		var b bytes.Buffer
		if err := json.Indent(&b, line, "", "  "); err != nil {
			fmt.Fprintf(&b, "not JSON: %v: %s", err, line)
		}
		s := b.String() + "\n"
		if !full {
			s = dull.ReplaceAllString(s, "")
		}
		s = list.ReplaceAllStringFunc(s, func(l string) string {
			l = indented.ReplaceAllString(l, " ")
			return "[" + strings.Trim(l, "[ ]") + "]"
		})
		s = bytes64.ReplaceAllStringFunc(s, func(m string) string {
			part := bytes64.FindStringSubmatch(m)
			data, err := base64.StdEncoding.DecodeString(part[2])
			if err != nil {
				return m
			}
			if len(data) > 200 {
				return fmt.Sprintf(`"%s": %q... %d bytes`, part[1], data[:20], len(data))
			}
			return fmt.Sprintf(`"%s": %q`, part[1], data)
		})
		out.WriteString(s)
	}
	return out.String()
}

// diff compares records, in full.
func (m *memory) diff(other *memory) string {
	if slices.EqualFunc(m.lines, other.lines, bytes.Equal) {
		return ""
	}
	return cmp.Diff(m.text(true), other.text(true))
}

// script lists what the two sides of a flow send.
type script struct {
	flow  tap.Flow
	cfg   Config
	lines []line

	filter *filter.Filter
	want   string
	full   bool // show dull members
}

type line struct {
	side tap.Side
	data []byte
	gap  int64
	wait time.Duration
}

// play runs the script with every chunk cut by cut, and returns the records. The n-th line is sent
// n milliseconds after the beginning.
func (s *script) play(sink *memory, cut func(p []byte) [][]byte) (*memory, *Decoders) {
	d := New(s.cfg, sink)
	d.Choose(s.filter)
	var id uint64
	d.shared.Random = func() (u recording.UUID) {
		id++
		binary.BigEndian.PutUint64(u[8:], id)
		return u
	}
	r := d.Open(&s.flow)
	at := epoch
	for _, l := range s.lines {
		at = at.Add(time.Millisecond + l.wait)
		if l.gap > 0 {
			r.Gap(l.side, at, l.gap)
			continue
		}
		for _, p := range cut(l.data) {
			// The reader must not keep its argument, so spoil it.
			p = bytes.Clone(p)
			r.Data(l.side, at, p)
			clear(p)
		}
	}
	r.Close(at.Add(time.Millisecond))
	return sink, d
}

func whole(p []byte) [][]byte { return [][]byte{p} }

func singly(p []byte) (cs [][]byte) {
	for i := range p {
		cs = append(cs, p[i:i+1])
	}
	return cs
}

func at(i int) func([]byte) [][]byte {
	return func(p []byte) [][]byte {
		if i >= len(p) {
			return whole(p)
		}
		return [][]byte{p[:i], p[i:]}
	}
}

func anywhere(r *rand.Rand) func([]byte) [][]byte {
	return func(p []byte) (cs [][]byte) {
		for len(p) > 0 {
			n := 1 + r.IntN(min(len(p), 1+r.IntN(64)))
			cs = append(cs, p[:n])
			p = p[n:]
		}
		return cs
	}
}

// TestCases plays testdata/*.txtar whole, byte by byte, cut in two at every
// place, and cut at random: the records must be the same.
func TestCases(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := parse(t, archive)
			sink, d := s.play(new(memory), whole)
			got := sink.text(s.full)
			if held := d.Stats().Held; held != 0 {
				t.Errorf("%d bytes are still held", held)
			}
			if *update {
				rewrite(t, name, archive, got)
			} else if diff := cmp.Diff(s.want, got); diff != "" {
				t.Fatalf("want (-) got (+):\n%s", diff)
			}
			want, _ := s.play(&memory{blur: true}, whole)
			same := func(how string, cut func([]byte) [][]byte) {
				t.Helper()
				got, d := s.play(&memory{blur: true}, cut)
				if diff := want.diff(got); diff != "" {
					t.Fatalf("cut %s, whole (-) cut (+):\n%s", how, diff)
				}
				if held := d.Stats().Held; held != 0 {
					t.Fatalf("cut %s, %d bytes are still held", how, held)
				}
			}
			same("singly", singly)
			longest := 0
			for _, l := range s.lines {
				longest = max(longest, len(l.data))
			}
			for i := 1; i < longest; i += 1 + longest/500*10 {
				same(fmt.Sprint("at ", i), at(i))
			}
			for seed := range uint64(50) {
				same(fmt.Sprint("by seed ", seed), anywhere(rand.New(rand.NewPCG(seed, 0))))
			}
		})
	}
}

func rewrite(t *testing.T, name string, a *txtar.Archive, got string) {
	for i := range a.Files {
		if a.Files[i].Name == "want" {
			a.Files = append(a.Files[:i], a.Files[i+1:]...)
			break
		}
	}
	a.Files = append(a.Files, txtar.File{Name: "want", Data: []byte(got)})
	if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// parse reads a case. Its sections are, in order:
//
//	flow            what the connection is, such as `tls: true`; and limits, such as `body: 10`
//	client, server  what that side sends: lines as in a Go string, joined without newlines
//	client h2       the same, as frames of HTTP/2
//	client lost     a number of bytes that the tap dropped
//	pause           a number of milliseconds in which nothing is sent
//	want            the records
func parse(t testing.TB, a *txtar.Archive) *script {
	t.Helper()
	s := &script{flow: tap.Flow{
		ID: 7, Direction: tap.In, Via: tap.ViaTCP, Started: epoch, Connected: epoch.Add(time.Millisecond / 2), Host: "localhost", Port: 8080,
		Client: netip.MustParseAddrPort("127.0.0.1:49280"), Server: netip.MustParseAddrPort("127.0.0.1:8080"),
	}, cfg: Config{
		Limits: framework.DefaultLimits(),
		Origin: framework.Origin{Service: "shop", Tags: recording.Tags{{Name: "source", Value: "tapedeck"}}},
	}}
	frames := [2]*framer{newFramer(), newFramer()}
	for _, f := range a.Files {
		who, how, _ := strings.Cut(f.Name, " ")
		l := line{}
		switch who {
		case "flow":
			settings(t, s, string(f.Data))
			continue
		case "want":
			s.want = string(f.Data)
			continue
		case "pause":
			ms, err := strconv.Atoi(strings.TrimSpace(string(f.Data)))
			if err != nil {
				t.Fatal(err)
			}
			l.wait = time.Duration(ms) * time.Millisecond
		case "client":
		case "server":
			l.side = tap.FromServer
		default:
			t.Fatalf("section %s?", f.Name)
		}
		for text := range strings.Lines(string(f.Data)) {
			text = strings.TrimSuffix(text, "\n")
			switch how {
			case "h2":
				l.data = append(l.data, frames[l.side].frame(t, text)...)
			case "lost":
				l.gap, _ = strconv.ParseInt(text, 10, 64)
			case "":
				if who == "pause" {
					break
				}
				l.data = append(l.data, unquote(t, text)...)
			default:
				t.Fatalf("section %s?", f.Name)
			}
		}
		s.lines = append(s.lines, l)
	}
	return s
}

// unquote reads a line; `"x"*1000` repeats.
func unquote(t testing.TB, text string) string {
	t.Helper()
	times := 1
	if i := strings.LastIndex(text, `"*`); i > 0 && text[0] == '"' {
		n, err := strconv.Atoi(text[i+2:])
		if err != nil {
			t.Fatal(err)
		}
		text, times = text[1:i], n
	}
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("line %s: %v", text, err)
	}
	return strings.Repeat(out, times)
}

func settings(t testing.TB, s *script, text string) {
	t.Helper()
	for l := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(l), ": ")
		number, _ := strconv.Atoi(value)
		switch name {
		case "direction":
			if value == "out" {
				s.flow.Direction = tap.Out
			}
		case "host":
			s.flow.Host = value
		case "port":
			s.flow.Port = number
		case "tls":
			s.flow.TLS = value == "true"
		case "opaque":
			s.flow.Opaque = value == "true"
		case "full":
			s.full = value == "true"
		case "alpn":
			s.flow.ALPN = value
		case "body":
			s.cfg.Limits.Body = number
		case "head":
			s.cfg.Limits.Head = number
		case "memory":
			s.cfg.Limits.Memory = int64(number)
		case "streams":
			s.cfg.Limits.Streams = number
		case "bytes":
			s.cfg.Limits.Opaque = value == "true"
		case "stream":
			s.cfg.Limits.Stream = int64(number)
		default:
			t.Fatalf("setting %q?", name)
		}
	}
}

// The page on the format lists the tags that capture writes, and no others.
func TestTagsAreDocumented(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, tag := range recording.TagDocs() {
		documented[tag.Name] = true
	}
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sink, _ := parse(t, archive).play(new(memory), whole)
		for _, record := range sink.decode(t) {
			for _, tag := range record.Tags {
				seen[tag.Name] = true
				if !documented[tag.Name] {
					t.Errorf("%s: tag %s isn't documented", name, tag.Name)
				}
			}
		}
	}
	for _, byProxy := range []string{recording.TagCaptureMode, recording.TagAppLabel, recording.TagPodName, recording.TagPodNamespace, recording.TagClusterName, recording.TagProxyProtocol,
		recording.TagProxyType, recording.TagProxyVersion, recording.TagReverseProxyHost, recording.TagReverseProxyPort, recording.TagParentBy,
		recording.TagDecoded, recording.TagRedacted, recording.TagRequestSentSize, recording.TagResponseSentSize} {
		seen[byProxy] = true // the proxy's configuration has them; parentBy takes two flows, and redaction comes after the decoders
	}
	for name := range documented {
		if !seen[name] {
			t.Errorf("tag %s is documented, and no case has it", name)
		}
	}
}
