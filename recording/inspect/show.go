package inspect

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
)

// maxShown is how much of a body is decompressed and shown.
const maxShown = 1 << 20

// Show writes all of an exchange: bodies decompressed, JSON indented, what
// isn't text as a dump.
func Show(w io.Writer, e *recording.Exchange) error {
	var b bytes.Buffer
	printf(&b, "%s %s %s to %s\n", e.Direction, e.L7Protocol, e.UUID, dash(e.NetworkAddress))
	printf(&b, "%s, %d ms\n", e.TS.Format("2006-01-02T15:04:05.000000000Z07:00"), e.Duration)
	for _, t := range e.Tags {
		printf(&b, "  %s: %s\n", t.Name, t.Value)
	}
	if h := e.HTTP; h != nil {
		printf(&b, "\n> %s %s HTTP/%s\n", h.Req.Method, h.Req.URI, h.Req.Version)
		message(&b, "> ", h.Req.Headers, h.Req.Body)
		printf(&b, "\n< HTTP/%s %s\n", h.Req.Version, h.Res.StatusMessage)
		message(&b, "< ", h.Res.Headers, h.Res.Body)
	}
	for _, c := range []*recording.Conversation{e.GRPC, e.WebSocket, e.TCP} {
		if c != nil {
			conversation(&b, c)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func message(b *bytes.Buffer, mark string, headers recording.Headers, body []byte) {
	for _, h := range headers {
		printf(b, "%s%s: %s\n", mark, h.Name, h.Value)
	}
	if len(body) == 0 {
		return
	}
	plain, err := decompress(headers.Get("Content-Encoding"), body)
	if err != nil {
		printf(b, "\n(%v)\n", err)
	}
	b.WriteByte('\n')
	content(b, plain)
}

func conversation(b *bytes.Buffer, c *recording.Conversation) {
	printf(b, "\npart %d, %d bytes of the client and %d of the server up to its end\n", c.Part, c.ClientBytes, c.ServerBytes)
	marks := map[string]string{recording.Client: ">", recording.Server: "<"}
	for _, m := range c.Messages {
		printf(b, "\n%s %+.3fms", marks[m.From], float64(m.At)/1000)
		if m.Type != "" {
			printf(b, " %s", m.Type)
		}
		if m.Compressed {
			b.WriteString(" compressed")
		}
		if m.More {
			b.WriteString(" to be continued")
		}
		if m.Size > 0 {
			printf(b, " %d of %d bytes\n", len(m.Data), m.Size)
		} else {
			printf(b, " %d bytes\n", len(m.Data))
		}
		content(b, m.Data)
	}
}

// decompress undoes a content coding. What can't be undone is returned as it is, with an error.
func decompress(coding string, body []byte) ([]byte, error) {
	var r io.Reader
	var err error
	in := bytes.NewReader(body)
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(in)
	case "deflate": // RFC 9110 means zlib; some send raw deflate
		if r, err = zlib.NewReader(in); err != nil {
			r, err = flate.NewReader(bytes.NewReader(body)), nil
		}
	case "zstd":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)); err == nil {
			defer z.Close()
			r = z
		}
	default:
		return body, fmt.Errorf("content coding %q isn't decoded", coding)
	}
	if err != nil {
		return body, fmt.Errorf("decode %s: %w", coding, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxShown+1))
	switch {
	case len(plain) > maxShown:
		return plain[:maxShown], fmt.Errorf("the first %d MiB of what is more", maxShown>>20)
	case err != nil && len(plain) == 0:
		return body, fmt.Errorf("decode %s: %w", coding, err)
	case err != nil: // a body that was cut
		return plain, fmt.Errorf("decode %s: %w", coding, err)
	}
	return plain, nil
}

// content writes text as text and anything else as a dump.
func content(b *bytes.Buffer, p []byte) {
	if len(p) == 0 {
		return
	}
	var indented bytes.Buffer
	switch {
	case json.Indent(&indented, p, "", "  ") == nil:
		b.WriteString(printable(indented.String()))
	case isText(p):
		b.WriteString(printable(string(p)))
	default:
		b.WriteString(hex.Dump(p[:min(len(p), 4<<10)]))
		if len(p) > 4<<10 {
			printf(b, "... %d bytes\n", len(p))
		}
		return
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("\n")) {
		b.WriteByte('\n')
	}
}

// isText looks at the beginning of p.
func isText(p []byte) bool {
	p = p[:min(len(p), 4<<10)]
	odd, all := 0, 0
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 && len(p) >= utf8.UTFMax || r == 0 {
			return false
		}
		if unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) {
			odd++
		}
		p = p[n:]
		all++
	}
	return odd*20 <= all
}

// printable is clean for text of several lines.
func printable(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = clean(strings.ReplaceAll(strings.TrimSuffix(l, "\r"), "\t", "        "))
	}
	return strings.Join(lines, "\n")
}
