// Package wiremock reads WireMock's stub mappings, as answers that a dependency gave.
//
// A mapping says which requests it answers; an exchange has one. So what demands an exact
// value becomes that value, and a pattern becomes its text, which is named as a loss. Bodies in
// files of the folder __files are read from there, and from nowhere else.
//
// It imports recording and the standard library.
package wiremock

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// Bounds of what is read.
const (
	// MaxFile is how large a file of mappings may be.
	MaxFile = recording.MaxLine
	// MaxBody is how large a file in __files may be: base64 adds a third.
	MaxBody = recording.MaxLine / 2
	// maxMappings is how many a file may have.
	maxMappings = 100_000
)

// extraMember keeps of a mapping what an exchange has no field for.
const extraMember = "wiremock"

// Reader reads the mappings of one file. It isn't safe for concurrent use.
type Reader struct {
	in      io.Reader
	open    Opener
	all     []json.RawMessage
	started bool
	n       int // of those that were read
	losses  recording.LossList
}

// Opener opens a file that a mapping refers to, by its path from the folder that mappings and
// __files are in. The error wraps [fs.ErrNotExist] if there is none.
type Opener func(name string) (io.ReadCloser, error)

// NewReader returns a reader of a file of mappings.
func NewReader(r io.Reader, open Opener) *Reader { return &Reader{in: r, open: open} }

// Next reads the next mapping into e, overwriting all of it, and names what of it could not be
// kept. At the end it returns [io.EOF], or [recording.ErrTorn]. After a
// [recording.LineError] and a [recording.LeftOutError], reading can go on.
func (r *Reader) Next(e *recording.Exchange) (recording.LossList, error) {
	if !r.started {
		r.started = true
		if err := r.begin(); err != nil {
			return nil, err
		}
	}
	if r.n == len(r.all) {
		if len(r.losses) > 0 {
			what := strings.Join(r.losses, ", ")
			r.losses = nil
			return nil, &recording.LeftOutError{Where: "file", What: what}
		}
		return nil, io.EOF
	}
	raw := r.all[r.n]
	r.n++
	m := &mapping{e: e, open: r.open}
	m.losses, r.losses = r.losses, nil
	switch err := m.read(raw, r.n); {
	case errors.As(err, new(*recording.LeftOutError)):
		return nil, err
	case err != nil:
		return nil, &recording.LineError{Err: fmt.Errorf("mapping %d: %w", r.n, err)}
	}
	return m.losses, nil
}

// begin reads the file: one mapping, or an object with several.
func (r *Reader) begin() error {
	text, err := io.ReadAll(io.LimitReader(r.in, MaxFile+1))
	if err != nil {
		return err
	}
	bad := func(err error) error { return &recording.LineError{Err: err} }
	if len(text) > MaxFile {
		return bad(fmt.Errorf("more than %d MiB of mappings", MaxFile>>20))
	}
	var whole json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && syntax.Offset >= int64(len(text)) {
			return recording.ErrTorn
		}
		return bad(err)
	}
	several := false
	err = recording.EachMember(whole, recording.MaxMembers, func(name string, raw []byte) error {
		switch name {
		case "mappings":
			several = true
			return recording.EachElement(raw, maxMappings, func(raw []byte) error {
				r.all = append(r.all, raw)
				return nil
			})
		case "meta", "importOptions":
		default:
			r.losses.Add(name, "not kept")
		}
		return nil
	})
	if err != nil {
		return bad(err)
	}
	if !several {
		r.all, r.losses = []json.RawMessage{whole}, nil
	}
	return nil
}

// mapping reads one.
type mapping struct {
	e      *recording.Exchange
	open   Opener
	losses recording.LossList
	extra  []recording.Member

	scheme, host, port string
	target             string
	query              url.Values
}

type fields map[string]func(raw []byte) error

// object reads the members of an object by their names. Others are losses.
func (m *mapping) object(path string, raw []byte, f fields) error {
	seen := map[string]bool{}
	return recording.EachMember(raw, recording.MaxMembers, func(name string, value []byte) error {
		at := strings.TrimPrefix(path+"."+name, ".")
		if seen[name] {
			m.losses.Add(at, "stands more than once; the last one is kept")
		}
		seen[name] = true
		read, ok := f[name]
		switch {
		case string(value) == "null":
		case !ok:
			m.losses.Add(at, "not kept")
		default:
			if err := read(value); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
		return nil
	})
}

// keep keeps a member as it is.
func (m *mapping) keep(name string) func(raw []byte) error {
	return func(raw []byte) error {
		if len(raw) > 64<<10 || bytes.Count(raw, []byte("{"))+bytes.Count(raw, []byte("[")) > 100 { // deeper than records may be, perhaps
			m.losses.Add(name, "not kept")
			return nil
		}
		var b bytes.Buffer
		if err := json.Compact(&b, bytes.ToValidUTF8(raw, []byte("\ufffd"))); err != nil {
			return err
		}
		m.extra = slices.DeleteFunc(m.extra, func(have recording.Member) bool { return have.Name == name })
		m.extra = append(m.extra, recording.Member{Name: name, Value: b.Bytes()})
		return nil
	}
}

func text(to *string) func(raw []byte) error {
	return func(raw []byte) error {
		if err := json.Unmarshal(raw, to); err != nil {
			return fmt.Errorf("found %.40s, want a text", raw)
		}
		return nil
	}
}

func number(least, most int64, to *int64) func(raw []byte) error {
	return func(raw []byte) error {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || n < least || n > most {
			return fmt.Errorf("found %.40s, want a number from %d to %d", raw, least, most)
		}
		*to = n
		return nil
	}
}

func (m *mapping) read(raw []byte, n int) error {
	*m.e = recording.Exchange{MsgType: recording.MsgType, HTTP: new(recording.HTTP)}
	e := m.e
	m.query = url.Values{}
	hasRequest, hasResponse, isMessage := false, false, false
	id := ""
	f := fields{
		"request":  func(raw []byte) error { hasRequest = true; return m.request(raw) },
		"response": func(raw []byte) error { hasResponse = true; return m.response(raw) },
		"id":       text(&id),
		"uuid":     text(&id),
		"trigger":  func([]byte) error { isMessage = true; return nil },
		"actions":  func([]byte) error { isMessage = true; return nil },
	}
	for _, name := range []string{"name", "priority", "scenarioName", "requiredScenarioState", "newScenarioState", "metadata", "persistent", "insertionIndex", "comment"} {
		f[name] = m.keep(name)
	}
	if err := m.object("", raw, f); err != nil {
		return err
	}
	switch {
	case isMessage:
		return &recording.LeftOutError{Where: fmt.Sprintf("mapping %d", n), What: "a stub for messages of a WebSocket, which is no request with an answer"}
	case !hasRequest || !hasResponse:
		return errors.New("want the members request and response")
	}
	if slices.ContainsFunc(m.extra, func(x recording.Member) bool { return x.Name == "requiredScenarioState" }) {
		m.losses.Add("requiredScenarioState", "answers of a scenario come in the order of the file")
	}
	m.finish()
	u, err := recording.ParseUUID(id)
	if err != nil || id == "" {
		u = web.UUID([]byte("wiremock"), []byte(strconv.Itoa(n)), raw)
	}
	e.UUID, e.Direction = u, recording.Out
	e.TS = time.Unix(0, int64(n)*1000).UTC() // in the order of the file
	e.Tags.Set(recording.TagSource, "wiremock")
	if len(m.extra) > 0 {
		value := []byte{'{'}
		for i, x := range m.extra {
			if i > 0 {
				value = append(value, ',')
			}
			value = append(append(recording.AppendString(value, x.Name), ':'), x.Value...)
		}
		e.Extra = append(e.Extra, recording.Member{Name: extraMember, Value: append(value, '}')})
	}
	return nil
}

// finish puts the request's URL together.
func (m *mapping) finish() {
	e := m.e
	if len(m.query) > 0 {
		separator := "?"
		if strings.Contains(m.target, "?") {
			separator = "&"
		}
		m.target += separator + m.query.Encode()
	}
	scheme := cmp.Or(m.scheme, "http")
	host := m.host
	if host == "" {
		m.losses.Add("request.host", "any; localhost stands for it")
		host = "localhost"
	}
	if m.port != "" {
		host += ":" + m.port
	}
	method := cmp.Or(e.HTTP.Req.Method, "GET")
	if !strings.HasPrefix(m.target, "/") {
		m.target = "/" + m.target
	}
	web.SetRequest(e, method, scheme, host, m.target)
	e.HTTP.Req.Version = "1.1"
}

// request reads what the mapping answers.
func (m *mapping) request(raw []byte) error {
	q := &m.e.HTTP.Req
	method := ""
	target := func(name, what string) func([]byte) error {
		return func(raw []byte) error {
			if err := text(&m.target)(raw); err != nil || what == "" {
				return err
			}
			if exact, ok := literal(m.target); ok && what == "a pattern" {
				m.target = exact
			} else {
				m.losses.Add("request."+name, what+", which stands as its text")
			}
			return nil
		}
	}
	var port int64
	err := m.object("request", raw, fields{
		"method":          text(&method),
		"url":             target("url", ""),
		"urlPath":         target("urlPath", ""),
		"urlPattern":      target("urlPattern", "a pattern"),
		"urlPathPattern":  target("urlPathPattern", "a pattern"),
		"urlPathTemplate": target("urlPathTemplate", "a template"),
		"scheme":          text(&m.scheme),
		"port":            number(1, 65535, &port),
		"host": m.matcher("request.host", func(_ string, value string) {
			m.host = value
		}),
		"headers": m.matchers("request.headers", func(name, value string) {
			q.Headers = append(q.Headers, recording.Header{Name: web.Name(name), Value: value})
		}),
		"cookies": m.matchers("request.cookies", func(name, value string) {
			q.Headers = append(q.Headers, recording.Header{Name: "Cookie", Value: name + "=" + value})
		}),
		"queryParameters": m.matchers("request.queryParameters", func(name, value string) { m.query.Add(name, value) }),
		"bodyPatterns":    m.body,
		"basicAuthCredentials": func(raw []byte) error {
			var user, password string
			if err := m.object("request.basicAuthCredentials", raw, fields{"username": text(&user), "password": text(&password)}); err != nil {
				return err
			}
			q.Headers = append(q.Headers, recording.Header{Name: "Authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))})
			return nil
		},
	})
	if port > 0 {
		m.port = strconv.FormatInt(port, 10)
	}
	if method == "" || method == "ANY" {
		m.losses.Add("request.method", "any; GET stands for it")
		method = "GET"
	}
	q.Method = method
	if m.target == "" {
		m.losses.Add("request.url", "any; / stands for it")
	}
	if len(q.Headers) > recording.MaxHeaders {
		return fmt.Errorf("more than %d fields", recording.MaxHeaders)
	}
	return err
}

// literal returns the text that alone a pattern matches.
func literal(pattern string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\' && i+1 < len(pattern) && strings.IndexByte(`.?+*()[]{}|^$\/-`, pattern[i+1]) >= 0:
			i++
			b.WriteByte(pattern[i])
		case strings.IndexByte(`.?+*()[]{}|^$\`, c) >= 0:
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

// matchers reads matchers by name.
func (m *mapping) matchers(path string, exact func(name, value string)) func(raw []byte) error {
	return func(raw []byte) error {
		return recording.EachMember(raw, recording.MaxMembers, func(name string, raw []byte) error {
			return m.matcher(path+"."+name, func(_, value string) { exact(name, value) })(raw)
		})
	}
}

// matcher reads one matcher. One that demands a value gives it to exact.
func (m *mapping) matcher(path string, exact func(kind, value string)) func(raw []byte) error {
	return func(raw []byte) error {
		if bytes.HasPrefix(raw, []byte(`"`)) {
			value := ""
			err := text(&value)(raw)
			exact("equalTo", value)
			return err
		}
		return recording.EachMember(raw, recording.MaxMembers, func(kind string, raw []byte) error {
			value := ""
			switch kind {
			case "equalTo":
				err := text(&value)(raw)
				exact(kind, value)
				return err
			case "equalToJson", "equalToXml", "binaryEqualTo":
				if json.Unmarshal(raw, &value) != nil {
					value = string(raw)
				}
				exact(kind, value)
			case "caseInsensitive", "ignoreArrayOrder", "ignoreExtraElements":
				m.losses.Add(path+"."+kind, "not kept: matching has rules of its own")
			default:
				m.losses.Add(path+"."+kind, "matches many values, not kept")
			}
			return nil
		})
	}
}

// body takes the body that a request must have.
func (m *mapping) body(raw []byte) error {
	return recording.EachElement(raw, recording.MaxMembers, func(raw []byte) error {
		return m.matcher("request.bodyPatterns", func(kind, value string) {
			body := []byte(value)
			if kind == "binaryEqualTo" {
				var err error
				if body, err = base64.StdEncoding.DecodeString(value); err != nil {
					m.losses.Add("request.bodyPatterns.binaryEqualTo", "is no base64, not kept")
					return
				}
			}
			if m.e.HTTP.Req.Body != nil {
				m.losses.Add("request.bodyPatterns", "several bodies; the last one is kept")
			}
			m.e.HTTP.Req.Body = body
		})(raw)
	})
}

// response reads the answer.
func (m *mapping) response(raw []byte) error {
	e, s := m.e, &m.e.HTTP.Res
	status, delay := int64(200), int64(0)
	reason := ""
	proxies := false
	bodies := 0
	body := func(read func(raw []byte) ([]byte, error)) func([]byte) error {
		return func(raw []byte) (err error) {
			if bodies++; bodies > 1 {
				m.losses.Add("response", "several bodies; the last one is kept")
			}
			s.Body, err = read(raw)
			return err
		}
	}
	err := m.object("response", raw, fields{
		"status":        number(100, 999, &status),
		"statusMessage": text(&reason),
		"headers": func(raw []byte) error {
			return recording.EachMember(raw, recording.MaxMembers, func(name string, raw []byte) error {
				return m.header(name, raw)
			})
		},
		"body": body(func(raw []byte) ([]byte, error) {
			value := ""
			err := text(&value)(raw)
			return []byte(value), err
		}),
		"jsonBody": body(func(raw []byte) ([]byte, error) {
			var b bytes.Buffer
			err := json.Compact(&b, raw)
			return b.Bytes(), err
		}),
		"base64Body": body(func(raw []byte) ([]byte, error) {
			value := ""
			if err := text(&value)(raw); err != nil {
				return nil, err
			}
			return base64.StdEncoding.DecodeString(value)
		}),
		"bodyFileName":           body(m.file),
		"fixedDelayMilliseconds": number(0, 366*24*3600*1000, &delay),
		"proxyBaseUrl":           func([]byte) error { proxies = true; return nil },
	})
	if err != nil {
		return err
	}
	if proxies {
		return &recording.LeftOutError{Where: "response.proxyBaseUrl", What: "a mapping that asks another server has no answer of its own"}
	}
	s.StatusCode, e.Status = int(status), strconv.FormatInt(status, 10)
	s.StatusMessage = strings.TrimSpace(e.Status + " " + reason)
	s.ContentType = s.Headers.Get("Content-Type")
	if len(s.Body) > 0 && len(e.Response().Codings()) > 0 { // WireMock compresses by itself
		e.Tags.Set(recording.TagDecoded, "response")
	}
	if e.Duration = delay; delay > 0 {
		e.Tags.Set(recording.TagRequestEnd, "0")
		e.Tags.Set(recording.TagResponseStart, strconv.FormatInt(delay*1000, 10))
	}
	return nil
}

// header takes a field, of which there may be several.
func (m *mapping) header(name string, raw []byte) error {
	h := &m.e.HTTP.Res.Headers
	add := func(raw []byte) error {
		value := ""
		err := text(&value)(raw)
		if *h = append(*h, recording.Header{Name: web.Name(name), Value: value}); len(*h) > recording.MaxHeaders {
			return fmt.Errorf("more than %d fields", recording.MaxHeaders)
		}
		return err
	}
	if bytes.HasPrefix(raw, []byte("[")) {
		return recording.EachElement(raw, recording.MaxHeaders, add)
	}
	return add(raw)
}

// file reads a body from the folder __files. It names a file that isn't there as a loss, for
// mappings are moved around without theirs.
func (m *mapping) file(raw []byte) ([]byte, error) {
	name := ""
	if err := text(&name)(raw); err != nil {
		return nil, err
	}
	lose := func(why string) ([]byte, error) {
		m.losses.Add("response.bodyFileName", fmt.Sprintf("%.80q %s", name, why))
		m.e.Tags.Set(recording.TagTruncated, "true")
		return nil, nil
	}
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, `\:`) {
		return lose("leads out of __files, not read")
	}
	if strings.Contains(name, "{{") {
		return lose("is a template, not read")
	}
	if m.open == nil {
		return lose("is not there")
	}
	f, err := m.open(path.Join("__files", name))
	if errors.Is(err, fs.ErrNotExist) {
		return lose("is not in __files")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, MaxBody+1))
	if len(body) > MaxBody {
		return lose(fmt.Sprintf("has more than %d MiB, not kept", MaxBody>>20))
	}
	return body, err
}
