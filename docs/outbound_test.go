package docs_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/docpage"
	"github.com/tapedeck/tapedeck/transformer"
	"github.com/tapedeck/tapedeck/transformer/endpoints"
)

// The page on outbound capture has the tables of the code, and its numbers.
func TestOutboundPage(t *testing.T) {
	yes := map[bool]string{true: "yes", false: "–"}
	var runtimes, schemes strings.Builder
	runtimes.WriteString("| runtime | proxy variables | flags or settings | hosts file | trusts the CA by | tested |\n|---|---|---|---|---|---|\n")
	for _, r := range transformer.Runtimes() {
		fmt.Fprintf(&runtimes, "| %s | %s | %s | %s | %s | %s |\n", r.Name, yes[r.Variables], cmp.Or(r.Flags, "–"), yes[r.HostsFile], cmp.Or(r.Trust, "–"), cmp.Or(r.Tested, "–"))
	}
	ports := map[int][]string{}
	var order []int
	for _, s := range endpoints.Schemes() {
		if s.Port == 0 {
			continue
		}
		if ports[s.Port] == nil {
			order = append(order, s.Port)
		}
		ports[s.Port] = append(ports[s.Port], "`"+s.Name+"`")
	}
	schemes.WriteString("| port | schemes |\n|---|---|\n")
	for _, port := range order {
		fmt.Fprintf(&schemes, "| %d | %s |\n", port, strings.Join(ports[port], ", "))
	}
	bounds := fmt.Sprintf("A pod has room for %d hosts and %d ports of hosts.\n", contract.MaxCaptureHosts, contract.MaxCapturePorts)
	docpage.Tables(t, "outbound.md", *update, map[string]string{"runtimes": runtimes.String(), "schemes": schemes.String(), "bounds": bounds})
}
