// Command istio-iptables is Istio's own, which its image calls through
// pilot-agent: it writes the rules that redirect a pod's traffic to Envoy.
package main

import (
	"os"

	"istio.io/istio/pkg/log"
	"istio.io/istio/tools/istio-iptables/pkg/cmd"
)

func main() {
	if err := cmd.GetCommand(log.DefaultOptions()).Execute(); err != nil {
		os.Exit(1)
	}
}
