//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package spool

import (
	"errors"
	"os"
)

const hasLocks = false

// lock always fails, because there are no such locks on this system.
func lock(*os.File, bool) error { return errors.ErrUnsupported }
