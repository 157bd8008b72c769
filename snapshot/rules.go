package snapshot

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/recording"
)

// Rule leaves exchanges out of every snapshot, unless --keep names it. They are of no use in replays and
// mocks.
type Rule struct {
	// Name is the value for --keep.
	Name string
	// Doc says which exchanges the rule leaves out, and why.
	Doc string
	// Mark says how such exchanges are marked; "" if the rule has a Filter.
	Mark string
	// Filter has rules in the grammar of package filter. An exchange that matches one of them is left out.
	Filter string

	marked func(*recording.Exchange) bool
}

// Rules is the table of rules. An exchange counts for the first rule that matches it.
func Rules() []Rule {
	return []Rule{
		{Name: "incomplete", Doc: "Exchanges that lack a part: no answer, a connection that broke, bytes or parts that were lost, streams that could not be decoded. They can be neither repeated nor compared.",
			Mark: "tags `incomplete` and `undecoded`; a conversation without its first or its last part",
			marked: func(e *recording.Exchange) bool {
				return e.Incomplete() != "" || e.Tags.Get(recording.TagUndecoded) != "" || partial(e.Conversation())
			}},
		{Name: "replay", Doc: "Traffic that a replay sent, and traffic that this caused. A snapshot of it would be a copy of a copy.",
			Mark:   "tag `replay`",
			marked: func(e *recording.Exchange) bool { return e.Tags.Get(recording.TagReplay) != "" }},
		{Name: "probes", Doc: "Health checks of Kubernetes, of Envoy, of load balancers and of gRPC. Their number depends on the cluster, not on the clients.",
			Filter: `header.user-agent=kube-probe/*,Envoy/HC,GoogleHC/*,ELB-HealthChecker/*,"Consul Health Check"
path=/grpc.health.v1.Health/*`},
		{Name: "telemetry", Doc: "Metrics that are scraped, and traces, metrics and logs that are sent: OTLP, Zipkin, Jaeger, Prometheus, Datadog, Sentry. They describe the traffic, and differ each time.",
			Filter: `in path=/metrics,/stats/prometheus method=GET
in header.user-agent=Prometheus/*,vm_promscrape,vmagent*,OpenTelemetry*
out path=/opentelemetry.proto.collector.*
out method=POST path=/v1/traces,/v1/metrics,/v1/logs header.content-type=application/x-protobuf*
out method=POST host=otel*,*collector* path=/v1/traces,/v1/metrics,/v1/logs
out method=POST path=/api/v1/spans,/api/v2/spans
out method=POST path=/api/traces header.content-type=application/x-thrift*,application/vnd.apache.thrift*
out path=/jaeger.api_v2.CollectorService/*
out method=POST header.x-prometheus-remote-write-version=*
out header.datadog-meta-lang=*
out method=POST path=/api/*/envelope/`},
	}
}

// ruleSet counts the exchanges that each rule matches.
type ruleSet struct {
	rules   []Rule
	filters []*filter.Filter
	counts  []RuleCount
}

// newRuleSet returns the rules. The named ones leave nothing out.
func newRuleSet(keep []string) (*ruleSet, error) {
	set := &ruleSet{rules: Rules()}
	var names []string
	for _, r := range set.rules {
		f, err := filter.Parse(map[string]string{"exclude": r.Filter})
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		set.filters = append(set.filters, f)
		set.counts = append(set.counts, RuleCount{Rule: r.Name, Kept: slices.Contains(keep, r.Name)})
		names = append(names, r.Name)
	}
	for _, name := range keep {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("keep %q: want %s", name, strings.Join(names, ", "))
		}
	}
	return set, nil
}

// leavesOut reports whether a rule leaves the exchange out, and counts it for its rule.
func (s *ruleSet) leavesOut(e *recording.Exchange) bool {
	x := Asked(e)
	for i, r := range s.rules {
		if r.marked != nil && r.marked(e) || r.Filter != "" && !s.filters[i].Keeps(x) {
			s.counts[i].Exchanges++
			return !s.counts[i].Kept
		}
	}
	return false
}

// Asked returns an exchange in the form that a filter reads.
func Asked(e *recording.Exchange) *filter.Exchange {
	x := &filter.Exchange{In: e.Direction == recording.In, Host: e.Host(), Path: e.Location, Method: e.Command}
	if e.HTTP != nil {
		x.Header = e.HTTP.Req.Headers.Values
	}
	return x
}

// partial reports whether only a part of a conversation is there.
func partial(c *recording.Conversation) bool { return c != nil && (c.Part > 1 || !c.Last) }
