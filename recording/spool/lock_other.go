//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package spool

import (
	"errors"
	"os"
)

const hasLocks = false

// lock always fails, because this system has no such locks.
func lock(*os.File, bool) error { return errors.ErrUnsupported }
