package report

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// SchemaVersion is the version of the JSON form. It increases with each change that would mislead
// readers of the previous version.
const SchemaVersion = 1

// Report holds the results of a replay. The engine fills it in, and then [Report.Judge] fills in
// Goals, Metrics, Exits and ExitCode.
type Report struct {
	SchemaVersion int    `json:"schemaVersion"`
	Version       string `json:"version,omitempty"` // of Tapedeck

	// Run is the folder of the run, such as runs/JOB/UID, if its shards exchanged results at a
	// place.
	Run string `json:"run,omitempty"`
	// Settings is a digest of the settings that all shards of the run share.
	Settings string `json:"settings,omitempty"`

	Source   Source `json:"source"`
	Target   string `json:"target"`             // URL
	BuildTag string `json:"buildTag,omitempty"` // that the user gave the build
	Baseline string `json:"baseline,omitempty"` // URL of the build with which the target was compared
	Load     Load   `json:"load"`

	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// Partial says why the run ended early, or is empty if it did not.
	Partial string `json:"partial,omitempty"`

	// Shard is set if the run is one part of several.
	Shard *Shard `json:"shard,omitempty"`
	// Merged is set if the report was merged from those of shards.
	Merged *Merged `json:"merged,omitempty"`

	// Metrics lists the metrics of all requests, and then those of each endpoint. They are computed
	// from Results.
	Metrics []Metrics    `json:"metrics"`
	Results stats.Result `json:"results"`

	Differences []Difference `json:"differences,omitempty"`

	Edges     []Edge      `json:"edges,omitempty"`
	Ambiguous []Ambiguous `json:"ambiguous,omitempty"`
	Needs     []Need      `json:"needs,omitempty"`

	Goals []goal.Outcome `json:"goals,omitempty"`
	Mock  *Mock          `json:"mock,omitempty"`
	// Fixes counts recorded failures that are fixed, if the run checks this.
	Fixes *Fixes `json:"fixes,omitempty"`
	// UnfiredRules are the rules of all files that had no effect.
	UnfiredRules []string  `json:"unfiredRules,omitempty"`
	Generator    Generator `json:"generator"`
	// Comparison is the state of a shard's comparer, which is needed to judge all shards together.
	// See package compare.
	Comparison json.RawMessage `json:"comparison,omitempty"`
	// Observed holds the values of answers that differed from the recording, for a later replay
	// with this report as its baseline. See package compare.
	Observed json.RawMessage `json:"observed,omitempty"`

	// Problems are further reasons for an exit code, from the engine.
	Problems []Exit `json:"problems,omitempty"`
	// Exits are all exit codes that apply; the first one is ExitCode.
	Exits    []Exit `json:"exits,omitempty"`
	ExitCode int    `json:"exitCode"`
}

// Source describes the recording that was replayed.
type Source struct {
	// Place is where the recording is. A snapshot is pinned.
	Place string `json:"place"`
	// SHA256 is the hash of the recording, which is the pin of a snapshot.
	SHA256 string `json:"sha256,omitempty"`
	// Findings say which parts can't be read or are missing. They make the input incomplete.
	Findings []string `json:"findings,omitempty"`
	// Steps is the number of requests to send. LeftOut counts those that are left out, by reason.
	Steps   int64            `json:"steps"`
	LeftOut map[string]int64 `json:"leftOut,omitempty"`
}

// Load is the shape of the load.
type Load struct {
	// Shape is a description such as `recorded times × 2` or `10 virtual users`.
	Shape string `json:"shape"`
	// Loop says what decides when a request is sent.
	Loop Loop `json:"loop"`
}

// Loop is a way to pace requests.
type Loop string

const (
	Open   Loop = "open"   // a schedule decides: response times count from when a request was due
	Closed Loop = "closed" // the previous answer decides: a slow target gets fewer requests
)

// Shard is one part of a replay.
type Shard struct {
	Index int `json:"index"` // from 0
	Of    int `json:"of"`
}

// Merged says what a report was merged from.
type Merged struct {
	Of int `json:"of"`
	// Lost lists the indexes of the shards whose reports are missing.
	Lost []int `json:"lost,omitempty"`
	// LostAllowed means that lost shards don't make the report incomplete.
	LostAllowed bool `json:"lostAllowed,omitempty"`
	// Notes are remarks about the shards, such as that their clocks differ.
	Notes []string `json:"notes,omitempty"`
}

// Metrics are the metrics of all requests or of one endpoint, by the names in [goal.Metrics]. A
// metric that is not available is null.
type Metrics struct {
	Endpoint string              `json:"endpoint,omitempty"` // empty for all requests
	Values   map[string]*float64 `json:"values"`
}

// State is the judgement on a difference.
type State string

const (
	New   State = "new"
	Known State = "known" // an earlier replay had it
	Noise State = "noise" // the value varies anyway
)

// Difference is a group of differences of one endpoint, place, kind and state.
type Difference struct {
	Endpoint string     `json:"endpoint"` // such as `GET /users/{id}`
	Place    string     `json:"place"`    // in the form of [match.Difference.Pattern]
	Kind     match.Kind `json:"kind"`
	State    State      `json:"state"`
	Count    int64      `json:"count"` // number of answers with this difference
	// Reason says why it is known or noise.
	Reason  string  `json:"reason,omitempty"`
	Example Example `json:"example"`
}

// Example is one difference of a group.
type Example struct {
	Exchange string `json:"exchange,omitempty"` // UUID of the recorded exchange
	Request  string `json:"request,omitempty"`  // its method and path
	match.Difference
}

// Edge is a value that one request's response issues and another request carries.
type Edge struct {
	From Site `json:"from"` // the response that issues it
	To   Site `json:"to"`   // the request that carries it
	// Encoding is the encoding of the value where it is carried, such as `percent` or `base64`.
	Encoding string `json:"encoding,omitempty"`
	// Fired counts the requests that carried a live value. Unfired counts the others.
	Fired   int64  `json:"fired"`
	Unfired int64  `json:"unfired"`
	Reason  string `json:"reason,omitempty"` // why it did not fire, or empty
}

// Site is a place in the messages of an endpoint.
type Site struct {
	Endpoint string `json:"endpoint"`
	Place    string `json:"place"` // such as `header:Set-Cookie`, `body:$.id` or `path:2`
}

// Ambiguous is a value that several responses may have issued. It is sent as recorded.
type Ambiguous struct {
	To     Site   `json:"to"`
	From   []Site `json:"from"`
	Reason string `json:"reason"`
	Count  int64  `json:"count"` // requests
}

// Need is a redacted value that no response issues, so only the client has it.
type Need struct {
	Site
	Reason string `json:"reason,omitempty"`
	Count  int64  `json:"count"` // requests
	// Supplied says where the value came from, such as `env:TOKEN`, or `left out`. It is empty if
	// the value is missing.
	Supplied string `json:"supplied,omitempty"`
}

// Mock sums up the receipt of the mock that replaced dependencies.
type Mock struct {
	Served      int64 `json:"served"`
	Masked      int64 `json:"masked"`
	Missed      int64 `json:"missed"`
	Passthrough int64 `json:"passthrough"`
	Escaped     int64 `json:"escaped"`
	NeverUsed   int64 `json:"neverUsed"`
	// Misses lists the first miss of each endpoint.
	Misses []Miss `json:"misses,omitempty"`
}

// Miss is a request for which the recording has no answer.
type Miss struct {
	Endpoint string `json:"endpoint"` // method, host and path
	Reason   string `json:"reason"`   // the first difference from the nearest recorded request
	Count    int64  `json:"count"`
}

// Fixes counts recorded failures that are fixed, and those that remain.
type Fixes struct {
	Gone  int64 `json:"gone"`
	Still int64 `json:"still"`
	// Example is the request line of a failure that remains.
	Example string `json:"example,omitempty"`
}

// Generator holds measurements of the generator.
type Generator struct {
	CPUSeconds float64 `json:"cpuSeconds"`
	// MaxLagMicros is the longest send lag.
	MaxLagMicros int64 `json:"maxLagMicros"`
	// InFlightBound is the limit of concurrent requests, and BoundHits counts the requests that had
	// to wait for it.
	InFlightBound int   `json:"inFlightBound,omitempty"`
	BoundHits     int64 `json:"boundHits"`
	// Bound says why the generator, not the target, decided the pace, which makes the result void.
	// It is empty if the target decided.
	Bound string `json:"bound,omitempty"`
}

// Exit is an exit code that applies, and why.
type Exit struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

// String returns the exit code and the reason. The result is safe for a terminal.
func (x Exit) String() string { return fmt.Sprintf("exit code %d: %s", x.Code, visible(x.Reason)) }

// Exit codes of a replay.
const (
	Passed         = 0
	GoalsMissed    = 1
	CouldNotRun    = 2
	NewDifferences = 3
	MockMisses     = 4
	GeneratorBound = 5
	Incomplete     = 6 // the input is incomplete, a shard is lost, or credentials are missing
)
