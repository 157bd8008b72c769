package carry

import (
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/match/class"
)

// Classes of values, in addition to those of match/class.
const (
	classCookie    = "cookie"
	classValidator = "validator"
	classID        = "id"
	classRandom    = "random"
	classRule      = "rule"
)

// minLength is the length of the shortest value that is recognised without its place.
const minLength = 8

// mayBeValue reports whether text can be a value that is recognised without its place: one word,
// neither short nor very long.
func mayBeValue(text string) bool {
	if len(text) < minLength || len(text) > maxValue {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '<' || c == '>' {
			return false
		}
	}
	return true
}

// judge finds the class of values. It is not safe for concurrent use.
type judge struct{ text, nameText []byte }

// worth reports whether a value that passed mayBeValue looks as if it was generated to be sent
// back, and returns its class. name is the name of its place, and at is the time of the response.
func (j *judge) worth(text, name string, at time.Time) (label string, ok bool) {
	j.text, j.nameText = append(j.text[:0], text...), append(j.nameText[:0], name...)
	v := class.Of(j.text, j.nameText, at)
	switch v.Class.Role() {
	case class.Moment:
		if v.Near || v.Class == class.DateTime || v.Class == class.HTTPDate || v.Class == class.Date {
			return "", false
		}
	case class.Random, class.Minted:
		return v.Class.String(), v.Class != class.TraceParent
	case class.Credential:
		return v.Class.String(), true
	case class.Redacted:
		return v.Class.String(), class.IsToken(j.text)
	}
	if isOrdinary(text) {
		return "", false
	}
	changes, most, digits := variety(text)
	switch {
	case digits == len(text):
		return classRandom, v.Class == class.Opaque
	case most >= 2 && (v.Class == class.Opaque || len(text) < 16 && changes >= 3), most >= 3 && changes >= 6:
		return classRandom, true
	case (class.IsReference(j.nameText) || isSecretName(name)) && (digits > 0 && changes > 0 || len(text) >= 16 && changes >= 2):
		return classRandom, true
	}
	return "", false
}

// isSecretName reports whether a name shows that its value is to be sent back.
func isSecretName(name string) bool {
	for _, word := range [...]string{"csrf", "xsrf", "token", "nonce", "state", "code", "cursor", "continuation", "session", "ticket", "viewstate", "authenticity", "otp"} {
		if containsFold(name, word) {
			return true
		}
	}
	return false
}

func containsFold(s, lower string) bool {
	for i := 0; i+len(lower) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

// variety returns how often text changes between lower case, upper case and digits, the number of
// changes in the word with the most of them, and the number of digits. A capital at the beginning
// of a word does not count as a change, because the names of things may have one, as in h2-tls1.
func variety(text string) (changes, most, digits int) {
	last, word := byte(0), 0
	for i := range len(text) {
		kind := byte(0)
		switch c := text[i]; {
		case '0' <= c && c <= '9':
			kind = 'd'
			digits++
		case 'a' <= c && c <= 'z':
			kind = 'a'
		case 'A' <= c && c <= 'Z':
			kind = 'A'
		default:
			last, word = 0, 0
			continue
		}
		if last != 0 && kind != last && (last != 'A' || kind != 'a') {
			changes++
			word++
			most = max(most, word)
		}
		last = kind
	}
	return changes, most, digits
}

// isOrdinary reports whether text describes something: it is a number, a price, a date, an address,
// a host, a version or a media type.
func isOrdinary(text string) bool {
	letters, dots, slashes, at, other := 0, 0, 0, 0, 0
	lower := true
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z':
			letters++
		case 'A' <= c && c <= 'Z':
			letters++
			lower = false
		case c == '.':
			dots++
		case c == '/':
			slashes++
		case c == '@':
			at++
		case c >= '0' && c <= '9', c == '-', c == ':', c == '+', c == '_':
		default:
			other++
		}
	}
	switch {
	case letters == 0: // a number, a price, a date, an IP address
		return len(text) < 12 || dots > 0 || slashes > 0 || strings.ContainsAny(text, "-:+")
	case at > 0, dots == 1 && letters <= 3: // EUR12.50
		return true
	case dots > 0 && other == 0 && slashes == 0 && (lower || isVersion(text)):
		return isHost(text) || isVersion(text)
	case slashes == 1:
		kind, _, _ := strings.Cut(text, "/")
		return mediaTypes[strings.ToLower(kind)] || isProduct(text)
	}
	return isVersion(text)
}

var mediaTypes = map[string]bool{"application": true, "audio": true, "font": true, "image": true, "message": true, "model": true, "multipart": true, "text": true, "video": true}

// isProduct reports whether text names a program and its version, such as nginx/1.25.3.
func isProduct(text string) bool {
	_, version, _ := strings.Cut(text, "/")
	return isVersion(version)
}

// isHost reports whether text is a host, with or without a port.
func isHost(text string) bool {
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		text = text[:i]
	}
	last := text[strings.LastIndexByte(text, '.')+1:]
	for i := range len(last) {
		if c := last[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return len(last) >= 2
}

// isVersion reports whether text is a version such as v1.24.3-rc.1: numbers separated by dots,
// perhaps with a suffix.
func isVersion(text string) bool {
	rest := strings.TrimPrefix(strings.ToLower(text), "v")
	numbers := 0
	for rest != "" {
		n := 0
		for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' {
			n++
		}
		if n == 0 || n > 6 {
			break
		}
		numbers++
		if rest = rest[n:]; rest == "" || rest[0] != '.' {
			break
		}
		rest = rest[1:]
	}
	return numbers >= 2 && (rest == "" || rest[0] == '-' || rest[0] == '+' || rest[0] == '_')
}

// isShortID reports whether text can be an id that means nothing without its place: it has a digit,
// such as 17 and ORD-1001, and is neither a version nor a date.
func isShortID(text string) bool {
	if len(text) > 32 {
		return false
	}
	digits, punctuation := 0, 0
	for i := range len(text) {
		switch c := text[i]; {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case (c == '-' || c == '_' || c == ':') && i > 0:
			punctuation++
		default:
			return false
		}
	}
	isDate := len(text) == 10 && digits == 8 && punctuation == 2
	return digits > 0 && !isDate && !isVersion(text)
}

// idWords are the last words of names whose values identify a thing.
var idWords = map[string]bool{"id": true, "ids": true, "uid": true, "uuid": true, "guid": true, "pk": true, "ref": true, "reference": true, "number": true, "nr": true, "no": true}

// wrappers are names that say nothing about their content.
var wrappers = map[string]bool{"data": true, "attribute": true, "body": true, "content": true, "edge": true, "embedded": true, "input": true, "node": true, "object": true,
	"page": true, "param": true, "payload": true, "resource": true, "response": true, "result": true, "value": true, "variable": true}

// collections are general names for the content of a list. The path may name the kind of thing.
var collections = map[string]bool{"element": true, "entry": true, "hit": true, "item": true, "list": true, "match": true, "member": true, "record": true, "row": true}

// accounts are names for the data of the user who sends the request.
var accounts = map[string]bool{"user": true, "account": true, "customer": true, "profile": true, "person": true, "people": true,
	"signup": true, "register": true, "registration": true, "login": true, "signin": true, "auth": true, "me": true}

// thing returns the kind of thing that a name refers to, in lower case and in the singular.
func thing(word string) string {
	word = strings.ToLower(word)
	switch {
	case strings.HasSuffix(word, "ies") && len(word) > 4:
		word = word[:len(word)-3] + "y"
	case strings.HasSuffix(word, "sses"), strings.HasSuffix(word, "xes"), strings.HasSuffix(word, "ches"), strings.HasSuffix(word, "shes"):
		word = word[:len(word)-2]
	case strings.HasSuffix(word, "s") && !strings.HasSuffix(word, "ss") && len(word) > 2:
		word = word[:len(word)-1]
	}
	if accounts[word] {
		return "user"
	}
	return word
}

// cutWord splits the last word off a name: `orderId` becomes `order` and `Id`.
func cutWord(name string) (rest, word string) {
	end := len(name)
	for end > 0 && !isAlnum(name[end-1]) {
		end--
	}
	from := end
	for from > 0 && isAlnum(name[from-1]) {
		from--
		if isUpper(name[from]) && (from == 0 || !isUpper(name[from-1])) { // in a run of capitals, no word begins
			break
		}
	}
	return name[:from], name[from:end]
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isAlnum(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// ofID reports whether a name says that its value is an id, and returns the kind of thing that the
// id identifies, or "" if the name doesn't say.
func ofID(name string) (of string, ok bool) {
	rest, last := cutWord(name)
	if !idWords[strings.ToLower(last)] {
		if lower := strings.ToLower(last); strings.HasSuffix(lower, "id") && len(lower) > 4 { // such as orderid
			return thing(lower[:len(lower)-2]), true
		}
		return "", false
	}
	if _, before := cutWord(rest); before != "" {
		of = thing(before)
	}
	return of, true
}

// isStatic reports whether a segment of a path is a word and not a value.
func isStatic(segment string) bool {
	for i := range len(segment) {
		if c := segment[i]; (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return segment != "" && len(segment) <= 32
}

// ofSegment returns the kind of thing that the segments below this one belong to.
func ofSegment(segment string) string {
	if !isStatic(segment) {
		return ""
	}
	_, last := cutWord(segment)
	return thing(last)
}
