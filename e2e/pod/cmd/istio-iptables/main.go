// Command istio-iptables is Istio's own command, which its image calls through
// pilot-agent. It writes the rules that redirect a pod's traffic to Envoy.
package main

import (
	"os"

	"istio.io/istio/pkg/log"
	"istio.io/istio/tools/istio-iptables/pkg/cmd"
)

func main() {
	options := log.DefaultOptions()
	c := cmd.GetCommand(options)
	options.AttachCobraFlags(c) // the flags of pilot-agent
	if err := c.Execute(); err != nil {
		os.Exit(1)
	}
}
