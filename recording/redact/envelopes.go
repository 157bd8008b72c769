package redact

import "encoding/binary"

const (
	// envelopeHead is the size of the header of each message in a Connect or gRPC-Web stream: one byte of
	// flags and four bytes for the message's length.
	envelopeHead = 5
	// envelopeCompressed is the flag of a compressed message.
	envelopeCompressed = 1
)

// envelopes redacts JSON messages in a Connect or gRPC-Web stream. It leaves out compressed messages,
// because Content-Encoding does not name their coding.
func (q *search) envelopes(s string) []byte {
	d := draft{src: s, max: q.max}
	for from := 0; from+envelopeHead <= len(s); {
		begin := from + envelopeHead
		size := uint64(binary.BigEndian.Uint32([]byte(s[from+1 : begin])))
		end := begin + int(min(size, uint64(len(s)-begin)))
		out := []byte{}
		if s[from]&envelopeCompressed == 0 {
			out = q.document(s[begin:end], "")
		} else if begin < end {
			q.cut = true
		}
		if out != nil && begin < end {
			d.replace(from+1, begin, string(binary.BigEndian.AppendUint32(nil, uint32(len(out)))))
			d.replace(begin, end, string(out))
		}
		from = end
	}
	q.cut = q.cut || d.cut
	return d.bytes()
}
