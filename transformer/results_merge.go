package transformer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// gathered are the codes of what is said once where it holds for several objects. A
// report of 200 workloads would say it 200 times.
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

// gathering says how results of a code become one.
type gathering struct {
	name func(Result) string // of what a result holds for
	// byMessage gathers those with the same message, which does not name the
	// object, and keeps it.
	byMessage bool
}

func namedByObject(r Result) string { return r.ResourceRef.String() }

// shownNames is how many objects a gathered result names.
const shownNames = 3

// Gather makes one result of those that say the same of several objects, with a
// count and the first names. It stands where the first of them stood.
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

// one says once what holds for all objects of some results.
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
	r := result(code, nil, "%s This holds for %d objects: %s.", message, len(names), shown)
	if len(names) == 1 { // for more than one reason
		r.Message, r.ResourceRef, r.File = message, rs[0].ResourceRef, rs[0].File
	}
	r.Severity = rs[0].Severity
	if len(names) > 1 {
		r.Tags["count"] = strconv.Itoa(len(names))
	}
	return r
}
