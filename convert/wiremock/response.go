package wiremock

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

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
		return &recording.LeftOutError{Where: fmt.Sprintf("mapping %d", m.n), What: "the mapping forwards to another server and has no answer"}
	}
	s.StatusCode, e.Status = int(status), strconv.FormatInt(status, 10)
	s.StatusMessage = strings.TrimSpace(e.Status + " " + reason)
	s.ContentType = s.Headers.Get("Content-Type")
	if len(s.Body) > 0 && len(e.Response().Codings()) > 0 { // WireMock compresses the body itself
		e.Tags.Set(recording.TagDecoded, "response")
	}
	if e.Duration = delay; delay > 0 {
		e.Tags.Set(recording.TagRequestEnd, "0")
		e.Tags.Set(recording.TagResponseStart, strconv.FormatInt(delay*1000, 10))
	}
	return nil
}

// header adds a field, which may have several values.
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

// file reads a body from the folder __files. A missing file is a loss and not an error, because
// mappings are often copied without their files.
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
		return lose("is outside __files, not read")
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
