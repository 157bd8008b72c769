package check

import "slices"

// State says how well something is captured.
type State string

// The states. A report is as bad as the worst of its findings, in this order. Unknown is also
// what somebody has to look at though nothing is missing: a thing that a report can't judge.
const (
	OK      State = "ok"       // it is captured, or is as it should be
	LeftOut State = "left out" // it isn't captured, and nobody asked for it, or somebody asked for its being left out
	Unknown State = "unknown"  // what was looked at doesn't say
	Partly  State = "partly"   // a part of what was asked for isn't captured, or is lost
	Problem State = "problem"  // what was asked for isn't captured, or doesn't work
)

// States returns all states, the best first.
func States() []State { return []State{OK, LeftOut, Unknown, Partly, Problem} }

func (s State) rank() int { return slices.Index(States(), s) }

// The areas of findings. A check may have others.
const (
	Input    = "input"    // manifests that can't be read, or have nothing to capture
	Capture  = "capture"  // whether there is a sidecar at all
	Inbound  = "inbound"  // calls of the workload
	Outbound = "outbound" // calls that the workload makes
	TLS      = "tls"      // whether TLS is read
	Filters  = "filters"  // what is left out, cut or redacted on purpose
	Sink     = "sink"     // where recordings go
	Losses   = "losses"   // what was captured and is lost
	Mesh     = "mesh"     // what Istio's objects and policies do to captured calls
	Replay   = "replay"   // replays of the workload
)

// Finding is one thing that a check found.
type Finding struct {
	Subject string `json:"subject"` // a workload as "Deployment shop/checkout", a pod, or a file
	Area    string `json:"area"`
	State   State  `json:"state"`
	Found   string `json:"found"`          // what was found, and by what that shows: one sentence, or several clauses
	Fix     string `json:"fix,omitempty"`  // what to change: an annotation, a field or a command; "" only where nothing need be
	Code    string `json:"code,omitempty"` // the reason code that a render gives, if one stands behind it
}

// Report is all that a check found.
type Report struct {
	Findings []Finding `json:"findings"`
}

// Add adds findings.
func (r *Report) Add(findings ...Finding) { r.Findings = append(r.Findings, findings...) }

// Worst returns the worst state, and OK for a report without findings.
func (r Report) Worst() State {
	worst := OK
	for _, f := range r.Findings {
		if f.State.rank() > worst.rank() {
			worst = f.State
		}
	}
	return worst
}

// Count returns how many findings have a state.
func (r Report) Count(s State) int {
	n := 0
	for _, f := range r.Findings {
		if f.State == s {
			n++
		}
	}
	return n
}

// Exit codes of a check.
const (
	Fine      = 0 // nothing that was asked for is missing
	Missing   = 1 // something that was asked for isn't captured, or is lost
	CantCheck = 2 // it could not be checked: nothing can be read, or nothing is there
)

// ExitCode returns Fine or Missing, and CantCheck where a problem is one of the input. A check
// that can't be made at all returns an error instead of a report, for which a command exits
// with CantCheck, too.
func (r Report) ExitCode() int {
	if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Area == Input && f.State == Problem }) {
		return CantCheck
	}
	if r.Worst().rank() >= Partly.rank() {
		return Missing
	}
	return Fine
}

// group is what was found about one subject.
type group struct {
	subject  string
	findings []Finding
}

// groups returns the findings by subject, in the order in which subjects come first.
func (r Report) groups() []group {
	var groups []group
	at := map[string]int{}
	for _, f := range r.Findings {
		i, known := at[f.Subject]
		if !known {
			i = len(groups)
			at[f.Subject] = i
			groups = append(groups, group{subject: f.Subject})
		}
		groups[i].findings = append(groups[i].findings, f)
	}
	return groups
}
