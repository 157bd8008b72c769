package redact

import (
	"strings"
	"unicode"
)

// users finds the user information of every URL in a text.
func users(found []span, s string, g grammar) []span {
	for i := 0; ; {
		if i > 0 || g != authority {
			next := strings.Index(s[i:], "//")
			if next < 0 {
				return found
			}
			i += next + 2
		} else if s[0] == '/' {
			g = target
			continue
		}
		end := strings.IndexAny(s[i:], "/?# \t\"<>")
		if end < 0 {
			end = len(s) - i
		}
		if at := strings.LastIndexByte(s[i:i+end], '@'); at > 0 && isPrintable(s[i:i+at]) {
			found = append(found, span{i, i + at})
		} else if login := s[i : i+end]; at < 0 && i+end == len(s) && g != authority && isCutLogin(login) {
			found = append(found, span{i, i + end})
		}
		if g == authority {
			g = target
		} else {
			i += end
		}
	}
}

// isPrintable reports whether a text has no control characters. Compressed data may have a
// colon and an at sign, too, but then has control characters between them.
func isPrintable(s string) bool {
	return strings.IndexFunc(s, unicode.IsControl) < 0
}

// isCutLogin reports whether an authority at the end of a text is user information that was cut before
// its at sign. This is the case if no port follows the colon.
func isCutLogin(s string) bool {
	user, password, ok := strings.Cut(s, ":")
	return ok && user != "" && user[0] != '[' && strings.Trim(password, "0123456789") != ""
}

// logins finds user:password@host without a URL around it, as in addresses of proxies and databases. A
// scheme may precede an address.
func logins(found []span, s string) []span {
	for end := strings.IndexByte(s, '@'); end >= 0; {
		start := end
		for start > 0 && !begins[s[start-1]] && s[start-1] != '@' {
			start--
		}
		user, _, ok := strings.Cut(s[start:end], ":")
		ok = ok && isPrintable(s[start:end])
		switch strings.ToLower(user) {
		case "mailto", "acct", "sip", "sips", "xmpp", "im", "urn":
			ok = false
		}
		if ok {
			found = append(found, span{start, end})
		}
		next := strings.IndexByte(s[end+1:], '@')
		if next < 0 {
			break
		}
		end += 1 + next
	}
	return found
}

// segmentEnds marks the characters that end a segment of a path.
var segmentEnds = set("/?#&;,\"<> \t")

// segments finds the secret segments of a path: well-known tokens, and segments that an earlier one
// announces, such as /reset-password/….
func (r *Sink) segments(found []span, s string, g grammar) []span {
	if g >= keyed {
		found = keys(found, s, 0, int(g-keyed))
	}
	left := 0 // how many of the next segments are secret if they look random
	for i := strings.IndexByte(s, '/'); i >= 0 && i < len(s); {
		from, to := i+1, segmentEnd(s, i+1)
		segment := s[from:to]
		suspect := left > 0
		left--
		if from > 1 && s[i-1] == '/' { // an authority
			if isWebhookHost(segment) && to < len(s) && s[to] == '/' {
				g = webhook
				to = segmentEnd(s, to+1) // the first segment says what the webhook is for
			} else if n := keyedHost(segment); n >= 0 {
				found = keys(found, s, to, n)
			}
		} else if n := known(segment); n > 0 {
			found = append(found, span{from, to})
		} else if g == webhook && from > 1 && segment != "" {
			found = append(found, span{from, to})
		} else if n := bot(segment); n > 0 {
			found = append(found, span{from + n, to})
		} else if suspect && isRandom(segment) {
			found = append(found, span{from, to})
		} else if n := r.suspected(segment); n > 0 {
			left = n
		} else if strings.HasPrefix(s[i:], "/services/T") && strings.Contains(s[i:min(len(s), i+40)], "/B") {
			left = everything
		} else if to < len(s) && s[to] == '/' && r.announces(segment) {
			from, to = to+1, segmentEnd(s, to+1)
			for to < len(s) && s[to] == '/' && isStep(s[from:to]) {
				from, to = to+1, segmentEnd(s, to+1)
			}
			switch {
			case isStep(s[from:to]):
			case subjects[singular(s[from:to])]: // /verify/email/token
				left = 3
				to = from - 1 // the subject may announce the next segment: /verify/token/…
			default:
				found = append(found, span{from, to})
				left = 1 // /activate/user/token
			}
		}
		next := strings.IndexByte(s[to:], '/')
		if next < 0 {
			break
		}
		if g == webhook && next > 0 && strings.IndexAny(s[to:to+next], "?#&\"<> ") >= 0 {
			g = target // the path has ended
		}
		i = to + next
	}
	return found
}

func segmentEnd(s string, from int) int {
	for from < len(s) && !segmentEnds[s[from]] {
		from++
	}
	return from
}

// announces reports whether a segment makes the next one secret. It looks up only the few segments
// whose last letters are those of an announcing word.
func (r *Sink) announces(segment string) bool {
	return r.mayAnnounce(segment) && r.verdict(segment).of(inPath) != plain
}

func (r *Sink) mayAnnounce(segment string) bool {
	n := len(segment)
	return n >= 3 && n <= maxGlued && r.last[segment[n-2]&31]>>(segment[n-1]&31)&1 != 0
}

// suspected returns how many segments after this one are secret if they look random.
func (r *Sink) suspected(segment string) int {
	if !r.mayAnnounce(segment) {
		return 0
	}
	return suspects[strings.ToLower(segment)]
}

// steps are operations that may follow an announcing segment. They are not secret.
var steps = func() map[string]bool {
	m := make(map[string]bool)
	for _, step := range strings.Fields(`accessor callback change check complete confirm create delete edit exchange forgot form generate
		info introspect introspection issue list login logout lookup new obtain refresh renew request reset resend revoke rotate roles send set show sign
		status success update validate verify`) {
		m[step] = true
	}
	return m
}()

// subjects are the objects of such an operation: /verify/email. They are not secret, but the two
// segments after them are if they look random.
var subjects = func() map[string]bool {
	m := make(map[string]bool)
	for _, subject := range strings.Fields(`account address card code contact customer device domain email identity invitation link member mobile
		number order organization otp password payment phone registration session sms subscription team token user`) {
		m[subject] = true
	}
	return m
}()

func isStep(segment string) bool {
	first, _, _ := strings.Cut(segment, "-")
	return segment == "" || steps[first]
}

// isWebhookHost reports whether the paths of a host are secrets: hooks.slack.com, x.webhook.office.com.
func isWebhookHost(host string) bool {
	k := len(host) - 1
	for k >= 3 && (host[k]|0x20 != 'k' || host[k-1]|0x20 != 'o') { // few hosts have the letters "ok"
		k--
	}
	if k < 3 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		switch strings.ToLower(label) {
		case "hooks", "webhook", "webhooks":
			return strings.Contains(host, ".")
		}
	}
	return false
}

// keyedHosts lists domains with a key in their paths, after one of the strings in after. It covers their
// subdomains.
var keyedHosts = []struct {
	domain string // two labels
	after  []string
}{
	{"alchemy.com", []string{"/v2/"}},
	{"datadoghq.com", []string{"/v1/input/"}},
	{"datadoghq.eu", []string{"/v1/input/"}},
	{"hc-ping.com", []string{"/"}},
	{"ifttt.com", []string{"/with/key/"}},
	{"infura.io", []string{"/v3/"}},
	{"loggly.com", []string{"/inputs/", "/bulk/"}},
	{"pagerduty.com", []string{"/integration/"}},
	{"quiknode.pro", []string{"/"}},
	{"sumologic.com", []string{"/receiver/v1/http/"}},
	{"victorops.com", []string{"/alert/"}},
}

// keyedHost returns the index of a host's domain in keyedHosts, or -1 if it isn't there.
func keyedHost(host string) int {
	if i := strings.IndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	last := strings.LastIndexByte(host, '.')
	if last <= 0 {
		return -1
	}
	domain := host[strings.LastIndexByte(host[:last], '.')+1:]
	for i := range keyedHosts {
		if d := keyedHosts[i].domain; len(d) == len(domain) && strings.EqualFold(d, domain) {
			return i
		}
	}
	return -1
}

// keys finds the key in the path of a host of keyedHosts, which begins at from.
func keys(found []span, s string, from, host int) []span {
	path := s[:from+valueEnd(s[from:], "?#&\"<> ")]
	for _, after := range keyedHosts[host].after {
		i := strings.Index(strings.ToLower(path[from:]), after)
		if i < 0 {
			continue
		}
		key := from + i + len(after)
		if end := segmentEnd(path, key); end > key {
			found = append(found, span{key, end})
		}
	}
	return found
}

// everything is more than the number of segments in any path.
const everything = 1 << 30

// suspects says how many segments after a segment are secret if they look random: all of them after that
// of a webhook (/api/webhooks/…, /webhookb2/…), and two after a collection of secrets (/invites/token) or
// an operation with a user before the token (/reset/user/token).
var suspects = map[string]int{"hook": everything, "hooks": everything, "webhook": everything, "webhooks": everything, "webhookb2": everything, "incomingwebhook": everything,
	"invites": 2, "invitations": 2, "join": 2, "magic": 2, "reset": 2, "sessions": 2, "tokens": 2}

// isRandom reports whether a segment looks generated: at least 12 characters, with digits and others.
func isRandom(segment string) bool {
	return len(segment) >= 12 && strings.ContainsAny(segment, "0123456789") && strings.Trim(segment, "0123456789") != ""
}

// bot returns the length of the text before the token in a path segment of Telegram's API:
// bot123456:token.
func bot(segment string) int {
	if !strings.HasPrefix(segment, "bot") || len(segment) < 5 || !isDigit(segment[3]) {
		return 0
	}
	id, _, ok := strings.Cut(segment[3:], ":")
	if !ok || strings.Trim(id, "0123456789") != "" {
		return 0
	}
	return len("bot") + len(id) + 1
}
