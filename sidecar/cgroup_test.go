package sidecar

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
)

// machine is a file system with these files.
func machine(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	return m
}

const (
	mountV1     = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
	mountV1CPU  = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
	mountV2     = "30 23 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate"
	mountHybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw"
	noLimitV1   = "9223372036854771712"
)

func TestTheLimitIsFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		limit int64 // 0: none
		dir   string
	}{
		{"version 2, in a container with a cgroup namespace", map[string]string{
			"proc/self/cgroup": "0::/", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/memory.max": "67108864", "sys/fs/cgroup/memory.high": "max",
		}, 64 << 20, "sys/fs/cgroup"},
		{"version 2, nested, the lowest counts", map[string]string{
			"proc/self/cgroup": "0::/kubepods/pod1/box", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/kubepods/pod1/box/memory.max": "max",
			"sys/fs/cgroup/kubepods/pod1/memory.max":     "134217728",
			"sys/fs/cgroup/kubepods/memory.max":          "8589934592",
		}, 128 << 20, "sys/fs/cgroup/kubepods/pod1/box"},
		{"version 2, slowed down before", map[string]string{
			"proc/self/cgroup": "0::/", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/memory.max": "67108864", "sys/fs/cgroup/memory.high": "50331648",
		}, 48 << 20, "sys/fs/cgroup"},
		{"version 2 without a limit", map[string]string{
			"proc/self/cgroup": "0::/user.slice", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/user.slice/memory.max": "max",
		}, 0, ""},
		{"version 2, the files are someone else's part of the tree", map[string]string{
			"proc/self/cgroup": "0::/../pod2/box", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/memory.max": "67108864",
		}, 64 << 20, "sys/fs/cgroup"},
		{"version 1, in a container that knows its path on the node", map[string]string{
			"proc/self/cgroup":                           "5:cpu,cpuacct:/kubepods/pod1/box\n4:memory:/kubepods/pod1/box\n0::/",
			"proc/self/mountinfo":                        mountV1CPU + "\n36 31 0:32 /kubepods/pod1/box /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864",
		}, 64 << 20, "sys/fs/cgroup/memory"},
		{"version 1, nested", map[string]string{
			"proc/self/cgroup": "4:memory:/a/b", "proc/self/mountinfo": mountHybrid + "\n" + mountV1,
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": noLimitV1,
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes":   "67108864",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":     noLimitV1,
		}, 64 << 20, "sys/fs/cgroup/memory/a/b"},
		{"version 1, a name that begins like the mount's", map[string]string{
			"proc/self/cgroup": "4:memory:/pod10", "proc/self/mountinfo": "36 31 0:32 /pod1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864",
		}, 64 << 20, "sys/fs/cgroup/memory"},
		{"version 1 without a limit", map[string]string{
			"proc/self/cgroup": "4:memory:/", "proc/self/mountinfo": mountV1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": noLimitV1,
		}, 0, ""},
		{"both, version 2 has the memory", map[string]string{
			"proc/self/cgroup": "1:name=systemd:/x\n0::/x", "proc/self/mountinfo": mountHybrid,
			"sys/fs/cgroup/unified/x/memory.max": "67108864",
		}, 64 << 20, "sys/fs/cgroup/unified/x"},
		{"version 2, the root of a machine", map[string]string{
			"proc/self/cgroup": "0::/", "proc/self/mountinfo": mountV2, "sys/fs/cgroup/cgroup.procs": "1",
		}, 0, ""},
		{"version 2, the process's own directory is hidden", map[string]string{
			"proc/self/cgroup": "0::/box", "proc/self/mountinfo": mountV2, "sys/fs/cgroup/memory.max": "67108864",
		}, 64 << 20, "sys/fs/cgroup/box"},
		{"nonsense", map[string]string{
			"proc/self/cgroup": "::\n:\n0:memory\n4:memory:relative", "proc/self/mountinfo": "-\n - cgroup\n - cgroup cgroup memory\n" + mountV1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "-5",
		}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := openCgroup(machine(c.files))
			switch {
			case err != nil:
				t.Error(err)
			case c.limit == 0 && got != nil:
				t.Errorf("found %d in %s, want none", got.limit, got.dir)
			case c.limit > 0 && (got == nil || got.limit != c.limit || got.dir != c.dir):
				t.Errorf("found %+v, want %d in %s", got, c.limit, c.dir)
			}
		})
	}
	for name, files := range map[string]map[string]string{
		"there is no /proc":               nil,
		"/sys is mounted over":            {"proc/self/cgroup": "0::/", "proc/self/mountinfo": mountV2 + "\n31 30 0:9 / /sys rw - tmpfs tmpfs rw"},
		"/sys is mounted over, version 1": {"proc/self/cgroup": "4:memory:/box", "proc/self/mountinfo": mountV1},
		"nothing is mounted":              {"proc/self/cgroup": "0::/", "proc/self/mountinfo": "22 1 0:20 / /proc rw - proc proc rw"},
		"/proc/self/cgroup is empty":      {"proc/self/cgroup": "", "proc/self/mountinfo": mountV2, "sys/fs/cgroup/memory.max": "67108864"},
	} {
		if c, err := openCgroup(machine(files)); err == nil {
			t.Errorf("no error where %s: %+v", name, c)
		}
	}
}

// A sidecar that can't see its cgroup warns, and says what to set, unless that is already set.
func TestAHiddenLimitIsRemarkedOn(t *testing.T) {
	hidden := machine(map[string]string{"proc/self/cgroup": "0::/", "proc/self/mountinfo": mountV2})
	for limit, want := range map[string]int{"": 1, "40MiB": 0} {
		var log bytes.Buffer
		g := confine(new(Config), hidden, func(string) string { return limit }, slog.New(slog.NewTextHandler(&log, nil)))
		if got := strings.Count(log.String(), "level=WARN"); g != nil || got != want || want > 0 && !strings.Contains(log.String(), "set GOMEMLIMIT to five eighths") {
			t.Errorf("GOMEMLIMIT=%s: %d warnings, want %d: %s", limit, got, want, log.String())
		}
	}
}

// The kernel can reclaim the page cache. It can't reclaim pages that wait for the disk, files in
// memory, or the buffers of sockets.
func TestWhatIsUsedLeavesThePageCacheOut(t *testing.T) {
	for name, c := range map[string]struct {
		cgroup
		files map[string]string
	}{
		"version 1": {cgroup{dir: "box"}, map[string]string{
			"box/memory.usage_in_bytes": "1000", "box/memory.kmem.tcp.usage_in_bytes": "50",
			"box/memory.stat": "cache 1\ntotal_cache 600\ntotal_shmem 100\ntotal_dirty 20\ntotal_writeback 3",
		}},
		"version 2": {cgroup{dir: "box", v2: true}, map[string]string{
			"box/memory.current": "1050",
			"box/memory.stat":    "anon 300\nfile 600\nsock 50\nshmem 100\nfile_mapped 9\nfile_dirty 20\nfile_writeback 3\nfoo",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.root = machine(c.files)
			if got, err := c.used(); got != 573 || err != nil {
				t.Errorf("%d, %v, want 573", got, err)
			}
			delete(c.files, "box/memory.stat")
			c.root = machine(c.files)
			if _, err := c.used(); err == nil {
				t.Error("no error without memory.stat")
			}
		})
	}
}

func FuzzTheLimitIsFound(f *testing.F) {
	f.Add("4:memory:/a/b\n0::/", mountV1+"\n"+mountV2, "67108864")
	f.Add("0::/../x", mountV2, "max")
	f.Fuzz(func(t *testing.T, own, mounts, limit string) {
		c, err := openCgroup(machine(map[string]string{
			"proc/self/cgroup": own, "proc/self/mountinfo": mounts, "sys/fs/cgroup/memory.max": limit, "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
		}))
		if err != nil && (c != nil || !errors.Is(err, errHidden)) || c != nil && c.limit <= 0 {
			t.Fatalf("%+v, %v", c, err)
		}
	})
}
