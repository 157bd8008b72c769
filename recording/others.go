package recording

import (
	"strings"
)

// LeftOutError reports a record of another tool that can't be stored in a recording. Reading can
// continue after it.
type LeftOutError struct {
	// Where is the position of the record, and What is the content that is lost.
	Where, What string
}

func (e *LeftOutError) Error() string { return e.Where + ": " + e.What }

// maxLossText limits the length of a loss in bytes, because a loss may quote foreign text.
const maxLossText = 200

// LossList collects the parts of another tool's record that could not be kept, each once.
type LossList []string

// Add adds a loss: a path, and what happened to it.
func (l *LossList) Add(path, what string) {
	loss := path + ": " + what
	if len(loss) > maxLossText {
		loss = loss[:maxLossText] + "…"
	}
	loss = strings.ReplaceAll(strings.ToValidUTF8(loss, "\ufffd"), "\n", " ")
	for _, have := range *l {
		if have == loss {
			return
		}
	}
	if len(*l) < maxLosses {
		*l = append(*l, loss)
	}
}

// AppendString appends text as a JSON string to dst. Bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, text string) []byte { return appendString(dst, text) }

// Weight estimates the length of the exchange's JSON.
func (e *Exchange) Weight() int64 {
	const each = 40 // overhead of a field or message
	n := 1 << 10
	if h := e.HTTP; h != nil {
		n += (len(h.Req.Body) + len(h.Res.Body)) / 3 * 4
		for _, all := range []Headers{h.Req.Headers, h.Res.Headers} {
			for i := range all {
				n += each + len(all[i].Name) + len(all[i].Value)
			}
		}
	}
	if c := e.Conversation(); c != nil {
		for i := range c.Messages {
			n += each + len(c.Messages[i].Data)/3*4
		}
	}
	for i := range e.Extra {
		n += each + len(e.Extra[i].Value)
	}
	return int64(n)
}
