package har

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// start reads the start of a request. HAR allows ISO 8601, which is wider than RFC 3339: exporters
// write zones without a colon, times without seconds, and times without a zone.
func (p *parser) start(text string) (time.Time, error) {
	norm := strings.ToUpper(text)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00"} {
		ts, err := time.Parse(layout, norm)
		if year := ts.UTC().Year(); err != nil || year < 0 || year > 9999 {
			continue
		}
		if !strings.Contains(layout, "Z07") {
			p.losses.Add("startedDateTime", "has no time zone; UTC is assumed")
		}
		return ts.UTC(), nil
	}
	return time.Time{}, fmt.Errorf("startedDateTime is %.60q, want a time such as 2026-11-22T20:15:00.123Z", text)
}

// timesOf reads the members time and timings of an entry.
func (p *parser) timesOf(entry []recording.Member) {
	p.time, p.timings = -1, map[string]float64{}
	for _, m := range entry {
		switch m.Name {
		case "time":
			if string(m.Value) != "null" {
				_ = p.number("time", &p.time)(m.Value)
			}
		case "timings":
			_ = recording.EachMember(m.Value, recording.MaxMembers, func(name string, raw []byte) error {
				if strings.HasPrefix(name, "_") || name == "comment" {
					return nil
				}
				v := -1.0
				err := p.number("timings."+name, &v)(raw)
				p.timings[name] = v
				return err
			})
		}
	}
}

// times sets the duration of the exchange and of its phases.
func (p *parser) times() {
	e := p.e
	at := func(names ...string) (sum float64) {
		for _, name := range names {
			sum += max(0, p.timings[name])
		}
		return sum
	}
	sent := at("blocked", "dns", "connect", "send")
	all := max(p.time, 0)
	if p.time < 0 {
		all = sent + at("wait", "receive")
	}
	if all > maxMillis {
		p.losses.Add("time", fmt.Sprintf("%v ms is longer than a year, not kept", all))
		all = 0
	}
	e.Duration = int64(math.Round(all))
	_, wait := p.timings["wait"]
	if _, send := p.timings["send"]; !send || !wait || p.res.status == 0 || sent+p.timings["wait"] > maxMillis {
		return
	}
	e.Tags.Set(recording.TagRequestEnd, strconv.FormatInt(int64(math.Round(sent*1000)), 10))
	e.Tags.Set(recording.TagResponseStart, strconv.FormatInt(int64(math.Round((sent+at("wait"))*1000)), 10))
}

// appendTimes writes the duration of an exchange and of its phases.
func appendTimes(o *object, e *recording.Exchange, kept *[]recording.Member) {
	all := e.End()
	sent, _ := e.RequestEnd()
	answered, ok := e.ResponseStart()
	sent = min(max(sent, 0), all)
	if answered = min(max(answered, sent), all); !ok {
		answered = all
	}
	t := begin(nil)
	for _, name := range []string{"blocked", "dns", "connect", "ssl"} {
		t.number(name, -1)
	}
	t.raw("send", millis(sent))
	t.raw("wait", millis(answered-sent))
	t.raw("receive", millis(all-answered))
	o.raw("time", take(kept, "time", millis(all)))
	o.raw("timings", take(kept, "timings", t.end()))
}
