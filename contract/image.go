package contract

// Version is the version of this contract. It grows when a render begins to write
// what the images of earlier releases do not understand: a variable of the sidecar,
// a volume that one goes with, or another way to run the program.
//
//	1   the image has /tapedeck alone; pods run `/tapedeck proxy`
//	2   /tapedeck-proxy; filters, bytes of streams that no decoder knows, and several
//	    inbound ports; a key for redaction, and what is redacted besides secrets
//	3   a collector as the sink; hosts that are captured through a hosts file; the
//	    generators and responders of replays
const Version = 3

// Since returns the version of the contract from which on images understand a
// variable of the sidecar. A new variable needs an entry here.
func Since(variable string) int {
	switch variable {
	case EnvCapture, EnvCaptureInclude, EnvCaptureExclude, EnvCaptureSample, EnvCaptureDir, EnvOpaqueBytes, EnvInPorts, EnvRedact, EnvRedactKeyFile:
		return 2
	case EnvCaptureHosts, EnvSpool, EnvSinkTokenFile, EnvSinkPlainHTTP, EnvUpstreamReady:
		return 3
	}
	return 1
}

// Program is how the images of one version of the contract are run.
type Program struct {
	// Command and Args are the container's; nil leaves them to the image.
	Command, Args []string
	// Healthz is the command of its probes.
	Healthz []string
	// Hosts is the command of HostsContainer.
	Hosts []string
}

// ProgramOf returns how images of a version of the contract are run.
func ProgramOf(version int) Program {
	if version < 2 {
		return Program{Args: []string{"proxy"}, Healthz: []string{Binary, "healthz"}}
	}
	return Program{Command: []string{ProxyBinary}, Healthz: []string{ProxyBinary, "healthz"}, Hosts: []string{ProxyBinary, "hosts"}}
}
