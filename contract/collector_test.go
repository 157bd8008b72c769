package contract_test

import (
	"testing"

	"github.com/tapedeck/tapedeck/contract"
)

// Secrets in clusters contain tokens, so their computation must never change.
func TestATokenStaysWhatItIs(t *testing.T) {
	const want = "tdc1_yK4mq8SWIHKHWDF0fdQ_7oSw_gLIDTLIwx0GRWGmAU0"
	got := contract.CollectorToken([]byte("0123456789abcdef0123456789abcdef"), "c1", "shop")
	if got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	if err := contract.CheckCollectorToken(got); err != nil {
		t.Error(err)
	}
}

func TestParseProblem(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		code              string
		ok                bool
	}{
		"a problem":              {contract.ProblemType, `{"code":"busy","detail":"x","more":1}`, "busy", true},
		"with a charset":         {contract.ProblemType + "; charset=utf-8", `{"code":"busy"}`, "busy", true},
		"another type":           {"application/json", `{"code":"busy"}`, "", false},
		"no type":                {"", `{"code":"busy"}`, "", false},
		"what is cut":            {contract.ProblemType, `{"code":"busy"`, "", false},
		"a code of another kind": {contract.ProblemType, `{"detail":"x","code":5}`, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := contract.ParseProblem(c.contentType, []byte(c.body))
			if p.Code != c.code || ok != c.ok || !ok && p != (contract.Problem{}) {
				t.Errorf("found %+v, %t", p, ok)
			}
		})
	}
}

// A refusal of the request itself, such as for a sink with a path, says nothing about the segment:
// the sidecar sends it again once the request is right.
func TestAWrongSinkSetsNothingAside(t *testing.T) {
	for _, code := range []string{contract.RefusedMethod, contract.RefusedUnsupported, contract.RefusedLength} {
		if row, ok := contract.RefusalOf(code); !ok || row.Fate != contract.Kept {
			t.Errorf("%s: %+v", code, row)
		}
	}
}
