package rewrite

import (
	"fmt"
	"strings"
	"testing"
)

func TestMistakesInRulesSayWhatIsAllowed(t *testing.T) {
	hash := strings.Repeat("0", 64)
	for text, want := range map[string]string{
		"":                                     "the file has no rules; want a list of them under `rules`",
		"rules: []":                            "the file has no rules",
		"rules: 1":                             "rules: want a list of rules",
		"rule: []":                             `found "rule", allowed: rules`,
		"{":                                    "isn't valid YAML",
		"rules: [{do: remove}]":                "rule 1: do: remove: found neither where nor contains, allowed: one of them; without them the rule would remove all exchanges",
		"rules: [{where: in}]":                 "rule 1: do: found nothing, allowed: remove, redact, replace, drop",
		"rules: [{do: delete}]":                "rule 1: do: found \"delete\", allowed: remove, redact, replace, drop",
		"rules: [{name: x, do: redact}]":       "x: do: redact: found neither at nor contains",
		"rules: [{do: drop, where: in}]":       "do: drop: found no at, allowed: places",
		"rules: [{do: replace, at: req.body}]": "do: replace: found no with, allowed: a text; drop removes values",
		"rules: [{do: redact, at: req.body, with: x}]":                   "with: found it with do: redact, allowed: with do: replace",
		"rules: [{do: remove, where: in, at: req.body}]":                 "do: remove: found at, allowed: where and contains",
		"rules: [{do: redact, at: req.body, to: x}]":                     `found "to", allowed: name, do, where, contains, containsSHA256, at, with`,
		"rules: [{do: redact, at: req}]":                                 `at: found "req", which names only the beginning of a place, allowed: places, such as`,
		"rules: [{do: redact, at: req.bdy.x}]":                           `at: found "req.bdy.x", want one that begins with req.header, req.query`,
		"rules: [{do: redact, at: req.header}]":                          `at: found "req.header", want one name after req.header`,
		"rules: [{do: redact, at: 'req.*.x'}]":                           "does not begin with two names",
		"rules: [{do: redact, at: 'req.body..x'}]":                       "field path",
		"rules: [{do: remove, where: in path}]":                          `where: found rule 1, "in path"`,
		"rules: [{do: remove, contains: abc}]":                           "contains: found value 1 has 3 bytes, allowed: up to 100 values of at least 4 bytes",
		"rules: [{do: remove, contains: 4711}]":                          "contains: found a value that is not a text (write numbers in quotes), allowed: up to",
		"rules: [{do: remove, contains: []}]":                            "contains: found an empty list",
		"rules: [{do: remove, contains: ['']}]":                          "contains: found an empty text",
		"rules: [{do: [remove], where: in}]":                             "do: found a list",
		"rules: [{do: remove, containsSHA256: " + hash[1:] + "a}]":       "", // a string in YAML
		"rules: [{do: remove, containsSHA256: abcd}]":                    "containsSHA256: found value 1, which is not such a hash, allowed: hashes of 64 hexadecimal digits",
		"rules: [{do: remove, where: in, where: out}]":                   "each a map in which no member is repeated",
		"rules: [{do: remove, where: in}, {do: nothing}, {do: neither}]": "rule 2: do: found \"nothing\", allowed",
	} {
		_, err := Parse([]byte(text))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", text, err, want)
		}
	}
}

// An error may end up in a log, and the values that rules look for are private.
func TestMistakesDoNotShowValues(t *testing.T) {
	for _, text := range []string{
		"rules: [{do: remove, contains: [canary4711, x]}]",
		"rules: [{do: remove, containsSHA256: [canary4711]}]",
		"rules: [{do: delete, contains: [canary4711]}]",
		"rules: [{do: remove, contains: {canary4711: 1}}]",
		"rules: {contains: canary4711}",
		"rules: [{do: remove, contains: canary4711, contains: canary4711}]",
	} {
		if _, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTheSizeOfRulesIsBounded(t *testing.T) {
	if _, err := Parse([]byte(strings.Repeat("#", maxFile+1))); err == nil || !strings.Contains(err.Error(), "a file of rules may have") {
		t.Error(err)
	}
	if _, err := Parse([]byte("rules:\n" + strings.Repeat("- {do: remove, where: in}\n", maxRules+1))); err == nil || !strings.Contains(err.Error(), "at most 1000") {
		t.Error(err)
	}
	var values strings.Builder
	for i := range maxValues + 1 {
		fmt.Fprintf(&values, "value%d, ", i)
	}
	if _, err := Parse([]byte("rules: [{do: remove, contains: [" + values.String() + "]}]")); err == nil || !strings.Contains(err.Error(), "found 101 values") {
		t.Error(err)
	}
}

// The table allows each of its examples.
func TestExamplesOfFieldsAreValid(t *testing.T) {
	for _, f := range Fields() {
		example := strings.Replace(f.Example, "e5c2…", strings.Repeat("e5", 32), 1)
		rule := map[string]string{
			"do": "where: in, at: req.body.x, do: ", "with": "do: replace, at: req.body.x, with: ",
		}[f.Name]
		if rule == "" {
			rule = "do: redact, at: req.body.x, " + f.Name + ": "
		}
		if f.Name == "at" {
			rule = "do: redact, at: "
		}
		if _, err := Parse([]byte("rules: [{" + rule + example + "}]")); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("rules: [{name: a, do: redact, where: in, at: [req.body.a], contains: [abcd]}]"))
	f.Add([]byte("rules:\n- do: replace\n  with: x\n  at: req.header.X\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, err := Parse(text)
		if err == nil && (len(rules) == 0 || len(rules) > maxRules) {
			t.Errorf("%d rules", len(rules))
		}
	})
}
