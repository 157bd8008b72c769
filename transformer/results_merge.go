package transformer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// gathered has the codes whose results are merged into one if they apply to several objects. A report
// on 200 workloads would otherwise repeat each 200 times.
var gathered = map[Code]gathering{
	CodeCASecret:   {name: namedByObject},
	CodeEgress:     {name: namedByObject},
	CodeSocks:      {name: namedByObject},
	CodeNoPods:     {name: namedByObject},
	CodeSinkPolicy: {name: namedByObject},

	CodeReplayPolicy:  {name: namedByObject},
	CodeReplayLocal:   {name: namedByObject},
	CodeReplayMesh:    {name: namedByObject},
	CodeReplayAccount: {name: namedByObject},

	CodeEnvFrom: {name: func(r Result) string { // for each Secret and ConfigMap
		return namedByObject(r) + " from " + r.Field.CurrentValue
	}},
	CodePodResources: {namedByObject, true},
	CodeQuota:        {namedByObject, true},
	CodeLimitRange:   {namedByObject, true},
	CodeLimitsGiven:  {namedByObject, true},
	CodeQoS:          {namedByObject, true},
	CodeMemoryLimit:  {namedByObject, true},
	CodeEgressPolicy: {namedByObject, true},
	CodeNoService:    {namedByObject, true},
	CodePortsUnclear: {namedByObject, true},
	CodeOutboundOnly: {namedByObject, true},
	CodeHostsSysctl:  {namedByObject, true},
	CodeHostsInit:    {namedByObject, true},

	CodeHeld:              {name: namedByObject},
	CodeReplayRenamed:     {namedByObject, true},
	CodeReplaySecret:      {namedByObject, true},
	CodeReplayPlaceOpen:   {namedByObject, true},
	CodeReplayPassthrough: {namedByObject, true},
}

// gathering says how to merge the results of a code.
type gathering struct {
	name func(Result) string // the object that a result applies to
	// byMessage merges results with the same message, which does not name the object, and keeps the
	// message.
	byMessage bool
}

func namedByObject(r Result) string { return r.ResourceRef.String() }

// shownNames is the number of objects that a merged result names.
const shownNames = 3

// Gather merges results that say the same about several objects into one, with a count and the first
// names. The merged result has the position of the first one.
func (rs Results) Gather() Results {
	type group struct {
		code     Code
		severity Severity
		message  string
	}
	key := func(r Result) (group, bool) {
		k := group{r.Code(), r.Severity, ""}
		g, ok := gathered[r.Code()]
		if g.byMessage {
			k.message = r.Message
		}
		return k, ok && r.ResourceRef != nil
	}
	members := map[group]Results{}
	for _, r := range rs {
		if k, ok := key(r); ok {
			members[k] = append(members[k], r)
		}
	}
	var out Results
	for _, r := range rs {
		k, ok := key(r)
		switch group := members[k]; {
		case !ok || len(group) == 1:
			out = append(out, r)
		case len(group) > 1:
			out = append(out, group.one())
			members[k] = nil
		}
	}
	return out
}

// one merges results into one that applies to all their objects.
func (rs Results) one() Result {
	code := rs[0].Code()
	names := []string{}
	for _, r := range rs {
		if name := gathered[code].name(r); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	shown := strings.Join(names[:min(len(names), shownNames)], ", ")
	if more := len(names) - shownNames; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	message := strings.TrimSpace(reasons[code].Sentence + " " + reasons[code].Help)
	if gathered[code].byMessage {
		message = strings.TrimSuffix(rs[0].Message, ".") + "."
	}
	r := result(code, nil, "%s This applies to %d objects: %s.", message, len(names), shown)
	if len(names) == 1 { // the object had several reasons
		r.Message, r.ResourceRef, r.File = message, rs[0].ResourceRef, rs[0].File
	}
	r.Severity = rs[0].Severity
	if len(names) > 1 {
		r.Tags["count"] = strconv.Itoa(len(names))
	}
	return r
}
