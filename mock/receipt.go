package mock

import (
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/mock/fault"
)

// Receipt sums up a run: what it loaded, what it answered, and whether anything escaped.
type Receipt struct {
	Version string `json:"version,omitempty"`
	// Started is the time of the start or of the last reset. Resets is the number of resets.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Resets  int64     `json:"resets"`
	// Recording is the recording that the answers came from.
	Recording Source `json:"recording"`
	// Loaded counts the recorded exchanges.
	Loaded int `json:"loaded"`
	// Served counts requests that got a recorded answer, and Masked those among them in which a
	// volatile value was masked. Missed counts requests that got none, and Passthrough requests
	// that were forwarded to a listed host.
	Served      int64 `json:"served"`
	Masked      int64 `json:"masked"`
	Missed      int64 `json:"missed"`
	Passthrough int64 `json:"passthrough"`
	// Escaped counts attempts to connect to hosts that are not listed for passthrough. They
	// are refused. It should be 0.
	Escaped int64 `json:"escaped"`
	// NeverUsed counts recorded exchanges that were not served.
	NeverUsed int `json:"neverUsed"`
	// Distrusted counts connections that clients ended because of the certificate.
	// Unfinished counts requests whose clients gave up.
	Distrusted int64 `json:"distrusted,omitempty"`
	Unfinished int64 `json:"unfinished,omitempty"`
	// Endpoints lists the verdicts by host and path. Misses lists the first miss of each endpoint
	// and reason.
	Endpoints []Count `json:"endpoints,omitempty"`
	Misses    []Miss  `json:"misses,omitempty"`
	// Faults lists the fault rules and how often each fired. Injected lists the first thousand
	// faults.
	Faults   []fault.Count `json:"faults,omitempty"`
	Injected []Injection   `json:"injected,omitempty"`
	// UnusedRules are the matching rules that have had no effect since the run began.
	UnusedRules []string `json:"unusedRules,omitempty"`
	// Command is how the command ended, if there was one.
	Command *Command `json:"command,omitempty"`
	// ExitCode is the exit code of the run.
	ExitCode int `json:"exitCode"`
}

// Source is the recording that answers come from.
type Source struct {
	// Place is where the recording is. A snapshot is pinned.
	Place string `json:"place"`
	// SHA256 is the hash of the recording: the pin of a snapshot, otherwise a hash of the files
	// that were read.
	SHA256 string `json:"sha256"`
	// Findings say which parts can't be read or are missing.
	Findings []string `json:"findings,omitempty"`
}

// Command is how a command ended.
type Command struct {
	Args   []string `json:"args"`
	Status int      `json:"status"`
	Signal string   `json:"signal,omitempty"`
}

// Receipt returns the current receipt. The caller fills in the fields that the Mock can't know.
func (m *Mock) Receipt() Receipt { return m.receipt(m.now.Load()) }

func (m *Mock) receipt(s *state) Receipt {
	all, sum := s.tally.counts()
	r := Receipt{
		Started: s.began, Ended: time.Now().UTC(), Resets: s.resets, Loaded: m.lib.Len(),
		Served: sum.Hit, Masked: sum.Masked, Missed: sum.Missed, Passthrough: sum.Passthrough,
		Escaped: m.Passthrough.Escaped() - s.escaped, NeverUsed: s.chooser.Unserved(),
		Distrusted: s.distrusted.Load(), Unfinished: s.unfinished.Load(),
		Endpoints: all, Misses: s.misses.all(), Faults: s.faults.counts(), Injected: s.faults.list(),
	}
	for _, rule := range m.lib.matcher.Rules().Unfired() {
		r.UnusedRules = append(r.UnusedRules, ruleText(rule))
	}
	return r
}

// ruleText returns a name for a matching rule.
func ruleText(r *rules.Rule) string {
	if r.Name != "" {
		return fmt.Sprintf("%s, in line %d", r.Name, r.Line)
	}
	return fmt.Sprintf("the rule in line %d", r.Line)
}

// UnfiredFaults returns the fault rules that never fired.
func (r *Receipt) UnfiredFaults() (rules []string) {
	for _, f := range r.Faults {
		if f.Fired == 0 {
			rules = append(rules, f.Rule)
		}
	}
	return rules
}

// String returns a summary of the receipt for people.
func (r *Receipt) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mock: %d served, %d missed, %d escaped", r.Served, r.Missed, r.Escaped)
	if r.Passthrough > 0 {
		fmt.Fprintf(&b, ", %d passed through", r.Passthrough)
	}
	fmt.Fprintf(&b, "; of %d recorded exchanges %d were never used", r.Loaded, r.NeverUsed)
	if r.Masked > 0 {
		fmt.Fprintf(&b, "; %d matched with values masked", r.Masked)
	}
	b.WriteByte('\n')
	if r.Recording.SHA256 != "" {
		fmt.Fprintf(&b, "recording: %s sha256:%s\n", r.Recording.Place, r.Recording.SHA256)
	}
	for _, f := range r.Recording.Findings {
		fmt.Fprintf(&b, "recording: %s\n", f)
	}
	if r.Served+r.Missed+r.Passthrough == 0 {
		b.WriteString("no requests arrived: does the application use the proxy variables or an address of the mock?\n")
	}
	if r.Distrusted > 0 {
		fmt.Fprintf(&b, "%d connections were ended by clients that do not trust the CA of this run\n", r.Distrusted)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "fault: fired %d of %d: %s\n", f.Fired, f.Matched, f.Rule)
	}
	for _, rule := range r.UnusedRules {
		fmt.Fprintf(&b, "rule never used: %s\n", rule)
	}
	const most = 10
	for i, miss := range r.Misses {
		if i == most {
			fmt.Fprintf(&b, "…and misses of %d further endpoints\n", len(r.Misses)-most)
			break
		}
		fmt.Fprintf(&b, "MISS %s: %s\n", miss.target(), miss.Reason)
	}
	if c := r.Command; c != nil {
		how := fmt.Sprintf("exit code %d", c.Status)
		if c.Signal != "" {
			how = "was ended by a signal: " + c.Signal
		}
		fmt.Fprintf(&b, "the command: %s\n", how)
	}
	return b.String()
}
