package decode

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framer writes the frames of one side of a connection.
type framer struct {
	out   bytes.Buffer
	fr    *http2.Framer
	block bytes.Buffer
	hpack *hpack.Encoder
	rest  []byte // of a header block
}

func newFramer() *framer {
	f := &framer{}
	f.fr = http2.NewFramer(&f.out, nil)
	f.fr.AllowIllegalWrites = true
	f.hpack = hpack.NewEncoder(&f.block)
	return f
}

// frame writes one frame, or the preface:
//
//	PREFACE
//	SETTINGS [table=N]
//	HEADERS stream [end] [open] [pad] [priority] [name=value...]   open: CONTINUATION follows
//	CONTINUATION stream [rest]                                     the rest of the block
//	PUSH stream promised [open] [name=value...]
//	DATA stream [end] [pad] [text]
//	GRPC stream [end] [compressed] [text]                          a message in one frame
//	RST stream code
//	GOAWAY last code
//	PING, WINDOW
func (f *framer) frame(t testing.TB, text string) []byte {
	t.Helper()
	f.out.Reset()
	word, rest, _ := strings.Cut(text, " ")
	next := func() (s string) { s, rest, _ = strings.Cut(rest, " "); return s }
	number := func() uint32 {
		n, err := strconv.ParseUint(next(), 10, 32)
		if err != nil {
			t.Fatalf("frame %s: %v", text, err)
		}
		return uint32(n)
	}
	flag := func(name string) (ok bool) {
		if first, after, _ := strings.Cut(rest, " "); first == name {
			rest, ok = after, true
		}
		return ok
	}
	pad := func() (n uint8) {
		if flag("pad") {
			n = 9
		}
		return n
	}
	fields := func() []byte {
		f.block.Reset()
		for _, field := range strings.Fields(rest) {
			name, value, _ := strings.Cut(field, "=")
			if err := f.hpack.WriteField(hpack.HeaderField{Name: name, Value: value}); err != nil {
				t.Fatal(err)
			}
		}
		return bytes.Clone(f.block.Bytes())
	}
	halve := func(block []byte) []byte { // the second half is for CONTINUATION
		half := len(block) / 2
		f.rest = block[half:]
		return block[:half]
	}
	var err error
	switch word {
	case "PREFACE":
		f.out.WriteString(http2.ClientPreface)
	case "SETTINGS":
		var s []http2.Setting
		if size, ok := strings.CutPrefix(rest, "table="); ok {
			n, _ := strconv.Atoi(size)
			s = append(s, http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(n)})
		}
		err = f.fr.WriteSettings(s...)
	case "TABLE": // no frame: what the other side's SETTINGS allow
		f.hpack.SetMaxDynamicTableSizeLimit(number())
		f.hpack.SetMaxDynamicTableSize(4096 << 2)
	case "HEADERS":
		p := http2.HeadersFrameParam{StreamID: number(), EndStream: flag("end"), EndHeaders: !flag("open"), PadLength: pad()}
		if flag("priority") {
			p.Priority = http2.PriorityParam{StreamDep: 3, Weight: 7}
		}
		p.BlockFragment = fields()
		if !p.EndHeaders {
			p.BlockFragment = halve(p.BlockFragment)
		}
		err = f.fr.WriteHeaders(p)
	case "CONTINUATION":
		id := number()
		if flag("rest") {
			err = f.fr.WriteContinuation(id, true, f.rest)
		} else {
			err = f.fr.WriteContinuation(id, false, f.rest[:1])
			f.rest = f.rest[1:]
		}
	case "PUSH":
		p := http2.PushPromiseParam{StreamID: number(), PromiseID: number(), EndHeaders: !flag("open"), PadLength: pad()}
		p.BlockFragment = fields()
		if !p.EndHeaders {
			p.BlockFragment = halve(p.BlockFragment)
		}
		err = f.fr.WritePushPromise(p)
	case "DATA":
		id, end := number(), flag("end")
		if n := pad(); n > 0 {
			err = f.fr.WriteDataPadded(id, end, []byte(unquote(t, rest)), make([]byte, n))
		} else {
			err = f.fr.WriteData(id, end, []byte(unquote(t, rest)))
		}
	case "GRPC":
		id, end := number(), flag("end")
		message := make([]byte, 5)
		if flag("compressed") {
			message[0] = 1
		}
		payload := unquote(t, rest)
		binary.BigEndian.PutUint32(message[1:], uint32(len(payload)))
		err = f.fr.WriteData(id, end, append(message, payload...))
	case "RST":
		err = f.fr.WriteRSTStream(number(), http2.ErrCode(number()))
	case "GOAWAY":
		err = f.fr.WriteGoAway(number(), http2.ErrCode(number()), []byte("bye"))
	case "PING":
		err = f.fr.WritePing(false, [8]byte{})
	case "WINDOW":
		err = f.fr.WriteWindowUpdate(0, 1000)
	default:
		t.Fatalf("frame %s?", text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.out.Bytes()
}
