package contract

// Version is the version of this contract. It grows when renders begin to write something
// that older images do not support: a variable of the sidecar, a volume for it, or another
// command.
//
//	1   the image has /tapedeck alone; pods run `/tapedeck proxy`
//	2   /tapedeck-proxy; filters, bytes of streams in unknown protocols, several inbound
//	    ports, a redaction key, and more things to redact
//	3   a collector as the sink; captured hosts; generators and responders of replays
const Version = 3

// Since returns the first version of the contract whose images support a variable of the
// sidecar. A new variable needs an entry here.
func Since(variable string) int {
	switch variable {
	case EnvCapture, EnvCaptureInclude, EnvCaptureExclude, EnvCaptureSample, EnvCaptureDir, EnvOpaqueBytes, EnvInPorts, EnvRedact, EnvRedactKeyFile:
		return 2
	case EnvCaptureHosts, EnvSpool, EnvSinkTokenFile, EnvSinkPlainHTTP, EnvUpstreamReady:
		return 3
	}
	return 1
}

// Program says how to run images of a version of the contract.
type Program struct {
	// Command and Args are those of the container; nil uses the image's.
	Command, Args []string
	// Healthz is the command of its probes.
	Healthz []string
	// Hosts is the command of HostsContainer.
	Hosts []string
}

// ProgramOf returns how to run images of a version of the contract.
func ProgramOf(version int) Program {
	if version < 2 {
		return Program{Args: []string{"proxy"}, Healthz: []string{Binary, "healthz"}}
	}
	return Program{Command: []string{ProxyBinary}, Healthz: []string{ProxyBinary, "healthz"}, Hosts: []string{ProxyBinary, "hosts"}}
}
