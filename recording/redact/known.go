package redact

import (
	"encoding/base64"
	"strings"
)

// knownTokens lists the prefixes of well-known secrets, and the least number of bytes that follow. The
// issuers chose these prefixes so that such secrets can be found anywhere.
var knownTokens = []struct {
	prefix string
	more   int
}{
	{"ghp_", 16}, {"gho_", 16}, {"ghu_", 16}, {"ghs_", 16}, {"ghr_", 16}, {"github_pat_", 16}, // GitHub
	{"glpat-", 12}, {"glptt-", 12}, {"gldt-", 12}, {"glrt-", 12}, {"glsa_", 16}, // GitLab, Grafana
	{"xoxa-", 8}, {"xoxb-", 8}, {"xoxc-", 8}, {"xoxd-", 8}, {"xoxe-", 8}, {"xoxe.", 8}, {"xoxp-", 8}, {"xoxr-", 8}, {"xoxs-", 8}, {"xapp-", 8}, // Slack
	{"AKIA", 16}, {"ASIA", 16}, // AWS
	{"AIza", 30}, {"ya29.", 16}, {"GOCSPX-", 16}, // Google
	{"sk_live_", 8}, {"sk_test_", 8}, {"rk_live_", 8}, {"rk_test_", 8}, {"whsec_", 8}, // Stripe
	{"sk-", 20}, {"hf_", 20}, {"gsk_", 20}, {"xai-", 20}, {"nvapi-", 20}, {"pplx-", 20}, // OpenAI, Anthropic, Hugging Face, Groq, xAI, NVIDIA, Perplexity
	{"SG.", 20}, {"shpat_", 16}, {"shpss_", 16}, {"shpca_", 16}, {"shppa_", 16}, // SendGrid, Shopify
	{"npm_", 20}, {"pypi-", 16}, {"dckr_pat_", 16}, {"rubygems_", 16}, // registries
	{"hvs.", 16}, {"hvb.", 16}, {"dop_v1_", 16}, {"doo_v1_", 16}, {"dor_v1_", 16}, {"lin_api_", 16}, {"sq0atp-", 12}, {"sq0csp-", 12}, // Vault, DigitalOcean, Linear, Square
	{"PMAK-", 16}, {"ATATT3", 16}, {"figd_", 16}, {"ntn_", 20}, {"tskey-", 16}, {"NRAK-", 16}, {"sntrys_", 16}, {"sntryu_", 16}, // Postman, Atlassian, Figma, Notion, Tailscale, New Relic, Sentry
	{"AGE-SECRET-KEY-", 16}, {"-----BEGIN ", 8},
}

// minKnown is the length of the shortest well-known secret.
const minKnown = 12

// byFirst has the indexes of the rows of knownTokens by the first byte of their prefix, and byLast by
// the last byte. byFirst is empty but not nil for the first bytes of secrets that have no row.
var byFirst, byLast = func() (first, last [256][]int) {
	first['e'], first['b'], first['B'] = []int{}, []int{}, []int{} // JSON Web Tokens, schemes
	for i := range knownTokens {
		p := knownTokens[i].prefix
		first[p[0]] = append(first[p[0]], i)
		last[p[len(p)-1]] = append(last[p[len(p)-1]], i)
	}
	return first, last
}()

// known returns the length of the well-known secret at the beginning of s, or 0 if there is none.
func known(s string) int {
	if len(s) < minKnown || byFirst[s[0]] == nil {
		return 0
	}
	switch s[0] {
	case 'e':
		return jwt(s)
	case 'b', 'B':
		return max(bearer(s), basic(s))
	}
	for _, i := range byFirst[s[0]] {
		if n := knownToken(i, s); n > 0 {
			return n
		}
	}
	return 0
}

// knownToken returns the length of the token of row i of knownTokens at the beginning of s.
func knownToken(i int, s string) int {
	t := &knownTokens[i]
	rest, ok := strings.CutPrefix(s, t.prefix)
	switch {
	case !ok:
	case t.prefix[0] == '-':
		return pem(s)
	default:
		if n := tokenChars(rest); n >= t.more && (t.prefix != "sk-" || strings.ContainsAny(rest[:n], "0123456789")) { // not sk-button-primary
			return len(t.prefix) + n
		}
	}
	return 0
}

// pem returns the length of the private key at the beginning of s. If the end of the key is missing, the
// key extends to the end of s.
func pem(s string) int {
	label, _, ok := strings.Cut(s[len("-----BEGIN "):min(len(s), 64)], "-----")
	if !strings.Contains(label, "PRIVATE KEY") {
		return 0
	}
	if !ok {
		return len(s)
	}
	end := "-----END " + label + "-----"
	if i := strings.Index(s, end); i >= 0 {
		return i + len(end)
	}
	return len(s)
}

// bearer returns the length of `bearer` and its token, outside of an Authorization header.
func bearer(s string) int {
	const name = "bearer "
	if !strings.EqualFold(s[:len(name)], name) {
		return 0
	}
	n := tokenChars(s[len(name):])
	secret := s[len(name) : len(name)+n]
	parameter, _, ok := strings.Cut(secret, "=")
	if n < 8 || ok && strings.Trim(parameter, "abcdefghijklmnopqrstuvwxyz_") == "" || // not realm="…"
		n < 20 && strings.Trim(secret, "abcdefghijklmnopqrstuvwxyz.") == "" { // not `bearer authentication`
		return 0
	}
	return len(name) + n
}

// basic returns the length of `basic` and a user and password in base64.
func basic(s string) int {
	const name = "basic "
	if !strings.EqualFold(s[:len(name)], name) {
		return 0
	}
	n := tokenChars(s[len(name):])
	if !isLogin(s[len(name) : len(name)+n]) {
		return 0
	}
	return len(name) + n
}

// isLogin reports whether a text is base64 of a user, a colon and a password.
func isLogin(s string) bool {
	if len(s) < 8 || len(s)%4 != 0 || len(s) > 1<<10 {
		return false
	}
	login, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return false
	}
	colon := false
	for _, c := range login {
		if c < ' ' || c == 0x7f {
			return false
		}
		colon = colon || c == ':'
	}
	return colon
}

// jwt returns the length of the JSON Web Token at the beginning of s.
func jwt(s string) int {
	if !strings.HasPrefix(s, "ey") {
		return 0
	}
	if dot := strings.IndexByte(s, '.'); dot > 0 && isHeader(s[:dot]) {
		return jwtEnd(s, dot)
	}
	return 0
}

// jwtEnd finds the end of a JSON Web Token, given its first dot. A token has two or four dots. One is
// enough if the text's end cuts the token. It returns 0 if there is no token.
func jwtEnd(s string, dot int) int {
	n, dots := dot, 0
	for n < len(s) && jwtChars[s[n]] {
		if s[n] == '.' {
			dots++
		}
		n++
	}
	if dots == 1 && n < len(s) {
		return 0
	}
	return len(strings.TrimRight(s[:n], "."))
}

// jwtAt finds the JSON Web Token whose first dot is at dot. Before the dot is base64 of an object with
// `alg`. The bytes before the token may look like part of it: its length in binary content, or the `id_`
// before an ID.
func jwtAt(s string, dot int) (from, to int) {
	begin := dot
	for begin > 0 && s[begin-1] != '.' && jwtChars[s[begin-1]] {
		begin--
	}
	for from = begin; from+minHeader <= dot; from++ {
		n := strings.Index(s[from:dot], "ey")
		if n < 0 {
			return 0, 0
		}
		if from += n; !isHeader(s[from:dot]) {
			continue
		}
		if to = jwtEnd(s, dot); to > 0 {
			return from, to
		}
		return 0, 0
	}
	return 0, 0
}

var jwtChars = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")

// minHeader is the length of the shortest header, {"alg":""}, in base64.
const minHeader = 14

// isHeader reports whether a text is base64 of the header of a JSON Web Token.
func isHeader(s string) bool {
	var room [192]byte // alg is near the beginning
	n, _ := base64.RawURLEncoding.Decode(room[:], []byte(s[:min(len(s)/4*4+len(s)%4/2*2, 256)]))
	head := string(room[:n])
	return strings.HasPrefix(head, "{") && strings.Contains(head, `"alg"`)
}

var tokenChar = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/=~")

func tokenChars(s string) (n int) {
	for n < len(s) && tokenChar[s[n]] {
		n++
	}
	return n
}

// mayBeKnownAt reports whether the hook at i may belong to a well-known secret: as the last character
// of a prefix, the dot after the header of a JSON Web Token, or a capital. It rejects nearly all hooks.
func mayBeKnownAt(s string, i int) bool {
	switch s[i] {
	case 'A':
		return i+minKnown < len(s) && (s[i+1] == 'K' || s[i+1] == 'S' || s[i+1] == 'I' || s[i+1] == 'T')
	case 'B':
		return i+minKnown < len(s) && (s[i+5] == ' ' || s[i+6] == ' ')
	}
	if i < 2 || i+1 == len(s) || beforeHook[s[i]&3][s[i-1]]>>(s[i-2]&31)&1 == 0 {
		return false
	}
	if c := s[i-1]; s[i] == '.' && (c == '9' || c == '0' || c == 'Q') { // base64 of text that ends with a brace ends with one of these
		return i >= minHeader && tokenChars(s[i-minHeader:i]) == minHeader && strings.IndexByte(s[i-minHeader:i], '.') < 0
	}
	return tokenChar[s[i+1]] || s[i+1] == 'B'
}

// beforeHook has the pairs of characters that may precede a hook. Its indexes are the last two bits of
// the hook, and the second character. Bit n stands for first characters whose last five bits are n.
var beforeHook = func() (t [4][256]uint32) {
	for i := range knownTokens {
		p := knownTokens[i].prefix
		n := len(p) - 1
		t[p[n]&3][p[n-1]] |= 1 << (p[n-2] & 31)
	}
	t['-'&3]['-'] |= 1 << ('-' & 31) // -----BEGIN
	for _, c := range "90Q" {
		t['.'&3][c] = 1<<32 - 1
	}
	return t
}()

// knownAt returns where the well-known secret with a hook at i begins and ends, or 0, 0 if there is
// none. In binary content, a letter may precede the secret, because the bytes of its length may look
// like one. Elsewhere the secret must not be part of a word.
func knownAt(s string, i int, binary bool) (from, to int) {
	begins := func(from int) bool {
		if from < 0 || from > 0 && isWord[s[from-1]] && !binary {
			return false
		}
		to = from + known(s[from:])
		return to > from
	}
	switch s[i] {
	case 'A', 'B':
		if begins(i) {
			return i, to
		}
		return 0, 0
	case '-':
		if from = i - 4; from >= 0 && strings.HasPrefix(s[from:], "-----BEGIN ") {
			if n := pem(s[from:]); n > 0 {
				return from, from + n
			}
		}
	case '.':
		if from, to := jwtAt(s, i); to > 0 {
			return from, to
		}
	}
	for _, n := range byLast[s[i]] {
		p := knownTokens[n].prefix
		if from = i + 1 - len(p); from >= 0 && s[from:i+1] == p && begins(from) {
			return from, to
		}
	}
	return 0, 0
}

// isWord marks the characters that can't precede a well-known secret.
var isWord = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")

// knownIn finds well-known secrets.
func knownIn(found []span, s string, binary bool) []span {
	if s != "" && s[0] == 'b' {
		if n := known(s); n > 0 {
			found = append(found, span{0, n})
		}
	}
	for i := 0; i < len(s); i++ {
		if marks[s[i]] == hook && mayBeKnownAt(s, i) {
			if from, to := knownAt(s, i, binary); to > 0 {
				found = append(found, span{from, to})
				i = to - 1
			}
		}
	}
	return found
}

// hasKnown reports whether s has a secret that is found under any name.
func hasKnown(s string) bool {
	var room [1]span
	return len(cards(knownIn(room[:0], s, false), s)) > 0
}
