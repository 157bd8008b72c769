package report_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/replay/report"
)

// element is a node of an XML document.
type element struct {
	name     string
	attrs    map[string]string
	children []*element
	text     string
}

// parseXML parses a document strictly, as both readers do.
func parseXML(text string) (*element, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	root := &element{}
	open := []*element{root}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		top := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: t.Name.Local, attrs: map[string]string{}}
			if t.Name.Space != "" {
				return nil, fmt.Errorf("<%s> is in the namespace %q", e.name, t.Name.Space)
			}
			for _, a := range t.Attr {
				if _, twice := e.attrs[a.Name.Local]; twice || a.Name.Space != "" {
					return nil, fmt.Errorf("<%s> has %s twice, or in a namespace", e.name, a.Name.Local)
				}
				e.attrs[a.Name.Local] = a.Value
			}
			top.children = append(top.children, e)
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			top.text += string(t)
		}
	}
	if len(root.children) != 1 {
		return nil, fmt.Errorf("%d root elements", len(root.children))
	}
	return root.children[0], nil
}

// rule is what a schema allows in an element: attributes with the pattern of their values,
// required attributes, children, and text beside them.
type rule struct {
	attrs    map[string]string
	required []string
	children []string
	text     bool
}

// anyText is the pattern of an attribute that may be any text. times is the pattern of seconds.
const (
	anyText = `(?s).*`
	times   = `(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?`
)

// faultRule is the rule of a failure, an error or a skip.
var faultRule = rule{attrs: map[string]string{"type": anyText, "message": anyText}, text: true}

// jenkins has the rules of the schema by which Jenkins's xUnit plugin checks a file
// (src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd in
// https://github.com/jenkinsci/xunit-plugin), but for reruns, which we don't write. Its JUnit
// plugin takes what this schema allows.
var jenkins = map[string]rule{
	"testsuites": {
		attrs:    map[string]string{"name": anyText, "time": times, "tests": anyText, "failures": anyText, "errors": anyText},
		children: []string{"testsuite"},
	},
	"testsuite": {
		attrs: map[string]string{"name": anyText, "tests": anyText, "failures": anyText, "errors": anyText, "group": anyText, "time": times, "skipped": anyText,
			"timestamp": anyText, "hostname": anyText, "id": anyText, "package": anyText, "file": anyText, "log": anyText, "url": anyText},
		required: []string{"name", "tests", "failures", "errors"},
		children: []string{"testsuite", "properties", "testcase", "system-out", "system-err"},
	},
	"testcase": {
		attrs:    map[string]string{"name": anyText, "time": anyText, "classname": anyText, "group": anyText},
		required: []string{"name"},
		children: []string{"skipped", "error", "failure", "system-out", "system-err"},
	},
	"failure": faultRule, "error": faultRule, "skipped": faultRule,
	"properties": {children: []string{"property"}},
	"property":   {attrs: map[string]string{"name": anyText, "value": anyText}, required: []string{"name", "value"}},
	"system-out": {text: true}, "system-err": {text: true},
}

// check returns all violations of a schema.
func (e *element) check(rules map[string]rule) (problems []string) {
	r, ok := rules[e.name]
	if !ok {
		return []string{fmt.Sprintf("<%s> is not allowed", e.name)}
	}
	for name, value := range e.attrs {
		pattern, ok := r.attrs[name]
		if !ok || !regexp.MustCompile(`^(?:`+pattern+`)$`).MatchString(value) {
			problems = append(problems, fmt.Sprintf("<%s> has %s=%q", e.name, name, value))
		}
	}
	for _, name := range r.required {
		if _, ok := e.attrs[name]; !ok {
			problems = append(problems, fmt.Sprintf("<%s> has no %s", e.name, name))
		}
	}
	if !r.text && strings.TrimSpace(e.text) != "" {
		problems = append(problems, fmt.Sprintf("<%s> has the text %q", e.name, e.text))
	}
	for _, c := range e.children {
		if !slices.Contains(r.children, c.name) {
			problems = append(problems, fmt.Sprintf("<%s> is not allowed in <%s>", c.name, e.name))
			continue
		}
		problems = append(problems, c.check(rules)...)
	}
	return problems
}

// gitlabCase is a test case as GitLab reads it.
type gitlabCase struct{ suite, class, name, status, output string }

// converted lists the values of the attribute type for which Rails' Hash.from_xml converts an
// element to something other than text, or which it refuses (PARSING and DISALLOWED_TYPES in
// activesupport's xml_mini.rb and hash/conversions.rb).
var converted = []string{"symbol", "date", "datetime", "duration", "integer", "float", "decimal", "boolean", "string", "yaml", "base64Binary", "hexBinary", "file", "array"}

// inGitLab reads cases as lib/gitlab/ci/parsers/test/junit.rb of GitLab does: those of
// testsuites within one testsuites, or of a testsuite. It takes the text of the first of
// failure, error and skipped, and the attributes name, classname, file and time.
func inGitLab(root *element) (all []gitlabCase, err error) {
	var suite func(e *element) error
	suite = func(e *element) error {
		for _, c := range e.children {
			switch c.name {
			case "testsuite":
				if err := suite(c); err != nil {
					return err
				}
			case "testcase":
				one := gitlabCase{suite: e.attrs["name"], class: c.attrs["classname"], name: c.attrs["name"], status: "success"}
				for _, status := range []string{"failure", "error", "skipped"} {
					i := slices.IndexFunc(c.children, func(f *element) bool { return f.name == status })
					if i < 0 {
						continue
					}
					f := c.children[i]
					if slices.Contains(converted, f.attrs["type"]) || strings.TrimSpace(f.text) == "" {
						return fmt.Errorf("the %s of %q is not text: type %q, %q", status, one.name, f.attrs["type"], f.text)
					}
					one.status, one.output = status, f.text
					break
				}
				all = append(all, one)
			}
		}
		return nil
	}
	switch root.name {
	case "testsuites":
		for _, c := range root.children {
			if c.name != "testsuite" {
				return nil, fmt.Errorf("<%s> in <testsuites>", c.name)
			}
			if err := suite(c); err != nil {
				return nil, err
			}
		}
	case "testsuite":
		err = suite(root)
	default:
		err = fmt.Errorf("the root is <%s>", root.name)
	}
	return all, err
}

// Jenkins accepts the JUnit form by its schema, and GitLab finds each case, with its verdict
// and a text that says why. GitLab tells cases apart by their suite, class and name.
func TestJenkinsAndGitLabReadTheJUnitForm(t *testing.T) {
	slow := shop(5000, 61*time.Second+2500*time.Microsecond)
	slow.Partial = "it was interrupted"
	many := shop(500, time.Hour)
	for i := range 1500 {
		d := many.Differences[0]
		d.Place = fmt.Sprintf("body:$.items[*].field%d", i)
		many.Differences = append(many.Differences, d)
	}
	for name, c := range map[string]struct {
		report *report.Report
		goals  []string
		want   map[string]int // cases by status
	}{
		"hostile": {report: hostileReport(), want: nil},
		"passed":  {report: &report.Report{Started: started, Ended: started.Add(time.Second)}, want: map[string]int{"success": 1}},
		"slow":    {report: slow, goals: []string{"latency.p95 > 1", "latency.p50 > 100000", "GET /none: latency.p50 > 1", "*: latency.p50 > recorded + 50%"}, want: map[string]int{"failure": 3, "success": 2, "error": 2}},
		"many":    {report: many, want: map[string]int{"failure": 1001}},
		"empty":   {report: &report.Report{}, want: map[string]int{"success": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			c.report.Judge(goals(c.goals...))
			text := written(t, c.report, "junit")
			root, err := parseXML(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range root.check(jenkins) {
				t.Error(p)
			}
			cases, err := inGitLab(root)
			if err != nil {
				t.Fatal(err)
			}
			counts, seen := map[string]int{}, map[string]bool{}
			for _, one := range cases {
				counts[one.status]++
				key := one.suite + "_" + one.class + "_" + one.name
				if seen[key] || one.suite == "" || one.class == "" || one.name == "" {
					t.Errorf("GitLab tells no other case from %+v", one)
				}
				seen[key] = true
			}
			if c.want != nil && fmt.Sprint(counts) != fmt.Sprint(c.want) {
				t.Errorf("cases %v, want %v", counts, c.want)
			}
			suite := root.children[0].attrs
			if suite["tests"] != fmt.Sprint(len(cases)) || suite["failures"] != fmt.Sprint(counts["failure"]) || suite["errors"] != fmt.Sprint(counts["error"]) {
				t.Errorf("the suite has %v, and there are %v", suite, counts)
			}
			if len(text) > 30_000_000 {
				t.Errorf("GitLab takes no file of %d bytes", len(text))
			}
		})
	}
}

// The rules find each kind of violation.
func TestTheRulesOfJUnit(t *testing.T) {
	const suite = `<testsuites><testsuite name="s" tests="1" failures="1" errors="0"%s>%s</testsuite></testsuites>`
	for _, c := range []struct{ attrs, cases, want string }{
		{` time="61.003"`, `<testcase name="a"><failure type="x">text</failure></testcase>`, ""},
		{` time="1e3"`, ``, `<testsuite> has time="1e3"`},
		{` color="red"`, ``, `<testsuite> has color="red"`},
		{``, `<testcase/>`, `<testcase> has no name`},
		{``, `<testcase name="a"><cause/></testcase>`, `<cause> is not allowed in <testcase>`},
		{``, `text`, `<testsuite> has the text "text"`},
		{``, `<testcase name="a"><failure type="boolean">text</failure></testcase>`, `is not text`},
		{``, `<testcase name="a"><error type="x" message="m"/></testcase>`, `is not text`},
	} {
		root, err := parseXML(fmt.Sprintf(suite, c.attrs, c.cases))
		if err != nil {
			t.Fatal(err)
		}
		problems := root.check(jenkins)
		if _, err := inGitLab(root); err != nil {
			problems = append(problems, err.Error())
		}
		if got := strings.Join(problems, "; "); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s%s: %q, want %q", c.attrs, c.cases, got, c.want)
		}
	}
}
