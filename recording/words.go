package recording

import (
	"slices"
	"strings"
)

// form says which part of a value is secret.
type form uint8

const (
	plain     form = iota // none of it, unless a secret is written in it
	whole                 // all of it
	scheme                // what follows the authentication scheme: Bearer …
	challenge             // what follows the scheme, if that is no list of parameters
	cookies               // the values of a=…; b=…
	setCookie             // the value of a=…, not its attributes
	protocols             // what in a list of WebSocket protocols isn't the name of one
	link                  // user information and secret parameters of a URL
)

// place is a set of places that have names.
type place uint8

const (
	inHeader    place = 1 << iota // a header, a trailer or a key of gRPC metadata
	inParameter                   // a parameter: of a query, a path, a fragment, a header's value
	inPath                        // a segment of a path: it names the segment that follows
	places      = 3
	anyName     = inHeader | inParameter
)

// position says where in a name the words stand.
type position uint8

const (
	anywhere position = iota
	atEnd             // digits and `bin` may follow
	alone             // nothing else is in the name, or in a part such as [password]
)

// words is the one table of what names say of their values. Names are split into
// words, at whatever is no letter, where a capital begins a word, and, in lower
// case, into the words of this table. A row with the form [plain] is an exception:
// it takes back what another row says of the same words. Every other row says
// what is secret of a value.
var words = []struct {
	form form
	in   place
	at   position
	list string // words, or runs of words joined by dashes
}{
	{whole, anyName, anywhere, `token secret secrets password passwords passwd pwd passphrase passcode credential credentials creds
		signature hmac jwt jws jwe saml samlresponse samlrequest samlart assertion bearer csrf xsrf otp totp crumb wsse dpop verifier
		apikey sessid jsessionid phpsessid mnemonic cvv cvc hdnts hdnea hdntl dsn macaroon webauthn
		api-key access-key secret-key private-key session-id session-key session-token access-token auth-token api-token id-token refresh-token
		client-key encryption-key signing-key account-key auth-code authorization-code device-code user-code verification-code recovery-code
		reset-code access-code backup-code login-code security-code one-time-code one-time-pass client-assertion connection-string connect-sid registry-config
		oidc-data authentication-info magic-link seed-phrase recovery-phrase`},
	{whole, anyName, atEnd, `key auth oauth authentication authenticator session sess sig sas pass pw psw pin cookie cookies cred authn
		authkey otp nonce-secret ticket-granting`},
	{whole, inParameter, anywhere, `authorization`},
	{whole, inParameter, alone, `code ticket tk sid`},
	{whole, inPath, atEnd, `token secret password passwd otp jwt api-key apikey access-key secret-key private-key session-id jsessionid
		reset-password password-reset forgot-password set-password verify-email email-verify email-verification verify-account confirm-email
		email-confirm email-confirmation magic-link magic-login one-time-login unsubscribe activate activation invite invitation`},
	{scheme, inHeader, anywhere, `authorization`},
	{challenge, inHeader, alone, `www-authenticate proxy-authenticate`},
	{cookies, inHeader, alone, `cookie cookie-2`},
	{setCookie, inHeader, alone, `set-cookie set-cookie-2`},
	{protocols, inHeader, alone, `sec-websocket-protocol`},
	{link, inHeader, alone, `content-location envoy-original-path forwarded-host forwarded-uri host location original-host original-uri original-url
		referer referrer rewrite-url`},
	{plain, anyName, anywhere, `page-token next-token continuation-token sync-token skip-token cursor-token pagination-token start-token
		idempotency-key cache-key partition-key sort-key primary-key public-key foreign-key surrogate-key websocket-key web-socket-key routing-key row-key
		range-key hash-key group-key dedup-key deduplication-key shard-key message-key object-key order-key unique-key translation-key
		allow-credentials credentials-mode`},
	{plain, inPath, anywhere, `page-token next-token`},
}

// attributes end names that say something about a secret, such as token-type:
// words before them are not secret.
const attributes = `type types method methods version algorithm alg length count expires expiry expiration expire ttl lifetime endpoint
	url uri name enabled required supported policy status error limit remaining format size max min hint usage level mode provider issuer
	audience scope scopes age outcome in at`

// qualifiers are further words that names without any separator are made of.
const qualifiers = `access account acme admin amz api app application aws azure basic bot callback client cloud confirm confirmation consumer
	current customer data db deploy device email encryption function functions git github gitlab google goog grant hub id identity internal jwt key license login
	master max my new next num number old page personal php private proxy public push read refresh registration request reset response root
	security service session shared sign signing site start subscription swagger sync system team temp test two user username value vault
	verification web webhook write x`

// glued are words that are recognized at either end of a longer word that can't
// be split: they are the end, or the beginning, of hardly any other word.
var (
	gluedEnds = strings.Fields(`token secret password passwd passphrase passcode signature credential credentials apikey accesskey secretkey
		privatekey sessionid sessid hmac jwt pwd authorization`)
	gluedBeginnings = strings.Fields(`password passwd apikey accesstoken authtoken secretkey`)
)

// verdict is what a name says of its value, in each of the places.
type verdict [places]form

func (v verdict) of(in place) form {
	switch in {
	case inHeader:
		return v[0]
	case inParameter:
		return v[1]
	}
	return v[2]
}

// dictionary is the table, ready to be looked into.
type dictionary struct {
	runs       map[string][]rule // by their first word
	vocabulary map[string]bool
	attributes map[string]bool
	own        map[string]bool // further names, joined
	longest    int             // of the vocabulary
}

type rule struct {
	words []string
	form  form
	in    place
	at    position
}

func newDictionary(more []string) *dictionary {
	d := &dictionary{runs: make(map[string][]rule), vocabulary: make(map[string]bool), attributes: make(map[string]bool), own: make(map[string]bool)}
	learn := func(word string) {
		d.vocabulary[word] = true
		d.longest = max(d.longest, len(word))
	}
	for _, row := range words {
		for _, run := range strings.Fields(row.list) {
			parts := strings.Split(run, "-")
			d.runs[parts[0]] = append(d.runs[parts[0]], rule{parts, row.form, row.in, row.at})
			for _, w := range parts {
				learn(w)
			}
		}
	}
	for _, w := range strings.Fields(attributes) {
		d.attributes[w] = true
		learn(w)
	}
	for _, w := range strings.Fields(qualifiers) {
		learn(w)
	}
	for _, name := range more {
		d.own[joined(name)] = true
	}
	delete(d.own, "")
	return d
}

// look finds what a name says.
func (d *dictionary) look(name string) (v verdict) {
	if len(name) > 2*maxLooked { // what is in the middle of such a name costs more than it says
		first, last := d.look(name[:maxLooked]), d.look(name[len(name)-maxLooked:])
		for i := range v {
			if v[i] = last[i]; v[i] == plain {
				v[i] = first[i]
			}
		}
		return v
	}
	name = unescaped(name)
	if d.isOwn(name) {
		return verdict{whole, whole, whole}
	}
	if strings.HasSuffix(strings.ToLower(name), "-bin") && !readableMetadata[strings.ToLower(name)] {
		v[0] = whole
	}
	for i, in := range [places]place{inHeader, inParameter, inPath} {
		if v[i] == plain {
			v[i] = d.form(name, in)
		}
	}
	return v
}

// maxLooked is how much of a long name's beginning and of its end is looked at.
const maxLooked = 128

// readableMetadata is binary metadata of gRPC's own. Of what applications send in
// binary no word can be read, so all of it is taken for secret.
var readableMetadata = map[string]bool{"grpc-status-details-bin": true, "grpc-trace-bin": true, "grpc-tags-bin": true, "grpc-server-stats-bin": true}

// form judges each way in which the name can be split.
func (d *dictionary) form(name string, in place) form {
	parts := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(partEnds, r) })
	for _, split := range []func(string) []string{camel, flat, d.one} {
		var all []string
		var ends []int // of the parts, in all
		for _, part := range parts {
			for _, chunk := range split(part) {
				all = append(all, d.segment(chunk)...)
			}
			ends = append(ends, len(all))
		}
		if f := d.judge(all, ends, in); f != plain {
			return f
		}
	}
	return plain
}

// partEnds end a part of a name such as `user[password]` and `user.password`.
const partEnds = "[]."

// judge finds the first row that applies to the words.
func (d *dictionary) judge(all []string, ends []int, in place) form {
	excepted := make([]bool, len(all))
	found := plain
	d.each(all, ends, in, func(r rule, at int) {
		if r.form == plain {
			for i := range r.words {
				excepted[at+i] = true
			}
		}
	})
	d.each(all, ends, in, func(r rule, at int) {
		last := at + len(r.words) - 1
		if r.form == plain || excepted[last] {
			return
		}
		if end := lastWord(all, len(all)); end > last && d.attributes[all[end]] {
			return
		}
		if found == plain || r.at == alone {
			found = r.form
		}
	})
	return found
}

// each calls f for every row's run that stands in the words.
func (d *dictionary) each(all []string, ends []int, in place, f func(r rule, at int)) {
	start, part := 0, 0
	for at := range all {
		for at >= ends[part] {
			start = ends[part]
			part++
		}
		for _, word := range []string{all[at], singular(all[at])} {
			for _, r := range d.runs[word] {
				end := at + len(r.words)
				switch {
				case word != all[at] && len(r.words) == 1, r.in&in == 0, end > len(all):
					continue
				case !slices.EqualFunc(all[at:end], r.words, func(a, b string) bool { return a == b || len(r.words) > 1 && singular(a) == b }):
					continue
				}
				partEnd := ends[part]
				for i := part; end > partEnd && i < len(ends); i++ {
					partEnd = ends[i] // the run goes on in the parts behind
				}
				switch last := lastWord(all, partEnd); {
				case r.at == atEnd && end <= last:
				case r.at == alone && (end != partEnd || at != start && !(at == start+1 && all[start] == "x")):
				default:
					f(r, at)
				}
			}
			if word == singular(word) {
				break
			}
		}
	}
}

// lastWord is the last of the first n words but for digits and `bin`.
func lastWord(all []string, n int) int {
	for n--; n > 0 && (all[n] == "bin" || isDigit(all[n][0])); n-- {
	}
	return n
}

// singular takes the plural's s off.
func singular(word string) string {
	if len(word) > 3 && word[len(word)-1] == 's' && word[len(word)-2] != 's' {
		return word[:len(word)-1]
	}
	return word
}

// segment splits a chunk in lower case into words of the vocabulary, as few as
// can be. One that has others in it stays, but for a glued end or beginning.
func (d *dictionary) segment(chunk string) []string {
	if d.vocabulary[chunk] || len(chunk) < 4 {
		return []string{chunk}
	}
	if len(chunk) <= maxGlued {
		var count [maxGlued + 1]int // of words in what is before it, plus one; 0: it can't be split
		var from [maxGlued + 1]int  // where the last of them begins
		count[0] = 1
		for end := 1; end <= len(chunk); end++ {
			for start := max(0, end-d.longest); start < end; start++ {
				if n := count[start] + 1; n > 1 && (count[end] == 0 || n < count[end]) && d.vocabulary[chunk[start:end]] {
					count[end], from[end] = n, start
				}
			}
		}
		if count[len(chunk)] > 0 {
			var found []string
			for end := len(chunk); end > 0; end = from[end] {
				found = append(found, chunk[from[end]:end])
			}
			slices.Reverse(found)
			return found
		}
	}
	for _, end := range gluedEnds {
		if before, ok := strings.CutSuffix(chunk, end); ok {
			return append(d.lastOf(before), d.segment(end)...)
		}
	}
	for _, begin := range gluedBeginnings {
		if rest, ok := strings.CutPrefix(chunk, begin); ok {
			return append(d.segment(begin), rest)
		}
	}
	return []string{chunk}
}

// lastOf splits the longest word of the vocabulary off the end.
func (d *dictionary) lastOf(chunk string) []string {
	for start := max(0, len(chunk)-d.longest); start < len(chunk)-2; start++ {
		if d.vocabulary[chunk[start:]] {
			return []string{chunk[:start], chunk[start:]}
		}
	}
	return []string{chunk}
}

// maxGlued is longer than the names that people glue together.
const maxGlued = 48

// isOwn tells whether the name, or a part of it, is one that was configured.
func (d *dictionary) isOwn(name string) bool {
	if len(d.own) == 0 {
		return false
	}
	if d.own[joined(name)] {
		return true
	}
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return strings.ContainsRune(partEnds, r) }) {
		if d.own[joined(part)] {
			return true
		}
	}
	return false
}

// joined is the name without what names that mean the same differ in: case,
// dashes and a leading X-.
func joined(name string) string {
	name = strings.ToLower(name)
	for {
		trimmed := strings.TrimLeft(name, "-_")
		if rest, ok := strings.CutPrefix(trimmed, "x-"); ok {
			name = rest
		} else if rest, ok := strings.CutPrefix(trimmed, "x_"); ok {
			name = rest
		} else {
			return strings.NewReplacer("-", "", "_", "").Replace(trimmed)
		}
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// flat splits a name at whatever is no letter, and where digits begin and end.
func flat(name string) []string { return split(name, func(string, int) bool { return false }) }

// camel also splits it where a capital begins a word: accessToken, APIKey.
func camel(name string) []string {
	return split(name, func(s string, i int) bool {
		return isUpper(s[i]) && (isLower(s[i-1]) || i+1 < len(s) && isLower(s[i+1]))
	})
}

// one makes a name one word, if that is in the table: pass-word.
func (d *dictionary) one(name string) []string {
	letters := strings.TrimPrefix(strings.Join(flat(name), ""), "x")
	if !d.vocabulary[letters] {
		return nil
	}
	return []string{letters}
}

func split(name string, here func(s string, i int) bool) (found []string) {
	start := -1 // of the word
	end := func(i int) {
		if start >= 0 {
			found = append(found, strings.ToLower(name[start:i]))
		}
		start = -1
	}
	for i := range len(name) {
		c := name[i]
		letter := isUpper(c) || isLower(c) || c >= 0x80
		switch {
		case !letter && !isDigit(c):
			end(i)
			continue
		case start >= 0 && (isDigit(c) != isDigit(name[i-1]) || letter && here(name, i)):
			end(i)
		}
		if start < 0 {
			start = i
		}
	}
	end(len(name))
	return found
}
