//go:build !unix

package replay

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
