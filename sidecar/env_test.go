package sidecar

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
)

func TestDefaults(t *testing.T) {
	c, err := FromEnv(env())
	if err != nil {
		t.Fatal(err)
	}
	if !c.Reverse || !c.Forward || c.InProtocol != proxy.TCP || c.Protocols != "tcp:http" || c.In[0].Port != contract.InPort || c.OutPort != contract.OutPort ||
		c.In[0].App != (proxy.App{Host: "localhost", Port: 80}) || c.TLSOut || c.TLSIn != nil || c.Memory != 64<<20 || c.Drain != 25*time.Second ||
		"file://"+c.Sink != contract.DefaultSink || c.Identity.Cluster != "undefined" {
		t.Errorf("%+v", c)
	}
}

// Every variable of the contract is read by the proxy.
func TestEveryVariableIsRead(t *testing.T) {
	read := map[string]bool{}
	if _, err := FromEnv(func(name string) string { read[name] = true; return "" }); err != nil {
		t.Fatal(err)
	}
	for _, e := range contract.Envs() {
		if !read[e.Name] {
			t.Errorf("%s is in the contract, and nobody reads it", e.Name)
		}
	}
}

func TestFromEnv(t *testing.T) {
	for _, c := range []struct {
		env  string
		want func(Config) bool
	}{
		{"PROXY_TYPE=reverse", func(c Config) bool {
			return c.Reverse && !c.Forward && c.Protocols == "tcp" && c.InProtocol == proxy.TCP
		}},
		{"PROXY_TYPE=forward", func(c Config) bool { return !c.Reverse && c.Forward && c.Protocols == "http" }},
		{"PROXY_TYPE=reverse PROXY_PROTOCOL=http", func(c Config) bool { return c.InProtocol == proxy.HTTP }},
		{"PROXY_TYPE=dual PROXY_PROTOCOL=socks", func(c Config) bool { return c.InProtocol == proxy.SOCKS }},
		{"PROXY_PROTOCOL=tcp:socks", func(c Config) bool { return c.InProtocol == proxy.TCP && c.Forward }},
		{"REVERSE_PROXY_HOST=https://api.example REVERSE_PROXY_PORT=443", func(c Config) bool { return c.In[0].App == proxy.App{Host: "api.example", Port: 443, TLS: true} }},
		{"TAPEDECK_IN_PORTS=4143=80,4144=9090 REVERSE_PROXY_HOST=app", func(c Config) bool {
			return slices.Equal(c.In, []proxy.Inbound{{Port: 4143, App: proxy.App{Host: "app", Port: 80}}, {Port: 4144, App: proxy.App{Host: "app", Port: 9090}}})
		}},
		{"REVERSE_PROXY_HOST=[::1]", func(c Config) bool { return c.In[0].App.Host == "::1" }},
		{"TLS_IN_UNWRAP=true TLS_IN_PUBLIC_KEY=a TLS_IN_PRIVATE_KEY=b", func(c Config) bool { return *c.TLSIn == proxy.KeyFiles{Cert: "a", Key: "b"} }},
		{"TLS_IN_UNWRAP=false TLS_IN_PUBLIC_KEY=a TLS_IN_PRIVATE_KEY=b", func(c Config) bool { return c.TLSIn == nil }},
		{"TAPEDECK_MEMORY=1Gi", func(c Config) bool { return c.Memory == 1<<30 }},
		{"TAPEDECK_IN_ADDRESS=all", func(c Config) bool { return c.InAll }},
		{"TAPEDECK_CAPTURE_HOSTS=redis:6379,Redis:26379", func(c Config) bool {
			return reflect.DeepEqual(c.Hosts, []contract.CaptureHost{{Name: "redis", Ports: []int{6379, 26379}}})
		}},
		{"TAPEDECK_SINK=file:///tmp/recordings TAPEDECK_SPOOL=/tmp/spool", func(c Config) bool { return c.Sink == "/tmp/recordings" && !c.Collector.IsCollector() }},
		{"TAPEDECK_SINK=https://collector.speedscale:4310 TAPEDECK_SPOOL=/tmp/spool", func(c Config) bool {
			return c.Sink == "/tmp/spool" && c.Collector.String() == "https://collector.speedscale:4310" && c.SinkTokenFile == "/etc/tapedeck/sink-token/token"
		}},
		{"TAPEDECK_SINK=https://collector", func(c Config) bool { return c.Sink == contract.RecordingDir }},
		{"TAPEDECK_SINK=http://collector:4310 TAPEDECK_SINK_PLAIN_HTTP=true", func(c Config) bool { return c.Collector.Host == "collector:4310" }},
		{"TAPEDECK_SINK=http://localhost:4310", func(c Config) bool { return c.Collector.IsCollector() }},
		{"TAPEDECK_SINK=http://127.0.0.2", func(c Config) bool { return c.Collector.IsCollector() }},
		{"TAPEDECK_SINK=http://[::1]:4310", func(c Config) bool { return c.Collector.IsCollector() }},
		{"TAPEDECK_UPSTREAM_READY=http://mock.shop:4141/healthz ALL_PROXY=socks5h://mock.shop:4140", func(c Config) bool { return c.UpstreamReady == "http://mock.shop:4141/healthz" }},
		{"HTTPS_PROXY=corp.example:3128", func(c Config) bool { return c.Proxies.HTTPS == "corp.example:3128" }},
	} {
		t.Run(c.env, func(t *testing.T) {
			got, err := FromEnv(env(strings.Fields(c.env)...))
			if err != nil {
				t.Fatal(err)
			}
			if !c.want(got) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Kubernetes sets NAME_PORT in every container for each Service of the namespace. A
// Service called prometheus must not keep the sidecar, and so the pod, from starting.
func TestServiceLinksAreNoSettings(t *testing.T) {
	const address = "://10.96.0.1:9090"
	want, err := FromEnv(env())
	if err != nil {
		t.Fatal(err)
	}
	got, err := FromEnv(env("PROMETHEUS_PORT=tcp"+address, "PROXY_IN_PORT=tcp"+address, "PROXY_OUT_PORT=udp"+address, "REVERSE_PROXY_PORT=sctp"+address))
	if err != nil || got.PrometheusPort != 0 || got.OutPort != want.OutPort || !slices.Equal(got.In, want.In) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWrongVariables(t *testing.T) {
	for env1, want := range map[string]string{
		"TAPEDECK_CAPTURE_HOSTS=redis":                                          `TAPEDECK_CAPTURE_HOSTS: "redis" has no port: want hosts with a port, separated by commas, as in postgres.db:5432, redis:6379, api.stripe.com:443`,
		"TAPEDECK_SINK=https://me:hunter2@collector":                            `TAPEDECK_SINK: place "https://…@collector": a user or a password; take them out: such a place needs no credentials`,
		"TAPEDECK_CAPTURE_HOSTS=redis://:hunter2@redis:6379":                    `TAPEDECK_CAPTURE_HOSTS: "redis://…" is a URL or a path: want hosts with a port, separated by commas, as in postgres.db:5432, redis:6379, api.stripe.com:443`,
		"TAPEDECK_CAPTURE_HOSTS=redis:80":                                       `TAPEDECK_CAPTURE_HOSTS: redis:80: that port is the application's, which could not listen on it`,
		"TAPEDECK_CAPTURE_HOSTS=redis:6379 PROXY_TYPE=reverse":                  `TAPEDECK_CAPTURE_HOSTS: the forward proxy captures hosts, and PROXY_TYPE turns it off`,
		"TAPEDECK_UPSTREAM_READY=mock:4141 ALL_PROXY=mock":                      `TAPEDECK_UPSTREAM_READY="mock:4141": it is not a URL to ask for health: want http:// or https:// with a host and without a user, such as http://127.0.0.1:4141/healthz`,
		"TAPEDECK_UPSTREAM_READY=http://mock/healthz":                           `TAPEDECK_UPSTREAM_READY: it needs a proxy for all traffic; set ALL_PROXY to the proxy's URL`,
		"TAPEDECK_UPSTREAM_READY=http://me:hunter2@mock/healthz ALL_PROXY=mock": `TAPEDECK_UPSTREAM_READY: it is not a URL to ask for health: want http:// or https:// with a host and without a user, such as http://127.0.0.1:4141/healthz`,
		"REVERSE_PROXY_HOST=http://me:hunter2@app":                              `REVERSE_PROXY_HOST: want a host without a port (that is REVERSE_PROXY_PORT), or https://host`,
		"TAPEDECK_IN_ADDRESS=10.0.0.1":                                          `TAPEDECK_IN_ADDRESS="10.0.0.1": want loopback, all`,
		"PROXY_OUT_PORT=0":                                                      `PROXY_OUT_PORT="0": want a port, 1 to 65535`,
		"PROMETHEUS_PORT=-1":                                                    `PROMETHEUS_PORT="-1": want a port, 1 to 65535`,
		"PROMETHEUS_PORT=4143":                                                  `PROMETHEUS_PORT=4143: PROXY_IN_PORT has that port already`,
		"TAPEDECK_MEMORY=-1":                                                    `TAPEDECK_MEMORY="-1": want a number of bytes, such as 16Mi`,
		"TAPEDECK_MEMORY=9999999999999Gi":                                       `TAPEDECK_MEMORY="9999999999999Gi": want a number of bytes, such as 16Mi`,
		"TAPEDECK_DRAIN=-1s":                                                    `TAPEDECK_DRAIN="-1s": want a duration such as 25s`,
		"CAPTURE_MODE=istio":                                                    `CAPTURE_MODE="istio": want proxy`,
		"PROXY_TYPE=transparent":                                                `PROXY_TYPE="transparent": transparent mode needs NET_ADMIN, and Tapedeck runs without privileges: want reverse, forward or dual`,
		"PROXY_TYPE=both":                                                       `PROXY_TYPE="both": want reverse, forward, dual`,
		"PROXY_PROTOCOL=tcp":                                                    `PROXY_PROTOCOL="tcp": want tcp:http, tcp:socks, http, socks with PROXY_TYPE=dual`,
		"PROXY_TYPE=forward PROXY_PROTOCOL=tcp":                                 `PROXY_PROTOCOL="tcp": want http, socks with PROXY_TYPE=forward`,
		"PROXY_IN_PORT=70000":                                                   `PROXY_IN_PORT="70000": want a port, 1 to 65535`,
		"PROXY_IN_PORT=4140":                                                    `PROXY_OUT_PORT=4140: PROXY_IN_PORT has that port already`,
		"PROXY_OUT_PORT=4100":                                                   `PROXY_OUT_PORT=4100: the admin port has that port already`,
		"REVERSE_PROXY_PORT=4143":                                               `REVERSE_PROXY_PORT=4143: the proxy would forward to itself; PROXY_IN_PORT has that port`,
		"REVERSE_PROXY_HOST=localhost:8080":                                     `REVERSE_PROXY_HOST="localhost:8080": want a host without a port (that is REVERSE_PROXY_PORT), or https://host`,
		"TAPEDECK_IN_PORTS=4143=8080,4144=9090":                                 `TAPEDECK_IN_PORTS="4143=8080,4144=9090": the first pair is 4143=8080: want 4143=80, the values of PROXY_IN_PORT and REVERSE_PROXY_PORT`,
		"TAPEDECK_IN_PORTS=8080,9090":                                           `TAPEDECK_IN_PORTS="8080,9090": "8080" is not a pair of ports: want the sidecar's port and the application's, as in 4143=8080,4144=9090`,
		"TAPEDECK_IN_PORTS=4143=80,4140=9090":                                   `PROXY_OUT_PORT=4140: TAPEDECK_IN_PORTS has that port already`,
		"TLS_OUT_UNWRAP=yes":                                                    `TLS_OUT_UNWRAP="yes": want true or false`,
		"TLS_IN_UNWRAP=true":                                                    `TLS_IN_UNWRAP=true needs TLS_IN_PUBLIC_KEY and TLS_IN_PRIVATE_KEY: set them to the files with the certificate and key`,
		"TLS_MUTUAL_PUBLIC_KEY=a":                                               `TLS_MUTUAL_PUBLIC_KEY is set and TLS_MUTUAL_PRIVATE_KEY is not: want both or neither`,
		"LOG_LEVEL=loud":                                                        `LOG_LEVEL="loud": want debug, info, warn, error`,
		"TAPEDECK_MEMORY=lots":                                                  `TAPEDECK_MEMORY="lots": want a number of bytes, such as 16Mi`,
		"TAPEDECK_CAPTURE=maybe":                                                `TAPEDECK_CAPTURE="maybe": neither on nor off: want on or off`,
		"TAPEDECK_CAPTURE_SAMPLE=10":                                            `TAPEDECK_CAPTURE_SAMPLE="10": more than all; a percentage ends in %: want a rate from 0 to 1, such as 0.1, or 0% to 100%`,
		"TAPEDECK_CAPTURE_EXCLUDE=path=health":                                  `TAPEDECK_CAPTURE_EXCLUDE="path=health": rule 1, "path=health": path: found "health", allowed: a path that begins with / or *, without a query: want rules such as "in path=/healthz,/readyz; out host=*.internal method=GET", of the terms in, out, host, path, method and header.NAME, with = or != (* stands for anything), ~ or !~ (RE2)`,
		"TAPEDECK_DRAIN=soon":                                                   `TAPEDECK_DRAIN="soon": want a duration such as 25s`,
		"TAPEDECK_SINK=http://collector:4310":                                   `TAPEDECK_SINK="http://collector:4310": plain HTTP beyond this pod, so bodies and the token would travel in clear text: want https://, or TAPEDECK_SINK_PLAIN_HTTP=true where a mesh encrypts it`,
		"TAPEDECK_SINK=http://127.0.0.1.nip.io":                                 `TAPEDECK_SINK="http://127.0.0.1.nip.io": plain HTTP beyond this pod, so bodies and the token would travel in clear text: want https://, or TAPEDECK_SINK_PLAIN_HTTP=true where a mesh encrypts it`,
		"TAPEDECK_SINK=s3://bucket":                                             `TAPEDECK_SINK: a pod can't write to a bucket, because its service account would need rights to it: want file:///directory, or the https:// or http:// URL of a collector`,
	} {
		t.Run(env1, func(t *testing.T) {
			_, err := FromEnv(env(strings.Fields(env1)...))
			if err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// Each pair of files is checked separately, and its errors are reported once.
func TestFilesThatComeInPairs(t *testing.T) {
	const (
		loneIn     = "TLS_IN_PUBLIC_KEY is set and TLS_IN_PRIVATE_KEY is not: want both or neither"
		loneMutual = "TLS_MUTUAL_PUBLIC_KEY is set and TLS_MUTUAL_PRIVATE_KEY is not: want both or neither"
		noneIn     = "TLS_IN_UNWRAP=true needs TLS_IN_PUBLIC_KEY and TLS_IN_PRIVATE_KEY: set them to the files with the certificate and key"
	)
	for set, want := range map[string]string{
		"TLS_IN_PUBLIC_KEY=a":                         loneIn,
		"TLS_MUTUAL_PUBLIC_KEY=a":                     loneMutual + "\n" + noneIn,
		"TLS_IN_PUBLIC_KEY=a TLS_MUTUAL_PUBLIC_KEY=a": loneIn + "\n" + loneMutual,
	} {
		_, err := FromEnv(env(append(strings.Fields(set), "TLS_IN_UNWRAP=true")...))
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", set, err, want)
		}
	}
}

// All errors are reported together.
func TestAllErrorsAtOnce(t *testing.T) {
	_, err := FromEnv(env("PROXY_IN_PORT=x", "LOG_LEVEL=y"))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("%v", err)
	}
}

// A variable is free text, or a wrong value causes an error with the name, the value, and the
// allowed values.
func TestEveryVariableIsChecked(t *testing.T) {
	free := strings.Fields(`APP_LABEL APP_POD_NAME APP_POD_NAMESPACE SPEC_NODENAME SPEC_SERVICEACCOUNTNAME STATUS_HOST_IP STATUS_POD_IP
		CLUSTER_NAME TLS_CERT_DIR TAPEDECK_CA_DIR TAPEDECK_UPSTREAM_CA TAPEDECK_REDACT_HEADERS TAPEDECK_REDACT_KEY_FILE HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY TAPEDECK_SINK TAPEDECK_SPOOL TAPEDECK_SINK_TOKEN_FILE TAPEDECK_CAPTURE_DIR`) // what they lead to is checked when it is used
	for _, e := range contract.Envs() {
		const value = "no/such thing"
		_, err := FromEnv(env(e.Name + "=" + value))
		switch {
		case slices.Contains(free, e.Name):
			if err != nil {
				t.Errorf("%s: %v", e.Name, err)
			}
		case err == nil:
			t.Errorf("%s takes anything", e.Name)
		case !strings.HasPrefix(err.Error(), e.Name) || !strings.Contains(err.Error(), "want "):
			t.Errorf("%s: %v", e.Name, err)
		case !strings.Contains(err.Error(), strings.Fields(value)[0]) && !strings.Contains(err.Error(), "want both or neither"): // for a list, an error has only the wrong entry
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}

// env makes a getenv of KEY=VALUE pairs.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if v, ok := strings.CutPrefix(p, name+"="); ok {
				return v
			}
		}
		return ""
	}
}
