package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cores has the cores of the proxy and of the load.
type cores struct {
	proxy, load int
}

// pin pins this process to one core, and leaves another to the proxies.
func pin() (cores, error) {
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		return cores{}, fmt.Errorf("read the processor affinity: %w", err)
	}
	var ids []int
	for i := 0; len(ids) < mine.Count(); i++ {
		if mine.IsSet(i) {
			ids = append(ids, i)
		}
	}
	if len(ids) < 2 {
		return cores{}, errors.New("one core is not enough: the load and the proxies need separate cores")
	}
	c := cores{proxy: ids[0], load: ids[1]}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return c, err
	}
	var one unix.CPUSet
	one.Set(c.load)
	for _, t := range threads { // later threads inherit it
		tid, _ := strconv.Atoi(t.Name())
		if err := unix.SchedSetaffinity(tid, &one); err != nil && !errors.Is(err, unix.ESRCH) {
			return c, fmt.Errorf("pin to core %d: %w", c.load, err)
		}
	}
	runtime.GOMAXPROCS(2) // one waits for the clock in a system call
	return c, nil
}

// spareFiles is how many files a process opens besides its connections.
const spareFiles = 200

// idleCount returns idleConns, or as many as the limit on open files allows: each
// takes two here and two in the proxy. It raises the limit if possible.
func idleCount() int {
	const want = (2*idleConns + 2*spareFiles) * 32 / 31
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return busyConns
	}
	if limit.Cur < want {
		raised := unix.Rlimit{Cur: want, Max: max(want, limit.Max)}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			limit = raised
		}
	}
	usable := limit.Cur - limit.Cur/32 // the sidecar keeps the rest for other things than connections
	return min(idleConns, int(usable/2)-spareFiles)
}

// process is a running proxy.
type process struct {
	cmd    *exec.Cmd
	output bytes.Buffer
}

// start runs a command on one core and waits until it accepts connections.
func start(ctx context.Context, core int, env []string, address string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, "taskset", append([]string{"--cpu-list", strconv.Itoa(core)}, args...)...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return p, c.Close()
		}
		if time.Now().After(deadline) || p.exited() || ctx.Err() != nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
			return nil, fmt.Errorf("start %s: it doesn't listen on %s: %s", filepath.Base(args[0]), address, &p.output)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *process) exited() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

// stop ends the process, and returns its total processor time.
func (p *process) stop() (time.Duration, error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	kill := time.AfterFunc(40*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait() // the exit codes of proxies differ
	u, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, errors.New("no resource usage on this system")
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// tree returns the process and its children.
func (p *process) tree() []int {
	pids := []int{p.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		file := fmt.Sprintf("/proc/%d/task/%d/children", pids[i], pids[i])
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		for _, child := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(child); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// clockTick is the unit of /proc/PID/stat, which Linux fixes for programs.
const clockTick = 10 * time.Millisecond

// cpu returns the processor time that the process took until now.
func (p *process) cpu() (total time.Duration) {
	for _, pid := range p.tree() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// utime and stime are fields 14 and 15; the name, field 2, may hold spaces.
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		for _, ticks := range f[11:13] {
			n, _ := strconv.Atoi(ticks)
			total += time.Duration(n) * clockTick
		}
	}
	return total
}

// resident returns the current and the largest resident size of the process and
// its children, in bytes.
func (p *process) resident() (now, peak int64) {
	for _, pid := range p.tree() {
		f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			var kib int64
			if n, _ := fmt.Sscanf(s.Text(), "VmRSS: %d kB", &kib); n == 1 {
				now += kib << 10
			}
			if n, _ := fmt.Sscanf(s.Text(), "VmHWM: %d kB", &kib); n == 1 {
				peak += kib << 10
			}
		}
		_ = f.Close()
	}
	return now, peak
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
