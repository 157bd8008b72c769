package contract

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func ExampleParseCaptureHosts() {
	hosts, err := ParseCaptureHosts("postgres.db:5432, redis:6379, redis:26379, API.stripe.com:443")
	if err != nil {
		fmt.Println(err)
	}
	for i, h := range hosts {
		fmt.Println(CaptureAddr(i), h.Name, h.Ports)
	}
	// Output:
	// 127.0.1.1 postgres.db [5432]
	// 127.0.1.2 redis [6379 26379]
	// 127.0.1.3 api.stripe.com [443]
}

// A host keeps its first position in the list, so that its address does not depend on later ports.
func TestCaptureHosts(t *testing.T) {
	for text, want := range map[string][]CaptureHost{
		"":                              nil,
		" , ":                           nil,
		"redis:6379":                    {{"redis", []int{6379}}},
		"a:1,b:2,a:3":                   {{"a", []int{1, 3}}, {"b", []int{2}}},
		"a:1\nb:2":                      {{"a", []int{1}}, {"b", []int{2}}},
		"Postgres.DB:5432":              {{"postgres.db", []int{5432}}},
		"pg-0.postgres.db.svc:65535":    {{"pg-0.postgres.db.svc", []int{65535}}},
		"my_db:5432,3com.example:1":     {{"my_db", []int{5432}}, {"3com.example", []int{1}}},
		"1.2.3.example:1,0x7g:2,face:3": {{"1.2.3.example", []int{1}}, {"0x7g", []int{2}}, {"face", []int{3}}},
	} {
		got, err := ParseCaptureHosts(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: read as %v, %v, want %v", text, got, err, want)
		}
		if again, err := ParseCaptureHosts(FormatCaptureHosts(got)); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%q: written as %q, which is read as %v, %v", text, FormatCaptureHosts(got), again, err)
		}
	}
}

func TestCaptureHostsThatNoHostsFileCanHave(t *testing.T) {
	label := strings.Repeat("a", maxLabel)
	var many, ports []string
	for i := range MaxCaptureHosts + 1 {
		many = append(many, fmt.Sprintf("host-%d:80", i))
	}
	for i := range MaxCapturePorts + 1 {
		ports = append(ports, fmt.Sprintf("host:%d", i+1))
	}
	for text, want := range map[string]string{
		"redis":                           `"redis" has no port`,
		"redis:":                          `"redis:" has no port`,
		":6379":                           `":6379": it has no host`,
		"redis:0":                         `"redis:0": the port is not a number from 1 to 65535`,
		"redis:65536":                     `the port is not a number`,
		"redis:-1":                        `the port is not a number`,
		"redis:06379":                     `the port is not a number`,
		"redis:tcp":                       `the port is not a number`,
		"redis:6379:6380":                 `the port is not a number`,
		"redis:6379,REDIS:6379":           `redis:6379 is listed twice`,
		"*.example.com:443":               `"*.example.com:443": it has a wildcard`,
		"https://api.stripe.com:443":      `is a URL`,
		"api.stripe.com/v1:443":           `is a URL or a path`,
		"10.0.0.1:5432":                   `"10.0.0.1:5432": it is an IP address`,
		"10.0.0.1":                        `"10.0.0.1": it is an IP address`,
		"127.1:80":                        `it is an IP address`,
		"2130706433:80":                   `it is an IP address`,
		"0x7f.0x1:80":                     `it is an IP address`,
		"[::1]:5432":                      `it is an IP address`,
		"fd00::1":                         `it is an IP address`,
		"localhost:5432":                  `it is the pod's own loopback`,
		"db.LOCALHOST:5432":               `it is the pod's own loopback`,
		"ip6-localhost:80":                `it is the pod's own loopback`,
		"redis.:6379":                     `it ends in a dot`,
		"a..b:1":                          `it is not a DNS name`,
		"-a:1":                            `it is not a DNS name`,
		"a-:1":                            `it is not a DNS name`,
		"bücher.example:443":              `it is not a DNS name`,
		"user@host:1":                     `it is not a DNS name`,
		"a#b:1":                           `it is not a DNS name`,
		label + "a:1":                     `it is not a DNS name`,
		strings.Repeat("a.", 127) + "b:1": `its name has 255 bytes`,
		strings.Repeat("=", 1000) + ":1":  `…: its name has 1000 bytes`,
		strings.Join(many, ","):           `more than 250 hosts`,
		strings.Join(ports, ","):          `more than 1000 ports`,
	} {
		if _, err := ParseCaptureHosts(text); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 1000 {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
	if _, err := ParseCaptureHosts(strings.Join(many[1:], ",")); err != nil {
		t.Errorf("as many hosts as there may be: %v", err)
	}
}

// Somebody may put a DSN into the list. An error about it contains at most its host.
func TestNoErrorHasAPasswordOfAnEntry(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://shop:hunter2@db:5432/shop":  `"postgres://…" is a URL or a path`,
		"postgres://shop:hunter2,x@db:5432":     `"postgres://…" is a URL or a path`,
		"shop:hunter2@db:5432":                  `"…@db:5432": the port is not a number from 1 to 65535`,
		"shop:hunter2@tcp(db:3306)/shop":        `"…@tcp(db:…" is a URL or a path`,
		"redis:6379,password=hunter2@x":         `"…@x": it is not a DNS name`,
		"shop:hunter2":                          `"shop:…": the port is not a number from 1 to 65535`,
		"[shop:hunter2@db]:5432":                `"…@db]:5432": it is an IP address`,
		"https://hunter2.example.com:443 db:80": `"https://…" is a URL or a path`,
	} {
		if _, err := ParseCaptureHosts(text); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestEachCapturedHostHasAnAddress(t *testing.T) {
	for i, want := range map[int]string{-1: "invalid IP", 0: "127.0.1.1", MaxCaptureHosts - 1: "127.0.1.250", MaxCaptureHosts: "invalid IP"} {
		if got := CaptureAddr(i).String(); got != want {
			t.Errorf("host %d has %s, want %s", i, got, want)
		}
	}
}

func TestLowestCapturePort(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a:5432,b:443,b:80": 80, "a:1024": UnprivilegedPorts} {
		hosts, err := ParseCaptureHosts(text)
		if got := LowestCapturePort(hosts); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
}

// FuzzCaptureHosts: both sides derive the addresses of hosts from the list. So a list that was read is
// written as the same again, and its names are valid in a hosts file.
func FuzzCaptureHosts(f *testing.F) {
	f.Add("postgres.db:5432, redis:6379, api.stripe.com:443")
	f.Add("a:1,A:2\n[::1]:3,*.b:4,localhost:5,1.2:6,a.:7,:8")
	f.Fuzz(func(t *testing.T, text string) {
		hosts, err := ParseCaptureHosts(text)
		if err != nil {
			return
		}
		if again, err := ParseCaptureHosts(FormatCaptureHosts(hosts)); err != nil || !reflect.DeepEqual(again, hosts) {
			t.Errorf("%q is read as %v, and then as %v, %v", text, hosts, again, err)
		}
		for i, h := range hosts {
			if CheckHostName(h.Name) != nil || !CaptureAddr(i).IsLoopback() || len(h.Ports) == 0 || strings.ContainsAny(h.Name, "# \t\r\n") {
				t.Errorf("%q has host %d, %+v", text, i, h)
			}
		}
	})
}
