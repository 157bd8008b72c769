package contract

// Memory describes how the sidecar divides its container's memory limit. The renderer and the
// sidecar use the same division.
type Memory struct {
	// Limit is the container's memory limit; 0 means that it has none, and that only Capture applies.
	Limit int64
	// Heap is the value of GOMEMLIMIT. It includes Capture, Buffers and the memory of each
	// connection.
	Heap int64
	// Capture is the maximum of TAPEDECK_MEMORY.
	Capture int64
	// Buffers is for bytes that are being forwarded.
	Buffers int64
	// Sockets is for the kernel's buffers of connections.
	Sockets int64
}

// MinMemoryLimit is the smallest useful limit: an idle sidecar takes 14 MiB, and the rest is
// enough for a few dozen connections.
const MinMemoryLimit = 32 << 20

// DivideMemory divides a container's limit:
//
//	1/4   the kernel's buffers of connections, which count in the cgroup
//	1/8   the kernel's other memory for connections, the program's text, pages that wait for the disk
//	5/8   Go's heap and stacks, of the limit:
//	        3/16 capture: a quarter of it for traffic that waits for the decoders, an eighth for records that wait for the sink, the rest for exchanges that are being decoded
//	        1/16 bytes that are being forwarded
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
