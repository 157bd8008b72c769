package contract

import (
	"slices"
	"testing"
)

// versionOne lists what images of version 1 understand. It never changes.
var versionOne = []string{
	"APP_LABEL", "APP_POD_NAME", "APP_POD_NAMESPACE", "SPEC_NODENAME", "SPEC_SERVICEACCOUNTNAME", "STATUS_HOST_IP", "STATUS_POD_IP",
	"CLUSTER_NAME", "CAPTURE_MODE", "PROXY_TYPE", "PROXY_PROTOCOL", "PROXY_IN_PORT", "PROXY_OUT_PORT", "TAPEDECK_IN_ADDRESS",
	"REVERSE_PROXY_HOST", "REVERSE_PROXY_PORT", "TLS_OUT_UNWRAP", "TLS_IN_UNWRAP", "TLS_IN_PUBLIC_KEY", "TLS_IN_PRIVATE_KEY",
	"TLS_MUTUAL_PUBLIC_KEY", "TLS_MUTUAL_PRIVATE_KEY", "TLS_CERT_DIR", "TAPEDECK_CA_DIR", "TAPEDECK_UPSTREAM_CA", "TAPEDECK_SINK",
	"TAPEDECK_SINK_SIZE", "TAPEDECK_MEMORY", "TAPEDECK_SIDECAR", "TAPEDECK_DRAIN", "TAPEDECK_BODY_LIMIT", "TAPEDECK_REDACT_HEADERS",
	"LOG_LEVEL", "PROMETHEUS_PORT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
}

// A render would write a variable that is missing in Since for images that don't know it.
func TestEveryVariableSaysSinceWhenImagesKnowIt(t *testing.T) {
	for _, e := range Envs() {
		if since, first := Since(e.Name), slices.Contains(versionOne, e.Name); first != (since == 1) || since > Version {
			t.Errorf("images know %s since version %d; version 1 knew it: %t, and the contract has version %d", e.Name, since, first, Version)
		}
	}
}
