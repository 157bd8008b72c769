// Package class finds the class of a value: a UUID, a time, a token. Values of some classes are
// made anew for each request, so that two requests that differ only in such values can be the
// same.
//
// The class depends only on the text, its name and the time of its exchange. Package match, which
// knows the whole recording, decides whether a value of a class is volatile at its place.
//
// It imports the standard library only.
package class

import (
	"bytes"
	"strconv"
	"time"
)

// Class is a class of values.
type Class uint8

const (
	None Class = iota
	DateTime
	HTTPDate
	Date
	EpochSeconds
	EpochMillis
	EpochMicros
	EpochNanos
	UUID
	UUIDv7
	UUIDv1
	ULID
	KSUID
	XID
	ObjectID
	Snowflake
	TraceParent
	Hex
	JWT
	Opaque
	Token
	numClasses
)

// Role is the purpose of the values of a class.
type Role uint8

const (
	// Moment is a point in time. It is volatile if it follows the clock.
	Moment Role = iota + 1
	// Minted is an identifier that contains the time at which it was made.
	Minted
	// Random is an identifier or a number used once, without a time.
	Random
	// Credential is a secret that is issued anew.
	Credential
	// Unexplained is text that looks random. It may identify something.
	Unexplained
	// Redacted is a token in place of a secret.
	Redacted
)

// String returns the role in words.
func (r Role) String() string {
	return [...]string{"", "a point in time", "an identifier with its time", "an identifier or a number used once", "a credential", "unknown", "a redacted secret"}[r]
}

// Doc is the row of a class in the table.
type Doc struct {
	Name    string
	Role    Role
	Looks   string
	Example string
}

var docs = [numClasses]Doc{
	None:         {},
	DateTime:     {"datetime", Moment, "RFC 3339, with or without a zone, or the basic format, such as `20260612T150405Z`", "2026-06-12T15:04:05.123Z"},
	HTTPDate:     {"http-date", Moment, "RFC 9110 and RFC 5322", "Fri, 12 Jun 2026 15:04:05 GMT"},
	Date:         {"date", Moment, "Year, month and day", "2026-06-12"},
	EpochSeconds: {"epoch-s", Moment, "10 digits, or with a fraction", "1781276645"},
	EpochMillis:  {"epoch-ms", Moment, "13 digits", "1781276645123"},
	EpochMicros:  {"epoch-us", Moment, "16 digits", "1781276645123456"},
	EpochNanos:   {"epoch-ns", Moment, "19 digits", "1781276645123456789"},
	UUID:         {"uuid", Random, "RFC 9562, a version without a time", "6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e"},
	UUIDv7:       {"uuidv7", Minted, "RFC 9562, version 7", "019ebc5c-9703-7c2b-8a51-0f6d3c9e7b14"},
	UUIDv1:       {"uuidv1", Minted, "RFC 9562, versions 1 and 6", "c232ab00-9414-11ec-b3c8-9f6bdeced846"},
	ULID:         {"ulid", Minted, "26 digits of Crockford's base 32", "01KTY5S5R3F3Z9X7Q2M4V8R6T1"},
	KSUID:        {"ksuid", Minted, "27 digits of base 62", "0ujtsYcgvSTl8PAuAdqWYSMnLOv"},
	XID:          {"xid", Minted, "20 digits of base 32, `0` to `v`", "9m4e2mr0ui3e8a215n4g"},
	ObjectID:     {"objectid", Minted, "24 hexadecimal digits", "507f1f77bcf86cd799439011"},
	Snowflake:    {"snowflake", Minted, "17 to 19 digits, in the epoch of Twitter or Discord", "1541815603606036480"},
	TraceParent:  {"traceparent", Random, "W3C Trace Context", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	Hex:          {"trace-id", Random, "16 or 32 hexadecimal digits under a name for traces or for values that are used once", "4bf92f3577b34da6a3ce929d0e0e4736"},
	JWT:          {"jwt", Credential, "RFC 7519: the first part is JSON with `alg`", "eyJhbGciOiJub25lIn0.e30."},
	Opaque:       {"opaque", Unexplained, "16 characters or more that look random", "q8ZkT0vXw2LrB5nD"},
	Token:        {"redacted", Redacted, "A token of Tapedeck's redaction", "REDACTED-0123456789abcdef"},
}

// Docs returns the table of classes, without None.
func Docs() []Doc { return docs[1:] }

// String returns the class's name, or "" for None.
func (c Class) String() string { return docs[c].Name }

// Role returns the purpose of the class.
func (c Class) Role() Role { return docs[c].Role }

// Value is the class of a string, with its relation to the time of the exchange.
type Value struct {
	Class Class
	// Near reports whether a moment is less than a month away from the exchange's time, or whether an
	// identifier was made around that time.
	Near bool
	// Offset is the distance of a near moment from the exchange's time: 0 within about an hour,
	// then in hours, then in days. The beginning and the end of a day count in days. Values of
	// the same class and offset mean the same at different times.
	Offset int16
}

// IsOfDay reports whether the offset of a near moment counts in days only.
func (v Value) IsOfDay() bool { return v.Class == Date || v.Offset >= midnight-50 }

const (
	// minted is how long before or after an exchange its identifiers may have been made, because
	// clocks differ.
	minted = 10 * time.Minute
	// now is the distance from the exchange's time up to which the offset of a moment is 0. It
	// includes the beginning of the hour.
	now = 65 * time.Minute
	// hours is the distance up to which an offset counts in hours, days the distance up to which it
	// counts in days.
	hours = 36 * time.Hour
	days  = 31 * 24 * time.Hour
	// midnight and endOfDay are added to the days in the offset of a day's beginning and end.
	midnight, endOfDay = 200, 300
	// maxLen bounds the length of a value of a class.
	maxLen = 8 << 10
)

// Find returns the class of s, or of a part of it, in an exchange at the given time. The classified
// part is s[from:to]. name is the name of the place; it may be empty. Find recognises a part if it
// is the only UUID, as in urn:uuid:…, or if it follows the last `_` or `:` and contains a time, as
// in req_01KTY5S5R3….
func Find(s, name []byte, at time.Time) (v Value, from, to int) {
	if v = Of(s, name, at); v.Class != None && v.Class != Opaque || len(s) > maxLen {
		return v, 0, len(s)
	}
	if i := onlyUUID(s); i >= 0 {
		return ofUUID(s[i:i+uuidLen], at), i, i + uuidLen
	}
	if i := bytes.LastIndexAny(s, "_:"); i > 0 && i < len(s)-1 {
		if part := Of(s[i+1:], name, at); part.Near {
			return part, i + 1, len(s)
		}
	}
	return v, 0, len(s)
}

// Of returns the class of s as a whole.
func Of(s, name []byte, at time.Time) Value {
	if len(s) < 10 {
		return Value{}
	}
	if len(s) > maxLen { // too long for any class, but there may be tokens in it
		return OfBody(s)
	}
	switch digits := countDigits(s); {
	case s[0] == Prefix[0] && IsToken(s):
		return Value{Class: Token}
	case digits == len(s):
		return ofDigits(s, at)
	case digits == len(s)-1 && s[0] != '-':
		if v := ofDecimal(s, at); v.Class != None {
			return v
		}
	case digits == 0 && len(s) < 20:
		return Value{}
	}
	if s[0] <= '9' && len(s) <= 40 {
		if t, ok := dateTime(s); ok {
			return moment(DateTime, t, at)
		}
		if len(s) == 10 {
			if t, err := time.Parse(time.DateOnly, string(s)); err == nil {
				return day(t, at)
			}
		}
	}
	switch len(s) {
	case 16:
		if isHex(s) && UsedOnce(name) {
			return Value{Class: Hex}
		}
	case 20:
		if t, ok := xidTime(s); ok && isNear(t, at, minted) {
			return Value{Class: XID, Near: true}
		}
	case 24:
		if isHex(s) {
			if t := hexTime(s[:8]); isNear(t, at, minted) {
				return Value{Class: ObjectID, Near: true}
			}
		}
	case 25:
		if t, err := time.Parse(time.RFC1123, string(s)); err == nil { // Fri, 2 Jan …
			return moment(HTTPDate, t, at)
		}
	case 26:
		if t, ok := ulidTime(s); ok && isNear(t, at, minted) {
			return Value{Class: ULID, Near: true}
		}
	case 27:
		if t, ok := ksuidTime(s); ok && isNear(t, at, minted) {
			return Value{Class: KSUID, Near: true}
		}
	case 28, 29, 30, 31:
		for _, layout := range httpLayouts {
			if t, err := time.Parse(layout, string(s)); err == nil {
				return moment(HTTPDate, t, at)
			}
		}
	case 32:
		if isHex(s) {
			if UsedOnce(name) {
				return Value{Class: Hex}
			}
			return Value{Class: Opaque}
		}
	case 36:
		if isUUID(s) {
			return ofUUID(s, at)
		}
	case 55:
		if s[2] == '-' && s[35] == '-' && s[52] == '-' && isHex(s[:2]) && isHex(s[3:35]) && isHex(s[36:52]) && isHex(s[53:]) {
			return Value{Class: TraceParent}
		}
	}
	if isJWT(s) {
		return Value{Class: JWT}
	}
	if v := OfBody(s); v.Class != None {
		return v
	}
	if looksRandom(s) {
		return Value{Class: Opaque}
	}
	return Value{}
}

func countDigits(s []byte) (n int) {
	for _, c := range s {
		if '0' <= c && c <= '9' {
			n++
		}
	}
	return n
}

func ofDigits(s []byte, at time.Time) Value {
	if len(s) > 19 {
		return Value{Class: Opaque}
	}
	n, err := strconv.ParseInt(string(s), 10, 64)
	if err != nil || s[0] == '0' {
		return Value{}
	}
	v := Value{}
	switch len(s) {
	case 10:
		v = moment(EpochSeconds, time.Unix(n, 0).UTC(), at)
	case 13:
		v = moment(EpochMillis, time.UnixMilli(n).UTC(), at)
	case 16:
		v = moment(EpochMicros, time.UnixMicro(n).UTC(), at)
	case 19:
		v = moment(EpochNanos, time.Unix(0, n).UTC(), at)
	}
	switch {
	case v.Near:
		return v
	case isNumber(s):
		return Value{Class: Token}
	}
	if len(s) >= 17 {
		for _, epoch := range []int64{1288834974657, 1420070400000} {
			if isNear(time.UnixMilli(n>>22+epoch), at, minted) {
				return Value{Class: Snowflake, Near: true}
			}
		}
	}
	if len(s) >= 12 {
		return Value{Class: Opaque}
	}
	return Value{}
}

// ofDecimal returns the class of seconds with a fraction, and of random numbers below one.
func ofDecimal(s []byte, at time.Time) Value {
	whole, fraction, ok := bytes.Cut(s, []byte("."))
	if !ok || len(fraction) == 0 {
		return Value{}
	}
	if len(whole) == 10 {
		n, _ := strconv.ParseInt(string(whole), 10, 64)
		if v := moment(EpochSeconds, time.Unix(n, 0).UTC(), at); v.Near {
			return v
		}
	}
	if len(whole) == 1 && whole[0] == '0' && len(fraction) >= 10 {
		return Value{Class: Opaque}
	}
	return Value{}
}

// OfTimestamp returns the class of protobuf's Timestamp: seconds, a dot and nine digits.
func OfTimestamp(s []byte, at time.Time) Value {
	seconds, _, _ := bytes.Cut(s, []byte("."))
	n, err := strconv.ParseInt(string(seconds), 10, 64)
	if err != nil {
		return Value{}
	}
	return moment(DateTime, time.Unix(n, 0).UTC(), at)
}

// When returns the time that s states, if s has a class of moments.
func When(s []byte) (time.Time, bool) {
	whole, fraction, _ := bytes.Cut(s, []byte("."))
	if n, err := strconv.ParseInt(string(whole), 10, 64); err == nil {
		switch len(whole) {
		case 10:
			nanos, _ := strconv.ParseInt((string(fraction) + "000000000")[:9], 10, 64)
			return time.Unix(n, nanos), true
		case 13:
			return time.UnixMilli(n), true
		case 16:
			return time.UnixMicro(n), true
		case 19:
			return time.Unix(0, n), true
		}
	}
	if len(s) > 40 {
		return time.Time{}, false
	}
	if t, ok := dateTime(s); ok {
		return t, true
	}
	for _, layout := range append([]string{time.DateOnly}, httpLayouts...) {
		if t, err := time.Parse(layout, string(s)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func moment(c Class, t, at time.Time) Value {
	d := t.Sub(at)
	switch size := d.Abs(); {
	case at.IsZero() || size > days:
		return Value{Class: c}
	case t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0:
		return Value{c, true, midnight + daysBetween(t, at)}
	case t.Hour() == 23 && t.Minute() == 59 && t.Second() == 59:
		return Value{c, true, endOfDay + daysBetween(t, at)}
	case size <= now:
		return Value{Class: c, Near: true}
	case size <= hours:
		return Value{c, true, int16(d.Round(time.Hour) / time.Hour)}
	}
	n := int16(d.Round(24*time.Hour) / (24 * time.Hour))
	if n > 0 {
		return Value{c, true, 100 + n}
	}
	return Value{c, true, n - 100}
}

// daysBetween returns the calendar days from at to t, in the zone of t.
func daysBetween(t, at time.Time) int16 {
	at = at.In(t.Location())
	date := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }
	return int16(date(t).Sub(date(at)) / (24 * time.Hour))
}

// day returns the offset of a moment in calendar days.
func day(t, at time.Time) Value {
	if at.IsZero() {
		return Value{Class: Date}
	}
	if t.Sub(at).Abs() > days {
		return Value{Class: Date}
	}
	return Value{Date, true, daysBetween(t, at)}
}

// isNear reports whether an identifier was made at the exchange's time.
func isNear(t, at time.Time, within time.Duration) bool {
	return !at.IsZero() && t.Sub(at).Abs() <= within
}

var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700",
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "20060102T150405Z0700"}

var httpLayouts = []string{time.RFC1123, time.RFC1123Z, "Mon, 2 Jan 2006 15:04:05 MST", "Mon, 2 Jan 2006 15:04:05 -0700"}

func dateTime(s []byte) (time.Time, bool) {
	basic := len(s) >= 16 && s[8] == 'T'
	if !basic && (len(s) < 16 || s[4] != '-' || s[7] != '-' || s[10] != 'T' && s[10] != ' ' || s[13] != ':') {
		return time.Time{}, false
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, string(s)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
