// Command istio-iptables is Istio's own, which its image calls through
// pilot-agent: it writes the rules that redirect a pod's traffic to Envoy.
package main

import (
	"os"

	"istio.io/istio/pkg/log"
	"istio.io/istio/tools/istio-iptables/pkg/cmd"
)

func main() {
	options := log.DefaultOptions()
	c := cmd.GetCommand(options)
	options.AttachCobraFlags(c) // which are pilot-agent's
	if err := c.Execute(); err != nil {
		os.Exit(1)
	}
}
