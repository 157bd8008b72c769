package contract

// Memory is how the sidecar divides what its container may hold. The renderer and
// the sidecar agree on it.
type Memory struct {
	// Limit is the container's; 0: it has none, and only Capture means anything.
	Limit int64
	// Heap is what Go's runtime aims at, as GOMEMLIMIT. Capture and Buffers are
	// parts of it, and so is what each connection costs.
	Heap int64
	// Capture is what TAPEDECK_MEMORY may be at most.
	Capture int64
	// Buffers is for bytes on their way.
	Buffers int64
	// Sockets is for the kernel's buffers of connections.
	Sockets int64
}

// MinMemoryLimit is the smallest limit under which a sidecar is of use: it idles
// at 13 MiB and moves a few dozen connections in the rest.
const MinMemoryLimit = 32 << 20

// DivideMemory divides a container's limit:
//
//	1/4   the kernel's buffers of connections, which count in the cgroup
//	1/8   the kernel's other memory for connections, the program's text, pages that wait for the disk
//	5/8   Go's heap and stacks, of the limit:
//	        3/16 capture: a quarter of that waits for the decoders, an eighth for the sink, the rest is being put together
//	        1/16 bytes on their way
//	        3/8  connections, TLS, the encoder, and garbage
func DivideMemory(limit int64) Memory {
	if limit <= 0 {
		return Memory{Capture: DefaultMemory}
	}
	return Memory{
		Limit:   limit,
		Heap:    limit / 8 * 5,
		Capture: limit / 16 * 3,
		Buffers: limit / 16,
		Sockets: limit / 4,
	}
}
