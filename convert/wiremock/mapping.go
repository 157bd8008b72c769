package wiremock

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// mapping reads a mapping into an exchange.
type mapping struct {
	e      *recording.Exchange
	n      int // number in the file, from 1
	open   Opener
	losses recording.LossList
	extra  []recording.Member

	scheme, host, port string
	target             string
	query              url.Values
	priority           int64
}

// Priorities in WireMock: 1 is the highest, and a mapping without one has defaultPriority. Priorities
// above maxPriority count as maxPriority.
const (
	defaultPriority = 5
	maxPriority     = 1_000_000
)

func (m *mapping) read(raw []byte) error {
	*m.e = recording.Exchange{MsgType: recording.MsgType, HTTP: new(recording.HTTP)}
	e := m.e
	m.query, m.priority = url.Values{}, defaultPriority
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
	keepPriority := f["priority"]
	f["priority"] = func(raw []byte) error {
		if n, err := strconv.ParseInt(string(raw), 10, 32); err == nil {
			m.priority = min(max(0, n), maxPriority)
		} else {
			m.losses.Add("priority", fmt.Sprintf("is not a number; %d replaces it", defaultPriority))
		}
		return keepPriority(raw)
	}
	if err := m.object("", raw, f); err != nil {
		return err
	}
	switch {
	case isMessage:
		return &recording.LeftOutError{Where: fmt.Sprintf("mapping %d", m.n), What: "a stub for WebSocket messages, which has no request and answer"}
	case !hasRequest || !hasResponse:
		return errors.New("want the members request and response")
	}
	if slices.ContainsFunc(m.extra, func(x recording.Member) bool { return x.Name == "requiredScenarioState" }) {
		m.losses.Add("requiredScenarioState", "answers of a scenario come by priority, and then in the order of the file")
	}
	m.finish()
	u, err := recording.ParseUUID(id)
	if err != nil || id == "" {
		u = web.UUID([]byte("wiremock"), []byte(strconv.Itoa(m.n)), raw)
	}
	e.UUID, e.Direction = u, recording.Out
	// Readers give exchanges in the order of their times, so the time encodes the priority and the
	// position in the file.
	e.TS = time.Unix(m.priority, int64(m.n)*1000).UTC()
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

// finish sets the request's URL.
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
		m.losses.Add("request.host", "any; localhost replaces it")
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

type fields map[string]func(raw []byte) error

// object reads the members of an object by their names. Unknown members are losses.
func (m *mapping) object(path string, raw []byte, f fields) error {
	seen := map[string]bool{}
	return recording.EachMember(raw, recording.MaxMembers, func(name string, value []byte) error {
		at := strings.TrimPrefix(path+"."+name, ".")
		if seen[name] {
			m.losses.Add(at, "occurs more than once; the last one is kept")
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

// keep keeps a member unchanged.
func (m *mapping) keep(name string) func(raw []byte) error {
	return func(raw []byte) error {
		kept, why := web.Keep(raw)
		if why != "" {
			m.losses.Add(name, why)
		}
		m.extra = slices.DeleteFunc(m.extra, func(have recording.Member) bool { return have.Name == name })
		if kept != nil {
			m.extra = append(m.extra, recording.Member{Name: name, Value: kept})
		}
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
