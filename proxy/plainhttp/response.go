package plainhttp

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const chunked = "chunked"

// codings returns the transfer codings in Transfer-Encoding, in lower case. Some servers still
// send "identity", which once meant no coding (RFC 9112 section 7 has no such coding). other
// says that it, or an empty element, is among them. It is not passed on, because a receiver
// may take it for a coding.
func codings(values []string) (all []string, other bool) {
	for _, v := range elements(values) {
		switch v = strings.ToLower(v); v {
		case "", "identity":
			other = true
		default:
			all = append(all, v)
		}
	}
	return all, other
}

// framingFields say how a message ends.
var framingFields = []string{"Content-Length", "Transfer-Encoding"}

// response is a parsed head of a response.
type response struct {
	status int
	body   framing
	// head is the head for the client. rewritten says that it differs from the server's.
	head      []byte
	rewritten bool
}

var errResponse = errors.New("malformed response")

// parseResponse parses the head of a response to a request with the given method. It is more
// lenient than parseRequest, because the client chose the server.
func parseResponse(head []byte, method string) (*response, error) {
	lines := bytes.SplitAfter(head, []byte("\n"))
	folded := unfold(lines)
	version, rest, _ := strings.Cut(strings.TrimRight(string(lines[0]), "\r\n"), " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil || len(code) != 3 || status < 100 || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return nil, fmt.Errorf("%w: its status line is malformed", errResponse)
	}
	r := &response{status: status, head: head, rewritten: folded}
	var coding, length []string
	for i, line := range lines {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if i == 0 || !ok {
			continue
		}
		if tidy := bytes.TrimRight(name, " \t"); len(tidy) < len(name) { // RFC 9112 section 5.1: a proxy must
			lines[i], r.rewritten = slices.Concat(tidy, line[len(name):]), true
		}
		switch name = bytes.TrimSpace(name); {
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			coding = append(coding, string(bytes.TrimSpace(value)))
		case bytes.EqualFold(name, []byte("Content-Length")):
			length = append(length, string(bytes.TrimSpace(value)))
		}
	}
	if r.rewritten {
		r.head = bytes.Join(lines, nil)
	}
	coding, other := codings(coding)
	if other {
		lines = recode(lines, coding)
		r.head, r.rewritten = bytes.Join(lines, nil), true
	}
	switch {
	case method == http.MethodHead || status < 200 || status == http.StatusNoContent || status == http.StatusNotModified:
	case len(coding) > 0:
		// Unless chunked comes last, the body ends with the connection.
		r.body.chunked = coding[len(coding)-1] == chunked
		r.body.close = !r.body.chunked
		if len(length) > 0 {
			r.head, r.rewritten = without(lines, "Content-Length"), true // RFC 9112 section 6.3
		}
	case len(length) > 0:
		if length = elements(length); slices.ContainsFunc(length, func(v string) bool { return v != length[0] }) {
			return nil, fmt.Errorf("%w: Content-Length fields that differ", errResponse)
		}
		if r.body.length, err = parseLength(length[0]); err != nil {
			return nil, fmt.Errorf("%w: %w", errResponse, err)
		}
		if len(length) > 1 { // RFC 9112 section 6.3: repeated equal values count as one
			once := []byte("Content-Length: " + length[0] + "\r\n")
			r.head, r.rewritten = slices.Concat(lines[0], once, without(lines[1:], "Content-Length")), true
		}
	default:
		r.body.close = true
	}
	return r, nil
}

// elements returns the elements of a list field, which may have several lines.
func elements(values []string) (all []string) {
	if len(values) == 1 && !strings.Contains(values[0], ",") {
		return values
	}
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			all = append(all, strings.TrimSpace(e))
		}
	}
	return all
}

// recode returns the lines with a single Transfer-Encoding that names the codings, or with none
// if there are no codings.
func recode(lines [][]byte, coding []string) (recoded [][]byte) {
	for i, line := range lines {
		name, _, ok := bytes.Cut(line, []byte(":"))
		if i > 0 && ok && bytes.EqualFold(bytes.TrimSpace(name), []byte("Transfer-Encoding")) {
			if len(coding) == 0 {
				continue
			}
			line, coding = []byte("Transfer-Encoding: "+strings.Join(coding, ", ")+"\r\n"), nil
		}
		recoded = append(recoded, line)
	}
	return recoded
}

// unfold joins the lines of each folded field, as RFC 9112 section 5.2 requires of a proxy. The
// continuation lines become empty.
func unfold(lines [][]byte) (folded bool) {
	last := 0
	for i, line := range lines {
		if i < 2 || len(line) == 0 || line[0] != ' ' && line[0] != '\t' {
			last = i
			continue
		}
		field := bytes.TrimRight(lines[last], "\r\n \t")
		lines[last], lines[i], folded = slices.Concat(field, []byte(" "), bytes.TrimLeft(line, " \t")), nil, true
	}
	return folded
}

// without returns the lines except those of one field.
func without(lines [][]byte, name string) (head []byte) {
	for _, line := range lines {
		if n, _, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(bytes.TrimSpace(n), []byte(name)) {
			continue
		}
		head = append(head, line...)
	}
	return head
}
