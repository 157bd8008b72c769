//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package spool

import (
	"errors"
	"os"
)

const hasLocks = false

// lock has no lock to take here.
func lock(*os.File, bool) error { return errors.ErrUnsupported }
