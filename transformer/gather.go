package transformer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// gathered are the codes of what is said once where it holds for several objects,
// and how each of those is named. A report of 200 workloads would say it 200 times.
var gathered = map[Code]func(Result) string{
	CodeCASecret: namedByObject,
	CodeEgress:   namedByObject,
	CodeSocks:    namedByObject,
	CodeNoPods:   namedByObject,
	CodeEnvFrom: func(r Result) string { // for each Secret and ConfigMap
		return namedByObject(r) + " from " + r.Field.CurrentValue
	},
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
	}
	key := func(r Result) (group, bool) {
		return group{r.Code(), r.Severity}, gathered[r.Code()] != nil && r.ResourceRef != nil
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

// one says of several objects what holds for all.
func (rs Results) one() Result {
	code := rs[0].Code()
	names := []string{}
	for _, r := range rs {
		if name := gathered[code](r); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	shown := strings.Join(names[:min(len(names), shownNames)], ", ")
	if more := len(names) - shownNames; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	reason := reasons[code]
	r := result(code, nil, "%s This holds for %d objects: %s.", strings.TrimSpace(reason.Sentence+" "+reason.Help), len(names), shown)
	r.Severity = rs[0].Severity
	r.Tags["count"] = strconv.Itoa(len(names))
	return r
}
