// Package proxyprotocol decodes the header of the PROXY protocol, versions 1 and 2. Load
// balancers send it at the start of a connection to name the client.
//
//	PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n      version 1: a line
//	\r\n\r\n\0\r\nQUIT\n ver fam length addresses     version 2: binary
//	└──────── header ────────┘└─ from here on, detection starts again ─▶
//
// The bytes after the header are decoded as if there were no header. A connection has one
// header: after a second or malformed one, nothing is recorded.
//
// The package imports framework, tap and recording.
package proxyprotocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// Protocol returns the entry for the table of decoders.
func Protocol() framework.Protocol {
	return framework.Protocol{
		Name:   "proxy",
		Detect: detect,
		New: func(state *framework.FlowState, _ *framework.Exchange) framework.Decoder {
			return &header{state: state}
		},
	}
}

const (
	// signature is how a header of version 2 begins.
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	// fixed is the length of a version 2 header up to the addresses.
	fixed = len(signature) + 4
	// maxLine is the maximum length of a version 1 line, including its end.
	maxLine = 107
	// addresses is how many bytes of version 2's addresses are read: two IPv6 addresses and
	// their ports.
	addresses = 36
	// maxAnswer bounds the bytes that a server may send before the header has ended.
	maxAnswer = 16 << 10
)

// families are the words that may follow PROXY.
var families = [...]string{"TCP4", "TCP6", "UNKNOWN"}

// detect requires a whole word after PROXY, because HTTP may have a method of that name.
func detect(_ *tap.Flow, first []byte) framework.Verdict {
	verdict := framework.No
	for _, begin := range [...]string{signature, "PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN\r", "PROXY UNKNOWN "} {
		switch n := min(len(begin), len(first)); {
		case string(first[:n]) != begin[:n]:
		case n == len(begin):
			return framework.Yes
		default:
			verdict = framework.Maybe
		}
	}
	return verdict
}

// Errors quote nothing of the header, because they become tags.
var (
	errLine    = errors.New("line is malformed")
	errVersion = errors.New("version isn't 2, or the command is unknown")
	errLength  = errors.New("addresses are cut short")
	errTwice   = errors.New("there are two headers")
	errGap     = errors.New("bytes lost in the header")
	errEarly   = errors.New("too many bytes of the server before the header's end")
)

// header is the decoder of one header.
type header struct {
	state *framework.FlowState
	head  []byte // the part that has come
	skip  int    // bytes of a version 2 header that are still to come and are ignored
	early framework.Body
}

// Data implements [framework.Decoder].
func (h *header) Data(side tap.Side, at time.Time, p []byte) error {
	switch {
	case h.state.Proxied:
		return errTwice
	case side == tap.FromServer:
		if len(h.early.Bytes())+len(p) > maxAnswer {
			return errEarly
		}
		if !h.early.Append(h.state, p) {
			return framework.ErrMemory
		}
		return nil
	}
	source, n, done, err := h.read(p)
	if err != nil || !done {
		return err
	}
	h.state.Proxied = true
	if source.IsValid() {
		h.state.Tags.Set(recording.TagProxied, source.String())
	}
	early := bytes.Clone(h.early.Bytes())
	h.early.Free(h.state)
	return h.state.Switch("", nil, at, p[n:], early)
}

// read reads bytes of the client. Once the header is complete, it returns the client's address
// according to the header, and how many bytes of p belong to the header.
func (h *header) read(p []byte) (source netip.AddrPort, n int, done bool, err error) {
	for ; n < len(p); n++ {
		if h.skip > 0 {
			taken := min(h.skip, len(p)-n)
			n, h.skip = n+taken, h.skip-taken
			if h.skip > 0 {
				return source, n, false, nil
			}
			source, err = version2(h.head)
			return source, n, true, err
		}
		h.head = append(h.head, p[n])
		if h.head[0] == 'P' {
			switch c := p[n]; {
			case c == '\n':
				source, err = version1(string(h.head))
				return source, n + 1, true, err
			case len(h.head) == maxLine:
				return source, n, false, errLine
			}
			continue
		}
		if len(h.head) < fixed {
			continue
		}
		length := int(binary.BigEndian.Uint16(h.head[fixed-2:]))
		kept := min(length, addresses)
		if len(h.head) < fixed+kept {
			continue
		}
		if h.skip = length - kept; h.skip == 0 {
			source, err = version2(h.head)
			return source, n + 1, true, err
		}
	}
	return source, n, false, nil
}

// version1 parses the line: PROXY, family, source, destination, and their ports.
func version1(line string) (source netip.AddrPort, err error) {
	line, ok := strings.CutSuffix(line, "\r\n")
	if line == "PROXY UNKNOWN" || strings.HasPrefix(line, "PROXY UNKNOWN ") { // the rest of the line is ignored
		return source, nil
	}
	words := strings.Split(line, " ")
	if !ok || len(words) != 6 || words[0] != "PROXY" || words[1] != families[0] && words[1] != families[1] {
		return source, errLine
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		address, err := netip.ParseAddr(words[2+i])
		port, err2 := strconv.ParseUint(words[4+i], 10, 16)
		if err != nil || err2 != nil || address.Zone() != "" || address.Is4() != (words[1] == families[0]) {
			return source, errLine
		}
		ends[i] = netip.AddrPortFrom(address, uint16(port))
	}
	return ends[0], nil
}

// version2 parses the binary header, which may be cut off after the addresses.
func version2(head []byte) (source netip.AddrPort, err error) {
	version, family := head[len(signature)], head[len(signature)+1]
	if version>>4 != 2 || version&0xf > 1 {
		return source, errVersion
	}
	if version&0xf == 0 { // LOCAL: the balancer's own connection
		return source, nil
	}
	size := 0
	switch family >> 4 {
	case 1:
		size = 4
	case 2:
		size = 16
	default: // a UNIX socket, or unspecified
		return source, nil
	}
	rest := head[fixed:]
	if len(rest) < 2*size+4 {
		return source, errLength
	}
	address, _ := netip.AddrFromSlice(rest[:size])
	return netip.AddrPortFrom(address, binary.BigEndian.Uint16(rest[2*size:])), nil
}

// Gap implements [framework.Decoder].
func (h *header) Gap(tap.Side, time.Time, int64) error { return errGap }

// Close implements [framework.Decoder].
func (h *header) Close(time.Time) { h.early.Free(h.state) }
