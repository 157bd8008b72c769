package read

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// SliceKey returns the key by which the ecosystem selects traffic: SERVICE:HOST:PORT. The service
// is the workload that recorded the exchange. The host is the one that the client asked for, in
// lower case. The port is the workload's for an inbound exchange, and the server's for an outbound
// one.
func SliceKey(e *recording.Exchange) string {
	host, port := hostPort(e.NetworkAddress)
	if e.HTTP != nil && e.HTTP.Req.Host != "" {
		named, asked := hostPort(e.HTTP.Req.Host)
		host, port = named, cmp.Or(port, asked)
	}
	if captured := e.Tags.Get(recording.TagReverseProxyPort); captured != "" && e.Direction == recording.In {
		port = captured
	}
	if port == "" && e.HTTP != nil {
		port = map[bool]string{false: "80", true: "443"}[e.IsTLS]
	}
	return cmp.Or(e.Service, recording.Undefined) + ":" + strings.ToLower(strings.TrimSuffix(host, ".")) + ":" + port
}

func hostPort(text string) (host, port string) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return strings.Trim(text, "[]"), ""
	}
	return host, port
}

// AnySlice selects all keys.
const AnySlice = "*"

const (
	// maxSlices limits the number of keys, because a client may send any Host.
	maxSlices = 10_000
	// maxSlicesNamed limits how many keys an error names.
	maxSlicesNamed = 20
)

// Slice narrows a query to the exchanges of a direction that have one of the wanted keys; see
// [SliceKey]. Exchanges of the other direction remain selected. Part of a key is enough if exactly one
// key in the stores contains it. Otherwise the error lists the keys. Without wanted keys, or with
// [AnySlice] among them, the query remains unchanged. Slice reads the stores once to find their keys.
func Slice(ctx context.Context, q Query, foreign Foreign, direction string, wanted []string, stores ...Store) (Query, error) {
	if len(wanted) == 0 || slices.Contains(wanted, AnySlice) {
		return q, nil
	}
	all, err := sliceKeys(ctx, q, foreign, direction, wanted, stores)
	if err != nil {
		return q, err
	}
	chosen := map[string]bool{}
	for _, text := range wanted {
		key, err := chooseSlice(all, text)
		if err != nil {
			return q, err
		}
		chosen[key] = true
	}
	before := q.Match
	q.Match = func(e *recording.Exchange) bool {
		return (before == nil || before(e)) && (e.Direction != direction || chosen[SliceKey(e)])
	}
	return q, nil
}

// sliceKeys returns the keys of the selected exchanges, in order: the first [maxSlices], and the
// wanted ones.
func sliceKeys(ctx context.Context, q Query, foreign Foreign, direction string, wanted []string, stores []Store) ([]string, error) {
	keys := map[string]bool{}
	match, glance := q.Match, q.Glance
	note := func(e *recording.Exchange) bool {
		if key := SliceKey(e); len(keys) < maxSlices || slices.Contains(wanted, key) {
			keys[key] = true
		}
		return false // only the key of the exchange is needed
	}
	q.Direction = direction
	q.Match = func(e *recording.Exchange) bool { return (match == nil || match(e)) && note(e) }
	if match == nil {
		q.Glance = func(e *recording.Exchange) bool { return (glance == nil || glance(e)) && note(e) }
	}
	r, err := Open(ctx, q, Options{Light: true, Parts: true, Recycle: true, Foreign: foreign}, stores...)
	if err != nil {
		return nil, err
	}
	for _, err := range r.Records() {
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(keys)), nil
}

// chooseSlice returns the key that equals the text or, if only one does, contains it.
func chooseSlice(all []string, text string) (string, error) {
	if slices.Contains(all, text) {
		return text, nil
	}
	if len(all) >= maxSlices {
		return "", fmt.Errorf("%q: the recording has %d or more keys SERVICE:HOST:PORT, so part of a key may be ambiguous: want a whole key", text, maxSlices)
	}
	var found []string
	for _, key := range all {
		if text != "" && strings.Contains(key, text) {
			found = append(found, key)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("%q is part of several keys, %s: want one SERVICE:HOST:PORT, or a part that only one of them has", text, listSlices(found))
	case len(all) == 0:
		return "", fmt.Errorf("%q: no exchange is selected that could have such a key SERVICE:HOST:PORT", text)
	}
	return "", fmt.Errorf("%q is not part of any key SERVICE:HOST:PORT of the recording, which has %s", text, listSlices(all))
}

func listSlices(keys []string) string {
	if n := len(keys) - maxSlicesNamed; n > 0 {
		return fmt.Sprintf("%q and %d more", keys[:maxSlicesNamed], n)
	}
	return fmt.Sprintf("%q", keys)
}
