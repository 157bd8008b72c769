package check

import "slices"

// State is how well something is captured.
type State string

// The states, the best first. The state of a report is the worst of its findings. Unknown is also the state
// of things that only a person can judge.
const (
	OK      State = "ok"       // it is captured, or it is as it should be
	LeftOut State = "left out" // it isn't captured, because nobody asked for it or because it is excluded
	Unknown State = "unknown"  // the input doesn't show it
	Partly  State = "partly"   // some of what was asked for isn't captured, or is lost
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
	Filters  = "filters"  // exchanges that are left out, cut or redacted on purpose
	Sink     = "sink"     // where recordings go
	Losses   = "losses"   // traffic that was captured and then lost
	Mesh     = "mesh"     // what Istio's objects and policies do to captured calls
	Replay   = "replay"   // replays of the workload
)

// Finding is one thing that a check found.
type Finding struct {
	Subject string `json:"subject"` // a workload as "Deployment shop/checkout", a pod, or a file
	Area    string `json:"area"`
	State   State  `json:"state"`
	Found   string `json:"found"`          // what was found, and the evidence
	Fix     string `json:"fix,omitempty"`  // what to change: an annotation, a field or a command; "" if nothing has to change
	Code    string `json:"code,omitempty"` // the reason code of a render, if it has one
}

// Report has all findings of a check.
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
	CantCheck = 2 // the check was not possible: the input can't be read, or it is empty
)

// ExitCode returns Fine, Missing, or CantCheck if the input has a problem. A check that can't run returns an
// error instead of a report, and the command then also exits with CantCheck.
func (r Report) ExitCode() int {
	if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Area == Input && f.State == Problem }) {
		return CantCheck
	}
	if r.Worst().rank() >= Partly.rank() {
		return Missing
	}
	return Fine
}

// group has the findings about one subject.
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
