package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/replay/goal"
)

// maxCases bounds a JUnit file, because GitLab rejects files larger than 30 MB.
const maxCases = 1000

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Time      string      `xml:"time,attr"`      // seconds
	Timestamp string      `xml:"timestamp,attr"` // UTC, without a zone
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string      `xml:"classname,attr"`
	Name    string      `xml:"name,attr"`
	Time    string      `xml:"time,attr"` // mean response time of the endpoint in seconds, or 0
	Failure *junitFault `xml:"failure"`
	Error   *junitFault `xml:"error"`
}

type junitFault struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes a case for each goal, for each new difference, and for each other reason to
// fail. If there are none, it writes one case that passed. Readers keep only the first of several
// cases with the same name, so each name ends in a hash.
func writeJUnit(w io.Writer, r *Report) error {
	suite := junitSuite{
		Name: "tapedeck replay", Time: seconds(r.Elapsed()), Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"),
	}
	means := map[string]string{}
	for _, e := range r.Results.Endpoints {
		mean, _ := e.Response.Mean()
		means[e.Name] = seconds(mean)
	}
	add := func(class, endpoint, name string, failure, fault *junitFault) {
		suite.Tests++
		if failure != nil {
			suite.Failures++
		}
		if fault != nil {
			suite.Errors++
		}
		sum := sha256.Sum256([]byte(name))
		suite.Cases = append(suite.Cases, junitCase{
			Class: class, Name: fmt.Sprintf("%s [%x]", cut(visible(name), 200), sum[:4]),
			Time: cmp.Or(means[endpoint], "0"), Failure: failure, Error: fault,
		})
	}
	for _, g := range r.Goals {
		var failure, fault *junitFault
		switch g.Verdict {
		case goal.Missed:
			failure = newFault("goal missed", g.Reason)
		case goal.Unknown:
			fault = newFault("goal cannot be judged", g.Reason)
		}
		add("goals", g.Endpoint, g.Goal, failure, fault)
	}
	fresh := r.with(New)
	for _, d := range fresh[:min(len(fresh), maxCases)] {
		add("differences", d.Endpoint, fmt.Sprintf("%s %s %s", d.Endpoint, d.Place, kinds[d.Kind]), newFault("new difference",
			fmt.Sprintf("%s answers differ. One of them: recorded %s, live %s", grouped(d.Count), d.Example.recorded(), d.Example.live())), nil)
	}
	if more := len(fresh) - maxCases; more > 0 {
		text := fmt.Sprintf("%s more new differences", grouped(int64(more)))
		add("differences", "", text, newFault("new difference", text), nil)
	}
	troubles := r.troubles()
	for _, x := range troubles[:min(len(troubles), maxCases)] {
		add("run", "", verdicts[x.Code]+": "+x.Reason, nil, newFault(verdicts[x.Code], x.Reason))
	}
	if suite.Tests == 0 {
		add("run", "", "no new differences", nil, nil)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suites: []junitSuite{suite}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func newFault(kind, text string) *junitFault {
	text = visible(text)
	return &junitFault{Message: cut(text, 300), Type: kind, Text: text}
}

func seconds(t time.Duration) string {
	return strconv.FormatFloat(math.Round(t.Seconds()*1000)/1000, 'f', -1, 64)
}
