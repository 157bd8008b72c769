package class

import (
	"fmt"
	"testing"
	"time"
)

var at = time.Date(2026, 6, 12, 15, 4, 5, 0, time.UTC)

func TestClasses(t *testing.T) {
	for _, c := range []struct {
		text, name string
		want       Value
	}{
		{"2026-06-12T15:04:05.123Z", "", Value{DateTime, true, 0}},
		{"2026-06-12T17:04:05+02:00", "", Value{DateTime, true, 0}},
		{"2026-06-12 14:00", "", Value{}}, // too short for a date and a time
		{"2026-06-12 15:04:05", "", Value{DateTime, true, 0}},
		{"20260612T150405Z", "", Value{DateTime, true, 0}},
		{"2026-06-12T15:00:00Z", "", Value{DateTime, true, 0}}, // the hour's beginning
		{"2026-06-12T17:04:05Z", "", Value{DateTime, true, 2}},
		{"2026-06-12T00:00:00Z", "", Value{DateTime, true, 200}}, // the day's beginning
		{"2026-06-12T00:00:00+14:00", "", Value{DateTime, true, 199}},
		{"2026-06-11T00:00:00Z", "", Value{DateTime, true, 199}},
		{"2026-06-12T23:59:59.999Z", "", Value{DateTime, true, 300}},
		{"2026-06-11T15:00:00Z", "", Value{DateTime, true, -24}},
		{"2026-06-19T15:00:00Z", "", Value{DateTime, true, 107}},
		{"1999-12-31T23:59:59Z", "", Value{DateTime, false, 0}},
		{"2026-06-12", "", Value{Date, true, 0}},
		{"2026-06-11", "", Value{Date, true, -1}},
		{"1990-01-01", "birthday", Value{Date, false, 0}},
		{"2026-13-01", "", Value{}},
		{"Fri, 12 Jun 2026 15:04:05 GMT", "", Value{HTTPDate, true, 0}},
		{"1781276645", "", Value{EpochSeconds, true, 0}},
		{"1781222400", "", Value{EpochSeconds, true, 200}},
		{"1781276645.123", "", Value{EpochSeconds, true, 0}},
		{"1781276645123", "", Value{EpochMillis, true, 0}},
		{"1781276645123456", "", Value{EpochMicros, true, 0}},
		{"1781276645123456789", "", Value{EpochNanos, true, 0}},
		{"4155552671", "phone", Value{}}, // ten digits, and no time of this year
		{"4111111111111111", "card", Value{Class: Opaque}},
		{"6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", "", Value{Class: UUID}},
		{"019ebc5c-9703-7c2b-8a51-0f6d3c9e7b14", "", Value{Class: UUIDv7, Near: true}},
		{"018fbc9a-4de3-7c2b-8a51-0f6d3c9e7b14", "", Value{Class: UUIDv7}},
		{"6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0", "", Value{Class: Opaque}},
		{"507f1f77bcf86cd799439011", "", Value{Class: Opaque}}, // made in 2012
		{"6a2c2065bcf86cd799439011", "", Value{Class: ObjectID, Near: true}},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", Value{Class: TraceParent}},
		{"4bf92f3577b34da6a3ce929d0e0e4736", "x-trace-id", Value{Class: Hex}},
		{"4bf92f3577b34da6a3ce929d0e0e4736", "md5", Value{Class: Opaque}},
		{"00f067aa0ba902b7", "spanId", Value{Class: Hex}},
		{"00f067aa0ba902b7", "account", Value{Class: Opaque}},
		{"eyJhbGciOiJub25lIn0.e30.", "", Value{Class: JWT}},
		{"api.nasa.gov", "", Value{}},
		{"eyJ4IjoxfQ.e30.x", "", Value{Class: Opaque}}, // JSON without alg
		{"REDACTED-0123456789abcdef", "", Value{Class: Token}},
		{"REDACTED-0123456789abcdef----", "", Value{Class: Token}},
		{"REDACTED-012", "", Value{Class: Token}},
		{"REDACTED-no", "", Value{}},
		{"Bearer REDACTED-0123456789abcdef", "", Value{Class: Token}},
		{"REDACTED-0123456789abcdeg", "", Value{}},
		{"q8ZkT0vXw2LrB5nD", "", Value{Class: Opaque}},
		{"0.8374659283746", "_", Value{Class: Opaque}},
		{"a-quite-long-slug-of-words", "", Value{}},
		{"north-america-2", "", Value{}},
		{"user@example.com", "", Value{}},
		{"42", "", Value{}},
		{"true", "", Value{}},
		{"", "", Value{}},
	} {
		if got := Of([]byte(c.text), []byte(c.name), at); got != c.want {
			t.Errorf("%q under %q: %v %v %d, want %v %v %d", c.text, c.name, got.Class, got.Near, got.Offset, c.want.Class, c.want.Near, c.want.Offset)
		}
	}
}

// TestExamples checks the table: each example belongs to its class, and has the time that the
// table says.
func TestExamples(t *testing.T) {
	made := map[Class]time.Time{
		UUIDv1:    time.Date(2022, 2, 22, 19, 22, 22, 0, time.UTC),
		ULID:      at,
		KSUID:     time.Date(2017, 10, 10, 4, 0, 47, 0, time.UTC),
		XID:       time.Date(2011, 3, 22, 17, 50, 19, 0, time.UTC),
		ObjectID:  time.Date(2012, 10, 17, 21, 13, 27, 0, time.UTC),
		Snowflake: time.Date(2022, 6, 28, 16, 7, 40, 0, time.UTC),
	}
	for i, d := range Docs() {
		c := Class(i + 1)
		when := at
		if m, ok := made[c]; ok {
			when = m
		}
		name := ""
		if c == Hex {
			name = "trace"
		}
		if got := Of([]byte(d.Example), []byte(name), when); got.Class != c || (d.Role == Minted || d.Role == Moment) && !got.Near {
			t.Errorf("%s: %q at %v is %q, near %v", d.Name, d.Example, when, got.Class, got.Near)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name            string
		once, reference bool
	}{
		{"requestId", true, false}, {"X-Request-ID", true, false}, {"traceparent", true, false}, {"nonce", true, false},
		{"client_request_id", true, false}, {"correlationId", true, false}, {"_", false, false},
		{"id", false, true}, {"userId", false, true}, {"user_uuid", false, true}, {"orderID", false, true}, {"cursor", false, true},
		{"ts", false, false}, {"name", false, false}, {"valid", false, false}, {"requested", false, false},
	} {
		if once, reference := UsedOnce([]byte(c.name)), IsReference([]byte(c.name)); once != c.once || reference != c.reference {
			t.Errorf("%s: once %v, reference %v; want %v, %v", c.name, once, reference, c.once, c.reference)
		}
	}
	for name, want := range map[string]bool{"GetUser": true, "ListOrders": true, "BatchGetDocuments": true, "CreateUser": false, "Getaway": false, "StreamingRead": false} {
		if Reads([]byte(name)) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}

func TestParts(t *testing.T) {
	for _, c := range []struct {
		text, part string
		class      Class
	}{
		{"urn:uuid:6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", "6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", UUID},
		{"cart-6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e/lines", "6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", UUID},
		{"6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", "6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", UUID},
		{"6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e,6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", "6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e,6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", None},
		{"req_01KTY5S5R3F3Z9X7Q2M4V8R6T1", "01KTY5S5R3F3Z9X7Q2M4V8R6T1", ULID},
		{"cache:1781276645123", "1781276645123", EpochMillis},
		{"cache:1081276645123", "cache:1081276645123", None},
		{"a-b-c-d-e", "a-b-c-d-e", None},
		{"_", "_", None},
	} {
		v, from, to := Find([]byte(c.text), nil, at)
		if v.Class == Opaque {
			v.Class = None
		}
		if v.Class != c.class || c.text[from:to] != c.part {
			t.Errorf("%s: %v %q, want %v %q", c.text, v.Class, c.text[from:to], c.class, c.part)
		}
	}
}

func FuzzOf(f *testing.F) {
	for _, d := range Docs() {
		f.Add([]byte(d.Example), "request-id", at.Unix())
	}
	f.Fuzz(func(t *testing.T, s []byte, name string, sec int64) {
		before := string(s)
		v := Of(s, []byte(name), time.Unix(sec%1e10, 0))
		if string(s) != before {
			t.Fatalf("%q became %q", before, s)
		}
		if v.Class != None && v.Class.String() == "" {
			t.Fatalf("%q is of a class without name", s)
		}
		if _, from, to := Find(s, []byte(name), time.Unix(sec%1e10, 0)); from < 0 || from > to || to > len(s) {
			t.Fatalf("%q: from %d to %d", s, from, to)
		}
		IsReference([]byte(name))
		AppendPattern(nil, s)
	})
}

func ExampleOf() {
	at := time.Date(2026, 6, 12, 15, 4, 5, 0, time.UTC)
	fmt.Println(Of([]byte("2026-06-12T15:04:05Z"), nil, at).Class, Of([]byte("6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e"), nil, at).Class)
	// Output: datetime uuid
}
