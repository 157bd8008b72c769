package contract

import (
	"fmt"
	"strconv"
	"strings"
)

// InRoute is one captured inbound port: the sidecar accepts connections on In and forwards them to the
// application's port App.
type InRoute struct{ In, App int }

// FormatInRoutes writes routes in the format of EnvInPorts: 4143=8080,4144=9090.
func FormatInRoutes(routes []InRoute) string {
	pairs := make([]string, len(routes))
	for i, r := range routes {
		pairs[i] = fmt.Sprintf("%d=%d", r.In, r.App)
	}
	return strings.Join(pairs, ",")
}

// ParseInRoutes reads what FormatInRoutes writes. Each port of the sidecar and of the
// application may be listed only once.
func ParseInRoutes(v string) ([]InRoute, error) {
	var routes []InRoute
	in, app := map[int]bool{}, map[int]bool{}
	for pair := range strings.SplitSeq(v, ",") {
		from, to, ok := strings.Cut(pair, "=")
		r := InRoute{parsePort(from), parsePort(to)}
		switch {
		case !ok || r.In == 0 || r.App == 0:
			return nil, fmt.Errorf("%q is not a pair of ports: want the sidecar's port and the application's, as in 4143=8080,4144=9090", pair)
		case in[r.In]:
			return nil, fmt.Errorf("the sidecar's port %d is listed twice", r.In)
		case app[r.App]:
			return nil, fmt.Errorf("the application's port %d is listed twice", r.App)
		}
		in[r.In], app[r.App] = true, true
		routes = append(routes, r)
	}
	return routes, nil
}

// parsePort reads a port as FormatInRoutes writes it. It returns 0 for any other text.
func parsePort(v string) int {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != v {
		return 0
	}
	return int(n)
}
