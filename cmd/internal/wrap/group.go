package wrap

import (
	"os/exec"
	"syscall"
	"time"
)

// group is a running command and, if it has its own process group, all processes in that group.
type group struct {
	cmd *exec.Cmd
	own bool // whether it has its own process group
	// told means that the processes were told to end. SIGINT does not count, because a shell's
	// background jobs ignore it.
	told bool
}

// signal sends a signal to the processes. It ignores errors, which mean that they have ended.
func (g *group) signal(s syscall.Signal) {
	g.told = g.told || s == syscall.SIGTERM || s == syscall.SIGKILL
	if g.own {
		_ = syscall.Kill(-g.cmd.Process.Pid, s)
		return
	}
	_ = g.cmd.Process.Signal(s)
}

// end ends the processes that the command has left behind. It kills those that are still there
// after grace, or once kill is closed.
func (g *group) end(grace time.Duration, kill <-chan struct{}) {
	if !g.own {
		return
	}
	if !g.told {
		g.signal(syscall.SIGTERM)
	}
	over := time.NewTimer(grace)
	defer over.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(-g.cmd.Process.Pid, 0) == nil {
		select {
		case <-tick.C:
			continue
		case <-over.C:
		case <-kill:
		}
		g.signal(syscall.SIGKILL)
		return
	}
}
