package contract

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultRule says which answers of a responder fail, and how. Package mock/fault applies it.
//
//	PATTERN:rate=1/10,delay=200ms,status=503
//	   │         │        └────────┴── faults, each a row of one table
//	   │         └── of each ten answers that the pattern matches, exactly one
//	   └── RE2, against METHOD scheme://host[:port]/path
type FaultRule struct {
	Pattern *regexp.Regexp
	// Hits of every Block matching answers fail.
	Hits, Block int
	Faults      []Fault
}

// Fault is one fault of a rule. Name is its name in the table, and determines which other fields are
// set.
type Fault struct {
	Name string
	// Duration is the value of delay and jitter.
	Duration time.Duration
	// Status is an HTTP status. GRPC is a gRPC status as a number, and set instead of Status.
	Status int
	GRPC   string
	// Header has a name and a value.
	Header [2]string
	// Word is the value of connection (refuse, reset, stall or drop), or of body (truncate or
	// corrupt).
	Word string
	// Bytes is the number of bytes that throttle lets through in a second, or that truncate leaves;
	// below 0 truncate leaves half of the body.
	Bytes int64
}

// faultRow is the name of a fault, with the parser of its value.
type faultRow struct {
	name  string
	value string // its form, for messages
	doc   string
	parse func(value string, f *Fault) error
}

func faultTable() []faultRow {
	return []faultRow{
		{"delay", "DURATION", "waits before the answer begins", parseFaultDuration},
		{"jitter", "DURATION", "waits for an additional random time up to this", parseFaultDuration},
		{"status", "CODE", "answers with an HTTP status (200 to 599), or a gRPC status by its name (UNAVAILABLE), and no body", parseFaultStatus},
		{"header", "NAME:VALUE", "sets a header of the answer", parseFaultHeader},
		{"connection", "refuse|reset|stall|drop", "refuses the connection, resets it before the answer, never answers, or closes in the middle of the body", parseFaultEnd},
		{"body", "truncate[:BYTES]|corrupt", "sends half of the body, or this many bytes, framed as the whole body; or changes some of its bytes", parseFaultBody},
		{"throttle", "BYTES", "sends at most this many bytes per second", parseThrottle},
	}
}

// faultAliases maps the ecosystem's names of faults to Tapedeck's.
var faultAliases = map[string]string{"latency": "delay"}

// FaultDoc describes one name in a rule.
type FaultDoc struct{ Name, Value, Doc string }

// FaultDocs lists the names that a rule may use.
func FaultDocs() []FaultDoc {
	all := []FaultDoc{{"rate", "F/N", "F of each N answers that match fail, drawn by `--seed`"}}
	for _, row := range faultTable() {
		all = append(all, FaultDoc{row.name, row.value, row.doc})
	}
	return all
}

// FaultForm returns the form of a rule, for messages.
func FaultForm() string {
	var all []string
	for _, row := range faultTable() {
		all = append(all, row.name+"="+row.value)
	}
	return "PATTERN:NAME=VALUE[,NAME=VALUE], such as '/v1/charges:rate=1/10,status=503', with the faults " + strings.Join(append(all, "rate=F/N"), ", ")
}

// maxFaultBlock limits N in a rate F/N.
const maxFaultBlock = 10_000

// faultSettings matches the end of the pattern and the beginning of a setting.
var faultSettings = func() *regexp.Regexp {
	names := []string{"rate"}
	for _, row := range faultTable() {
		names = append(names, row.name)
	}
	for alias := range faultAliases {
		names = append(names, alias)
	}
	return regexp.MustCompile(`:(` + strings.Join(names, "|") + `)=`)
}()

// ParseFault reads PATTERN:NAME=VALUE,…. Its errors quote no values.
func ParseFault(text string) (FaultRule, error) {
	at := faultSettings.FindStringIndex(text)
	if at == nil {
		return FaultRule{}, errors.New("it names no fault")
	}
	pattern, err := regexp.Compile(text[:at[0]])
	if err != nil {
		return FaultRule{}, fmt.Errorf("the pattern: %w", err)
	}
	r := FaultRule{Pattern: pattern, Hits: 1, Block: 1}
	table := faultTable()
	for setting := range strings.SplitSeq(text[at[0]+1:], ",") {
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			return FaultRule{}, errors.New("a setting is not NAME=VALUE")
		}
		if name == "rate" {
			if r.Hits, r.Block, err = parseFaultRate(value); err != nil {
				return FaultRule{}, fmt.Errorf("rate: %w", err)
			}
			continue
		}
		f := Fault{Name: cmp.Or(faultAliases[name], name)}
		i := slices.IndexFunc(table, func(row faultRow) bool { return row.name == f.Name })
		if i < 0 {
			return FaultRule{}, fmt.Errorf("there is no fault %q", name)
		}
		if err := table[i].parse(value, &f); err != nil {
			return FaultRule{}, fmt.Errorf("%s: %w", name, err)
		}
		r.Faults = append(r.Faults, f)
	}
	if len(r.Faults) == 0 {
		return FaultRule{}, errors.New("it names a rate but no fault")
	}
	return r, nil
}

func parseFaultRate(value string) (hits, block int, err error) {
	f, n, ok := strings.Cut(value, "/")
	hits, err1 := strconv.Atoi(f)
	block, err2 := strconv.Atoi(n)
	if !ok || errors.Join(err1, err2) != nil || hits < 1 || block < hits || block > maxFaultBlock {
		return 0, 0, fmt.Errorf("want F/N with F from 1 to N, and N up to %d", maxFaultBlock)
	}
	return hits, block, nil
}

func parseFaultDuration(value string, f *Fault) (err error) {
	if f.Duration, err = time.ParseDuration(value); err != nil || f.Duration <= 0 {
		return errors.New("want a duration above zero, such as 200ms")
	}
	return nil
}

// grpcCodes are the gRPC statuses except OK, in order from 1.
var grpcCodes = strings.Fields(`CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS
	PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL
	UNAVAILABLE DATA_LOSS UNAUTHENTICATED`)

func parseFaultStatus(value string, f *Fault) error {
	for i, name := range grpcCodes {
		if strings.EqualFold(name, value) {
			f.GRPC = strconv.Itoa(i + 1)
			return nil
		}
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 200 || n > 599 {
		return errors.New("want a status from 200 to 599, or the name of a gRPC status")
	}
	f.Status = n
	return nil
}

// framingHeaders are headers that the server sets itself, so a rule for one of them would have no
// effect.
var framingHeaders = []string{"Connection", "Content-Length", "Trailer", "Transfer-Encoding"}

func parseFaultHeader(value string, f *Fault) error {
	name, v, ok := strings.Cut(value, ":")
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsAny(v, "\r\n\x00") {
		return errors.New("want NAME:VALUE")
	}
	if slices.ContainsFunc(framingHeaders, func(h string) bool { return strings.EqualFold(h, name) }) {
		return fmt.Errorf("want NAME:VALUE, and another name than %s: they say how the answer is framed, which body=truncate and connection=drop break", strings.Join(framingHeaders, ", "))
	}
	f.Header = [2]string{name, strings.TrimSpace(v)}
	return nil
}

func parseFaultEnd(value string, f *Fault) error {
	if !slices.Contains([]string{"refuse", "reset", "stall", "drop"}, value) {
		return errors.New("want refuse, reset, stall or drop")
	}
	f.Word = value
	return nil
}

func parseFaultBody(value string, f *Fault) error {
	what, size, sized := strings.Cut(value, ":")
	f.Word, f.Bytes = what, -1
	switch {
	case (what == "corrupt" || what == "truncate") && !sized:
		return nil
	case what == "truncate":
		n, err := strconv.ParseUint(size, 10, 62)
		if err != nil {
			return errors.New("want truncate:BYTES")
		}
		f.Bytes = int64(n)
		return nil
	}
	return errors.New("want truncate, truncate:BYTES or corrupt")
}

func parseThrottle(value string, f *Fault) error {
	digits, unit := value, int64(1)
	for suffix, n := range map[string]int64{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30} {
		if rest, ok := strings.CutSuffix(value, suffix); ok {
			digits, unit = rest, n
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n <= 0 {
		return errors.New("want bytes per second, such as 1000 or 64Ki")
	}
	f.Bytes = n * unit
	return nil
}
