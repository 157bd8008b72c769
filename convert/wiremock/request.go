package wiremock

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// maxPath is the largest length of a path template, and of a parameter to insert into it.
const maxPath = 8 << 10

// request reads the request that the mapping matches.
func (m *mapping) request(raw []byte) error {
	q := &m.e.HTTP.Req
	method := ""
	pattern := func(name string) func([]byte) error {
		return func(raw []byte) error {
			err := text(&m.target)(raw)
			if exact, ok := literal(m.target); ok {
				m.target = exact
			} else {
				m.losses.Add("request."+name, "a pattern; its text is kept")
			}
			return err
		}
	}
	var port int64
	template := ""
	var cookies []string
	inPath := map[string]string{}
	err := m.object("request", raw, fields{
		"method":          text(&method),
		"url":             text(&m.target),
		"urlPath":         text(&m.target),
		"urlPattern":      pattern("urlPattern"),
		"urlPathPattern":  pattern("urlPathPattern"),
		"urlPathTemplate": text(&template),
		"pathParameters":  m.matchers("request.pathParameters", func(name, value string) { inPath["{"+name+"}"] = url.PathEscape(value) }),
		"scheme":          text(&m.scheme),
		"port":            number(1, 65535, &port),
		"host": m.matcher("request.host", func(_ string, value string) {
			m.host = value
		}),
		"headers": m.matchers("request.headers", func(name, value string) {
			q.Headers = append(q.Headers, recording.Header{Name: web.Name(name), Value: value})
		}),
		"cookies": m.matchers("request.cookies", func(name, value string) {
			cookies = append(cookies, name+"="+value)
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
	if len(cookies) > 0 {
		q.Headers = append(q.Headers, recording.Header{Name: "Cookie", Value: strings.Join(cookies, "; ")})
	}
	if template != "" {
		for name, value := range inPath {
			if len(template) > maxPath || len(value) > maxPath { // a small file could make a huge path
				break
			}
			template = strings.ReplaceAll(template, name, value)
		}
		if m.target = template; strings.Contains(template, "{") {
			m.losses.Add("request.urlPathTemplate", "a template; its text is kept")
		}
	}
	if port > 0 {
		m.port = strconv.FormatInt(port, 10)
	}
	if method == "" || method == "ANY" {
		m.losses.Add("request.method", "any; GET replaces it")
		method = "GET"
	}
	q.Method = method
	if m.target == "" {
		m.losses.Add("request.url", "any; / replaces it")
	}
	if len(q.Headers) > recording.MaxHeaders {
		return fmt.Errorf("more than %d fields", recording.MaxHeaders)
	}
	return err
}

// literal returns the only text that a pattern matches, if there is just one.
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

// matchers reads an object of matchers, and calls exact with the name and value of exact ones.
func (m *mapping) matchers(path string, exact func(name, value string)) func(raw []byte) error {
	return func(raw []byte) error {
		return recording.EachMember(raw, recording.MaxMembers, func(name string, raw []byte) error {
			return m.matcher(path+"."+name, func(_, value string) { exact(name, value) })(raw)
		})
	}
}

// matcher reads a matcher, and calls exact if it demands one value.
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
				m.losses.Add(path+"."+kind, "not kept: matching has its own rules")
			default:
				m.losses.Add(path+"."+kind, "matches many values, not kept")
			}
			return nil
		})
	}
}

// body reads the body that a request must have.
func (m *mapping) body(raw []byte) error {
	return recording.EachElement(raw, recording.MaxMembers, func(raw []byte) error {
		return m.matcher("request.bodyPatterns", func(kind, value string) {
			body := []byte(value)
			if kind == "binaryEqualTo" {
				var err error
				if body, err = base64.StdEncoding.DecodeString(value); err != nil {
					m.losses.Add("request.bodyPatterns.binaryEqualTo", "is not base64, not kept")
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
