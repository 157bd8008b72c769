package hostsfile

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
)

// search are the domains that a kubelet gives a pod of the namespace shop.
var search = []string{"shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "ec2.internal"}

func listed(t testing.TB, text string) []contract.CaptureHost {
	t.Helper()
	hosts, err := contract.ParseCaptureHosts(text)
	if err != nil {
		t.Fatal(err)
	}
	return hosts
}

// own is a hosts file as a kubelet writes it.
const own = `# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
10.1.2.3	checkout-5d9c

# Entries added by HostAliases.
10.9.9.9	postgres.db	legacy
`

func ExampleCompose() {
	listed, err := contract.ParseCaptureHosts("postgres.db:5432, api.stripe.com:443")
	if err != nil {
		fmt.Println(err)
	}
	hosts := New(listed, Search("search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"))
	file, leftOut := Compose(own, hosts)
	fmt.Println(strings.ReplaceAll(file, "\t", " "))
	fmt.Println("left out:", leftOut)
	// Output:
	// # Kubernetes-managed hosts file.
	// 127.0.0.1 localhost
	// ::1 localhost ip6-localhost ip6-loopback
	// 10.1.2.3 checkout-5d9c
	//
	// # Entries added by HostAliases.
	// 10.9.9.9 legacy
	// # Hosts that Tapedeck's sidecar captures (tapedeck.dev/capture-hosts).
	// 127.0.1.1 postgres.db postgres.db. postgres.db.svc postgres.db.svc.cluster.local postgres.db.svc.cluster.local.
	// ::ffff:127.0.1.1 postgres.db postgres.db. postgres.db.svc postgres.db.svc.cluster.local postgres.db.svc.cluster.local.
	// 127.0.1.2 api.stripe.com api.stripe.com.
	// ::ffff:127.0.1.2 api.stripe.com api.stripe.com.
	//
	// left out: [postgres.db]
}

// A host has every name by which a cluster's DNS finds it from the pod.
func TestNames(t *testing.T) {
	const full = "redis redis.shop redis.shop.svc redis.shop.svc.cluster.local redis.shop.svc.cluster.local."
	for name, want := range map[string]string{
		"redis":                               full,
		"redis.shop":                          full + " redis.shop.",
		"redis.shop.svc":                      full + " redis.shop.svc.",
		"redis.shop.svc.cluster.local":        full,
		"redis.db":                            "redis.db redis.db. redis.db.svc redis.db.svc.cluster.local redis.db.svc.cluster.local.",
		"redis-0.redis.shop":                  "redis-0.redis.shop redis-0.redis.shop.", // may be a public name
		"redis-0.redis.shop.svc":              "redis-0.redis.shop redis-0.redis.shop.svc redis-0.redis.shop.svc. redis-0.redis.shop.svc.cluster.local redis-0.redis.shop.svc.cluster.local.",
		"api.stripe.com":                      "api.stripe.com api.stripe.com.",
		"x.svc":                               "x.svc x.svc. x.svc.svc x.svc.svc.cluster.local x.svc.svc.cluster.local.", // a Service x of a namespace svc
		"redis.shop.svc.other.domain":         "redis.shop.svc.other.domain redis.shop.svc.other.domain.",
		"redis.shop.svc.cluster.local.domain": "redis.shop.svc.cluster.local.domain redis.shop.svc.cluster.local.domain.",
	} {
		got := New(listed(t, name+":1"), search)[0].Names
		if got[0] != name {
			t.Errorf("%s: its first name is %s", name, got[0])
		}
		slices.Sort(got)
		expected := strings.Fields(want)
		slices.Sort(expected)
		if !slices.Equal(got, expected) {
			t.Errorf("%s: %v, want %v", name, got, expected)
		}
	}
}

// Outside a cluster, a name has no other names.
func TestNamesWithoutACluster(t *testing.T) {
	for _, search := range [][]string{nil, {"example.com"}, {"svc.cluster.local"}, {"a.svc"}} {
		if got := New(listed(t, "redis:1,redis.shop:1"), search); !slices.Equal(got[0].Names, []string{"redis"}) || !slices.Equal(got[1].Names, []string{"redis.shop", "redis.shop."}) {
			t.Errorf("%v: %+v", search, got)
		}
	}
}

// A Service that is listed under two names is one host. The application finds all of its ports
// under either name.
func TestAHostUnderSeveralNamesHasAllItsPorts(t *testing.T) {
	hosts := New(listed(t, "redis.shop:6379, redis:26379, other:1, redis.shop.svc:6379"), search)
	names := map[string]int{}
	for i, h := range hosts {
		want := []int{6379, 26379}
		if h.Name == "other" {
			want = []int{1}
		}
		if !reflect.DeepEqual(h.Ports, want) || h.Addr != contract.CaptureAddr(i) {
			t.Errorf("%+v, want ports %v", h, want)
		}
		for _, name := range h.Names {
			if j, taken := names[name]; taken {
				t.Errorf("%s is a name of hosts %d and %d", name, j, i)
			}
			names[name] = i
		}
	}
	if names["redis"] != 1 || names["redis.shop"] != 0 || names["redis.shop.svc"] != 3 || names["redis.shop.svc.cluster.local"] != 0 {
		t.Errorf("names that are listed have the addresses of other hosts: %v", names)
	}
}

func TestSearch(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil,
		"nameserver 10.0.0.10\nsearch Shop.svc.cluster.local. svc.cluster.local\noptions ndots:5\n": {"shop.svc.cluster.local", "svc.cluster.local"},
		"search a.example\ndomain b.example\n":                                                      {"b.example"},
		"search a.example b/c \x00\n#search d\nsearch\n":                                            {"a.example"},
		"\tsearch\ta.example\r\n":                                                                   {"a.example"},
	} {
		if got := Search(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Lines that other programs wrote are unchanged, except for captured names.
func TestLinesOfThePodsOwnFile(t *testing.T) {
	hosts := New(listed(t, "redis.db:6379"), search)
	for line, want := range map[string]string{
		"10.0.0.1 other":                             "10.0.0.1 other\n",
		"# redis.db is elsewhere":                    "# redis.db is elsewhere\n",
		"10.0.0.1 redis.db":                          "",
		"10.0.0.1 REDIS.db.svc.cluster.local. # old": "",
		"10.0.0.1  a redis.db b # two":               "10.0.0.1\ta b\n",
		"redis.db":                                   "redis.db\n", // no address: no line
		"  \t":                                       "  \t\n",
	} {
		got, _ := Compose(line, hosts)
		kept, _, found := strings.Cut(got, heading)
		if kept != want || !found {
			t.Errorf("%q became %q, want %q", line, kept, want)
		}
	}
	if got, _ := Compose(own, nil); got != own {
		t.Errorf("without hosts the file is %q", got)
	}
}

// FuzzCompose composes files from any content of the pod's own file. A composed file maps each
// captured name to its address and to nothing else, has no long lines besides the pod's own, and
// is the same when it is composed again.
func FuzzCompose(f *testing.F) {
	f.Add(own, "postgres.db:5432, redis:6379", "search shop.svc.cluster.local")
	f.Add("127.0.1.9 redis\r\n#", "redis:1,redis.shop:2", "search shop.svc.k8s")
	f.Add(heading+"\n127.0.1.1\tredis\n", "redis:1", "")
	f.Fuzz(func(t *testing.T, own, list, resolvConf string) {
		listed, err := contract.ParseCaptureHosts(list)
		if err != nil {
			return
		}
		hosts := New(listed, Search(resolvConf))
		file, _ := Compose(own, hosts)
		if again, leftOut := Compose(file, hosts); again != file {
			t.Errorf("composed again:\n%q, was\n%q (%v)", again, file, leftOut)
		}
		ours := map[string]string{}
		for _, h := range hosts {
			for _, name := range h.Names {
				ours[name] = h.Addr.String()
			}
		}
		led := map[string]bool{}
		for line := range strings.Lines(file) {
			entry, _, _ := strings.Cut(line, "#")
			fields := strings.Fields(entry)
			for _, name := range fields[min(1, len(fields)):] {
				if addr, captured := ours[name]; captured {
					led[name] = true
					if strings.TrimPrefix(fields[0], "::ffff:") != addr {
						t.Errorf("%s is led to %s, want %s", name, fields[0], addr)
					}
				}
			}
			if len(line) > 511 && !strings.Contains(own, strings.TrimRight(line, "\r\n")) && led[fields[len(fields)-1]] {
				t.Errorf("a line has %d bytes", len(line))
			}
		}
		if len(led) != len(ours) {
			t.Errorf("%d of %d names are led anywhere: %q", len(led), len(ours), file)
		}
	})
}

// Write keeps the file's inode, as a container that has the file mounted keeps that inode. It then
// reads the new content, and nothing in between.
func TestTheFileIsWrittenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	long, short := strings.Repeat("10.0.0.1 a\n", 1000), "10.0.0.2 b\n"
	for _, content := range []string{short, long, short, ""} {
		before, _ := os.Stat(path)
		mounted, _ := os.Open(path)
		if err := Write(path, content); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(path)
		if err != nil || after.Mode() != 0o644 || before != nil && !os.SameFile(before, after) {
			t.Fatalf("%v, %v, was %v", after, err, before)
		}
		got, err := Read(path)
		if got != content || err != nil {
			t.Errorf("%d bytes, %v, want %d", len(got), err, len(content))
		}
		if mounted != nil {
			seen := make([]byte, len(content)+1)
			if n, _ := mounted.Read(seen); string(seen[:n]) != content {
				t.Errorf("a reader that has it open reads %d bytes, want %d", n, len(content))
			}
			mounted.Close()
		}
	}
}

// A kubelet makes a directory of a subPath that does not exist. The next start of the
// container works when it is gone.
func TestADirectoryInTheFilesPlaceMakesRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, own); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path); got != own || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFilesThatCantBeHad(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, full, filepath.Join(dir, "none", "hosts")} {
		if err := Write(path, own); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(big); err == nil {
		t.Error("a file of any size is read")
	}
	if got, err := Read(filepath.Join(dir, "none")); got != "" || err != nil {
		t.Errorf("no file: %q, %v", got, err)
	}
	if got := OwnOrDefault(""); !strings.Contains(got, "127.0.0.1\tlocalhost\n") {
		t.Errorf("a pod without a file: %q", got)
	}
}
