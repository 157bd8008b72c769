package sidecar

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// cgroup reads the files in which the kernel counts the process's memory, in either version:
//
//	v1  memory.limit_in_bytes  memory.usage_in_bytes  memory.kmem.tcp.usage_in_bytes  memory.stat
//	v2  memory.max             memory.current                                         memory.stat
type cgroup struct {
	root  fs.FS
	dir   string // directory of the files, in root
	v2    bool
	limit int64 // the lowest limit of the cgroup and its parents; 0: none
}

// errHidden says that there may be a limit, but its files can't be read.
var errHidden = errors.New("find the memory limit: the cgroup's files can't be read; another file system may be mounted over /sys")

// openCgroup returns the cgroup that limits the process's memory, or nil if there is no limit.
// root is the machine's root directory.
func openCgroup(root fs.FS) (*cgroup, error) {
	own, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("find the memory limit: %w", err)
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find the memory limit: %w", err)
	}
	seen := false
	for _, v2 := range []bool{false, true} { // if both are mounted, v1 has the memory
		top, dir, ok := locate(own, mounts, v2)
		if !ok {
			continue
		}
		c := &cgroup{root: root, dir: dir, v2: v2}
		for at := dir; ; at = path.Dir(at) {
			seen = c.lower(at) || seen
			if at == top || at == "." {
				break
			}
		}
		if c.limit > 0 {
			return c, nil
		}
	}
	if !seen {
		return nil, errHidden
	}
	return nil, nil
}

// locate returns the mount point of the cgroup files about memory, and the process's directory
// in it. A container sees its own cgroup as the root of the mount, whether it sees the path of
// the cgroup or not.
func locate(own, mounts []byte, v2 bool) (top, dir string, ok bool) {
	at, ok := pathOf(own, v2)
	if !ok {
		return "", "", false
	}
	for lines := bufio.NewScanner(bytes.NewReader(mounts)); lines.Scan(); {
		// 35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
		before, after, _ := strings.Cut(lines.Text(), " - ")
		about, kind := strings.Fields(before), strings.Fields(after)
		if len(about) < 5 || len(kind) < 3 || !hasMemory(kind[0], kind[2], v2) {
			continue
		}
		top = strings.TrimPrefix(about[4], "/")
		rest, below := strings.CutPrefix(at, strings.TrimSuffix(about[3], "/"))
		if !below || rest != "" && rest[0] != '/' || strings.HasPrefix(at, "/..") {
			rest = "" // the path is outside the mount, so the mount is the container's cgroup
		}
		return top, path.Join(top, rest), true
	}
	return "", "", false
}

// hasMemory reports whether a mount of this kind has the files about memory.
func hasMemory(kind, options string, v2 bool) bool {
	if v2 {
		return kind == "cgroup2"
	}
	return kind == "cgroup" && hasWord(options, "memory")
}

// pathOf returns the path of the process's cgroup.
func pathOf(own []byte, v2 bool) (string, bool) {
	for lines := bufio.NewScanner(bytes.NewReader(own)); lines.Scan(); {
		// 4:memory:/kubepods/pod1/container, or of version 2 0::/kubepods/…
		part := strings.SplitN(lines.Text(), ":", 3)
		if len(part) == 3 && (v2 && part[0] == "0" && part[1] == "" || !v2 && hasWord(part[1], "memory")) {
			return part[2], true
		}
	}
	return "", false
}

func hasWord(list, word string) bool {
	for each := range strings.SplitSeq(list, ",") {
		if each == word {
			return true
		}
	}
	return false
}

// unlimited is a lower bound of the number that version 1 shows if there is no limit.
const unlimited = 1 << 60

// lower lowers the limit to that of a directory. memory.high counts as a limit, because above
// it the kernel slows the process down so much that it is of no use. lower reports whether the
// directory is a cgroup. The root of version 2 has no files with limits, but it lists processes.
func (c *cgroup) lower(dir string) (seen bool) {
	names := []string{"memory.limit_in_bytes"}
	if c.v2 {
		names = []string{"memory.max", "memory.high"}
	}
	for _, name := range names {
		n, err := c.number(path.Join(dir, name)) // "max" is not a number
		seen = seen || err == nil || errors.Is(err, strconv.ErrSyntax)
		if err == nil && 0 < n && n < unlimited && (c.limit == 0 || n < c.limit) {
			c.limit = n
		}
	}
	if !seen {
		_, err := fs.Stat(c.root, path.Join(dir, "cgroup.procs"))
		seen = err == nil
	}
	return seen
}

func (c *cgroup) number(file string) (int64, error) {
	text, err := fs.ReadFile(c.root, file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// used returns how much memory of the process the kernel can't reclaim: all but the page cache,
// of which it counts only the pages that are not yet written to the disk.
func (c *cgroup) used() (int64, error) {
	stat, err := fs.ReadFile(c.root, path.Join(c.dir, "memory.stat"))
	if err != nil {
		return 0, err
	}
	names := map[string]int64{"total_cache": -1, "total_shmem": 1, "total_dirty": 1, "total_writeback": 1}
	file := "memory.usage_in_bytes"
	if c.v2 {
		names = map[string]int64{"file": -1, "shmem": 1, "file_dirty": 1, "file_writeback": 1}
		file = "memory.current"
	}
	n, err := c.number(path.Join(c.dir, file))
	if err != nil {
		return 0, err
	}
	if !c.v2 { // version 1 counts the memory of sockets separately, if at all
		sockets, err := c.number(path.Join(c.dir, "memory.kmem.tcp.usage_in_bytes"))
		if err == nil {
			n += sockets
		} else if !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	for line := range strings.Lines(string(stat)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if sign := names[name]; sign != 0 {
			if part, err := strconv.ParseInt(value, 10, 64); err == nil {
				n += sign * part
			}
		}
	}
	return max(n, 0), nil
}
