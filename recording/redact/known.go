package redact

import "strings"

// knownTokens are what well-known secrets begin with, and how much follows at least.
// Their issuers chose these beginnings so that they can be found anywhere.
var knownTokens = []struct {
	prefix string
	more   int
}{
	{"ghp_", 16}, {"gho_", 16}, {"ghu_", 16}, {"ghs_", 16}, {"ghr_", 16}, {"github_pat_", 16}, // GitHub
	{"glpat-", 12}, {"glptt-", 12}, {"gldt-", 12}, {"glrt-", 12}, // GitLab
	{"xoxa-", 8}, {"xoxb-", 8}, {"xoxe-", 8}, {"xoxe.", 8}, {"xoxp-", 8}, {"xoxr-", 8}, {"xoxs-", 8}, {"xapp-", 8}, // Slack
	{"AKIA", 16}, {"ASIA", 16}, // AWS
	{"AIza", 30}, {"ya29.", 16}, {"GOCSPX-", 16}, // Google
	{"sk_live_", 8}, {"sk_test_", 8}, {"rk_live_", 8}, {"rk_test_", 8}, {"whsec_", 8}, // Stripe
	{"sk-", 20}, {"hf_", 20}, // OpenAI, Anthropic, Hugging Face
	{"SG.", 20}, {"shpat_", 16}, {"shpss_", 16}, {"shpca_", 16}, {"shppa_", 16}, // SendGrid, Shopify
	{"npm_", 20}, {"pypi-", 16}, {"dckr_pat_", 16}, {"rubygems_", 16}, // registries
	{"hvs.", 16}, {"hvb.", 16}, {"dop_v1_", 16}, {"doo_v1_", 16}, {"lin_api_", 16}, {"sq0atp-", 12}, {"sq0csp-", 12},
	{"AGE-SECRET-KEY-1", 16}, {"-----BEGIN ", 8},
}

// byFirst has the numbers of those that begin with a byte; it is not nil for
// JSON Web Tokens and for Bearer, too.
var byFirst = func() (t [256][]int) {
	t['e'], t['b'], t['B'] = []int{}, []int{}, []int{}
	for i := range knownTokens {
		c := knownTokens[i].prefix[0]
		t[c] = append(t[c], i)
	}
	return t
}()

// mayBeKnown tells whether a text without any mark may have a known token.
func mayBeKnown(s string) bool {
	return len(s) > 12 && (byFirst[s[0]] != nil || strings.IndexByte(s, ' ') > 0)
}

// known is the length of the well-known token that a text begins with, 0 if it
// begins with none.
func known(s string) int {
	if len(s) < 12 || byFirst[s[0]] == nil {
		return 0
	}
	switch s[0] {
	case 'e':
		return jwt(s)
	case 'b', 'B':
		return bearer(s)
	}
	for _, i := range byFirst[s[0]] {
		t := &knownTokens[i]
		rest, ok := strings.CutPrefix(s, t.prefix)
		switch {
		case !ok:
		case t.prefix[0] == '-': // PEM
			if header, _, _ := strings.Cut(rest, "-----"); strings.Contains(header, "PRIVATE KEY") {
				return len(s)
			}
		default:
			if n := tokenChars(rest); n >= t.more {
				return len(t.prefix) + n
			}
		}
	}
	return 0
}

// bearer is the length of a scheme with its token, outside of an Authorization.
func bearer(s string) int {
	const name = "bearer "
	if !strings.EqualFold(s[:len(name)], name) {
		return 0
	}
	n := tokenChars(s[len(name):])
	secret := s[len(name) : len(name)+n]
	parameter, _, ok := strings.Cut(secret, "=")
	if n < 8 || ok && strings.Trim(parameter, "abcdefghijklmnopqrstuvwxyz_") == "" { // realm="…"
		return 0
	}
	return len(name) + n
}

// jwt is the length of a JSON Web Token: base64 of `{"`, and two or four dots.
func jwt(s string) int {
	if !strings.HasPrefix(s, "eyJ") {
		return 0
	}
	n := 0
	for n < len(s) && s[n] != '=' && s[n] != '/' && s[n] != '+' && tokenChars(s[n:n+1]) == 1 {
		n++
	}
	if strings.Count(s[:n], ".") < 2 {
		return 0
	}
	return n
}

func tokenChars(s string) (n int) {
	for n < len(s) {
		if c := s[n]; !isUpper(c) && !isLower(c) && !isDigit(c) && strings.IndexByte("-_.+/=~", c) < 0 {
			break
		}
		n++
	}
	return n
}
