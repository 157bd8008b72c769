package fn_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// TestPorts shows which ports are captured: those that the annotations name, or else
// those that the input leads to. Every case renders a Deployment with the annotation
// inject. Each line `NAME: value` of annotations adds one, and `-` adds none.
func TestPorts(t *testing.T) {
	const (
		http        = "{name: http, containerPort: 8080}"
		grpc        = "{name: grpc, containerPort: 9090}"
		metrics     = "{name: http-metrics, containerPort: 9797}"
		serveHTTP   = "{name: http, port: 80, targetPort: http}"
		serveGRPC   = "{name: grpc, port: 9090}"
		serveNumber = "{port: 80, targetPort: 8080}"
		scrape      = "{name: metrics, port: 9100, targetPort: 9797}"
	)
	type ports = []string
	for _, c := range []struct {
		name        string
		annotations string
		container   ports // containerPorts
		service     ports // ports of the Service; there is no Service if there are none
		set         string
		want        string // type, protocol and pairs of ports; or a skip's or an error's code
		says        string // part of a result
	}{
		{"the port that a Service leads to by name", "-", ports{http}, ports{serveHTTP}, "",
			"dual tcp:http 4143=8080", "inferred: proxy-type dual, proxy-protocol tcp:http, port 8080 from Service/app"},
		{"the port that a Service leads to by number", "-", nil, ports{serveNumber}, "", "dual tcp:http 4143=8080", "port 8080 from Service/app"},
		{"a port without targetPort", "-", nil, ports{"{port: 8080}"}, "", "dual tcp:http 4143=8080", ""},
		{"the number of a Service's port as text", "-", nil, ports{`{port: 80, targetPort: "8080"}`}, "", "dual tcp:http 4143=8080", ""},
		{"two ports, in ascending order", "-", ports{http, grpc}, ports{serveGRPC, serveHTTP}, "",
			"dual tcp:http 4143=8080,4144=9090", "ports 8080 and 9090 from Service/app"},
		{"a port for metrics is left out", "-", ports{http, metrics}, ports{scrape, serveHTTP}, "", "dual tcp:http 4143=8080", "left out by name 9797 (metrics)"},
		{"a port for metrics that is the only one is not", "-", ports{metrics}, ports{scrape}, "", "dual tcp:http 4143=9797", ""},
		{"a port that another name is for too is not left out", "-", nil, ports{"{name: metrics, port: 9797}", "{name: http, port: 80, targetPort: 9797}", serveGRPC}, "", "dual tcp:http 4143=9090,4144=9797", ""},
		{"an admin port is not left out", "-", nil, ports{serveNumber, "{name: http-admin, port: 9901}"}, "", "dual tcp:http 4143=8080,4144=9901", ""},
		{"UDP and SCTP are never captured", "-", nil, ports{serveNumber, "{name: dns, protocol: UDP, port: 53}", "{name: s, protocol: SCTP, port: 54}"}, "", "dual tcp:http 4143=8080", ""},
		{"a name that is a UDP port's leads nowhere", "-", ports{"{name: dns, protocol: UDP, containerPort: 53}", http}, ports{"{port: 53, targetPort: dns}"}, "", "dual tcp:http 4143=8080", "leads to no TCP port of the pod"},
		{"ports of the mesh are not the application's", "-", nil, ports{serveNumber, "{name: a, port: 15090}"}, "", "dual tcp:http 4143=8080", ""},
		{"the only containerPort", "-", ports{http}, nil, "", "dual tcp:http 4143=8080", "port 8080 from container app"},
		{"without a Service, what that means", "-", ports{http}, nil, "", "dual tcp:http 4143=8080", "Istio sends inbound traffic to the captured ports only"},
		{"the only containerPort besides metrics", "-", ports{http, metrics}, nil, "", "dual tcp:http 4143=8080", ""},
		{"several containerPorts and no Service", "-", ports{http, grpc}, nil, "", "forward http", "several ports, 8080 (http), 9090 (grpc), and no Service in the input leads to one"},
		{"no port at all", "-", nil, nil, "", "forward http", "only outbound traffic is captured"},
		{"no port, dual and SOCKS by hand", "proxy-type: dual\nproxy-protocol: tcp:socks", nil, nil, "", "forward socks", "only outbound traffic is captured"},
		{"no port, reverse by hand", "proxy-type: reverse", nil, nil, "", "no-inbound-port", "the port to capture is unknown"},
		{"no port, reverse by hand, strict", "proxy-type: reverse", nil, nil, "strict=true", "no-inbound-port", "the port to capture is unknown"},
		{"reverse by hand", "proxy-type: reverse", nil, ports{serveNumber}, "", "reverse http 4143=8080", "; inferred: port 8080 from Service/app"},
		{"forward by hand", "proxy-type: forward", ports{http}, ports{serveHTTP}, "", "forward http", ""},
		{"transparent by hand", "proxy-type: transparent", ports{http}, ports{serveHTTP}, "", "transparent", "skipped: proxy-type transparent"},
		{"a protocol that only reverse has", "proxy-protocol: tcp", ports{http}, ports{serveHTTP}, "", "reverse tcp 4143=8080", "inferred: proxy-type reverse"},
		{"a protocol by hand", "proxy-protocol: socks", ports{http}, ports{serveHTTP}, "", "dual socks 4143=8080", ""},
		{"proxy-port wins", `proxy-port: "9090"`, ports{http, grpc}, ports{serveHTTP, serveGRPC}, "", "dual tcp:http 4143=9090", "inbound port 9090 is captured; port 8080 goes to the application directly"},
		{"proxy-port by name", "proxy-port: grpc", ports{http, grpc}, ports{serveHTTP, serveGRPC}, "", "dual tcp:http 4143=9090", ""},
		{"proxy-port by a name that is none", "proxy-port: htpp", ports{http, grpc}, nil, "", "bad-value", `no container has a TCP port with the name "htpp"; allowed: a number, or http or grpc`},
		{"proxy-port by name where none has one", "proxy-port: http", nil, nil, "", "bad-value", "allowed: a number, because no container names a TCP port"},
		{"proxy-ports", `tapedeck.dev/proxy-ports: "grpc, 8080"`, ports{http, grpc, metrics}, ports{serveHTTP, serveGRPC, scrape}, "", "dual tcp:http 4143=8080,4144=9090", "inbound ports 8080 and 9090 are captured; port 9797 goes"},
		{"proxy-ports that no Service leads to", `tapedeck.dev/proxy-ports: "8080,7070"`, ports{http}, ports{serveHTTP}, "", "dual tcp:http 4143=7070,4144=8080", "proxy-ports has 7070, but Service/app leads to port 8080"},
		{"proxy-ports twice the same", `tapedeck.dev/proxy-ports: "http,8080"`, ports{http}, ports{serveHTTP}, "", "dual tcp:http 4143=8080", ""},
		{"proxy-ports of none", `tapedeck.dev/proxy-ports: ","`, nil, nil, "", "bad-value", "no port"},
		{"proxy-ports and proxy-port", "tapedeck.dev/proxy-ports: grpc\nproxy-port: http", ports{http, grpc}, nil, "", "bad-combination", "one of the two"},
		{"a workload's proxy-ports win over the default of proxy-port", "tapedeck.dev/proxy-ports: grpc", ports{http, grpc}, nil, "proxy-port=8080", "dual tcp:http 4143=9090", ""},
		{"a workload's proxy-port wins over the default of proxy-ports", "proxy-port: grpc", ports{http, grpc}, nil, "proxy-ports=8080", "dual tcp:http 4143=9090", ""},
		{"a default by a name that the workload lacks", "-", ports{grpc}, ports{serveGRPC}, "proxy-port=http", "dual tcp:http 4143=9090", "inferred: "},
		{"a default of which the workload lacks a part", "-", ports{grpc, http}, nil, "proxy-ports=grpc,admin", "dual tcp:http 4143=9090", ""},
		{"the mesh's own port by hand", `tapedeck.dev/proxy-ports: "8080,15021"`, ports{http}, nil, "", "port-reserved", "proxy-ports has 15021, which is reserved by Istio (health)"},
		{"the sidecar's ports are free", `prometheus-port: "4144"`, ports{http, grpc, "{containerPort: 4145}"}, ports{serveHTTP, serveGRPC, "{port: 4146}"}, "",
			"dual tcp:http 4143=4146,4147=8080,4148=9090", ""},
		{"the application has the usual port", "-", ports{"{containerPort: 4143}"}, ports{"{port: 4143}"}, "", "dual tcp:http 4144=4143", ""},
		{"proxy-in-port by hand is the first", `proxy-in-port: "65535"`, ports{http, grpc}, ports{serveHTTP, serveGRPC}, "", "dual tcp:http 65535=8080,1024=9090", ""},
		{"proxy-in-port by hand that is taken", `proxy-in-port: "9090"`, ports{http, grpc}, ports{serveHTTP, serveGRPC}, "", "port-clash", "proxy-in-port 9090 is already the port of container app"},
		{"a TLS application with several ports", "proxy-host: https://localhost", ports{http, grpc}, ports{serveHTTP, serveGRPC}, "", "bad-combination", "list those that speak TLS in proxy-port or proxy-ports"},
		{"a TLS application with one port", "proxy-host: https://localhost", ports{http}, ports{serveHTTP}, "", "dual tcp:http 4143=8080", ""},
		{"a port that Istio does not intercept", `-excludeInboundPorts: "9090"`, ports{http, grpc}, ports{serveHTTP, serveGRPC}, "", "dual tcp:http 4143=8080", "port 9090 goes to the application directly"},
		{"one that Istio does not intercept, by hand", "tapedeck.dev/proxy-ports: \"8080,9090\"\n-excludeInboundPorts: \"9090\"", ports{http, grpc}, ports{serveHTTP, serveGRPC}, "", "port-excluded", ""},
		{"one that Istio does not intercept, through the Service", `-excludeInboundPorts: "9090"`, ports{http, grpc}, ports{serveHTTP, serveGRPC}, "inbound=service", "dual tcp:http 4143=8080,4144=9090", "has port 9090, so the render added the sidecar's port 4144"},
		{"through the Service", "-", ports{http, grpc}, ports{serveHTTP, serveGRPC}, "inbound=service", "dual tcp:http 4143=8080,4144=9090", "port 9090 of Service/app now leads to the sidecar's port 4144 instead of 9090"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var own, pod strings.Builder
			for line := range strings.Lines(c.annotations) {
				line = strings.TrimSpace(line)
				switch {
				case line == "-":
				case line[0] == '-':
					pod.WriteString("        traffic.sidecar.istio.io/" + line[1:] + "\n")
				case strings.Contains(line, "/proxy-ports"):
					own.WriteString("    " + line + "\n")
				default:
					own.WriteString("    " + contract.SidecarPrefix + line + "\n")
				}
			}
			input := "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app\n  annotations:\n    sidecar.speedscale.com/inject: \"true\"\n" + own.String() +
				"spec:\n  template:\n    metadata:\n      labels: {app: app}\n"
			if pod.Len() > 0 {
				input += "      annotations:\n" + pod.String()
			}
			input += "    spec:\n      containers:\n      - name: app\n        image: app\n        ports: [" + strings.Join(c.container, ", ") + "]\n"
			if c.service != nil {
				input += "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: app\nspec:\n  selector: {app: app}\n  ports:\n  - " + strings.Join(c.service, "\n  - ") + "\n"
			}
			cfg := transformer.DefaultConfig()
			if name, value, ok := strings.Cut(c.set, "="); ok {
				if err := cfg.Set(name, value); err != nil {
					t.Fatal(err)
				}
			}
			out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
			if err != nil {
				t.Fatal(err)
			}
			var said, codes strings.Builder
			for _, r := range results {
				fmt.Fprintf(&said, "%s %s\n", r.Code(), r.Message)
				fmt.Fprintf(&codes, "%s ", r.Code())
			}
			if !strings.Contains(said.String(), c.says) {
				t.Errorf("no result says %q:\n%s", c.says, said.String())
			}
			if !strings.Contains(c.want, " ") {
				if !strings.Contains(codes.String(), c.want+" ") || strings.Contains(codes.String(), "injected ") {
					t.Errorf("results %s, want only %s", codes.String(), c.want)
				}
				return
			}
			if got := captured(string(out)); got != c.want {
				t.Errorf("captured %q, want %q\n%s", got, c.want, said.String())
			}
			checkPromises(t, []byte(input), out, cfg)
		})
	}
}

// captured returns the values of the sidecar's variables: type, protocol and pairs of ports.
func captured(manifest string) string {
	value := func(name string) string {
		m := regexp.MustCompile(`- name: ` + name + `\n +value: "?([^"\n]*)`).FindStringSubmatch(manifest)
		if m == nil {
			return ""
		}
		return m[1]
	}
	pairs := value(contract.EnvInPorts)
	first := value(contract.EnvProxyInPort) + "=" + value(contract.EnvReverseProxyPort)
	switch {
	case pairs != "" && !strings.HasPrefix(pairs, first+","):
		return "the first pair is " + first + " of " + pairs
	case pairs == "" && first != "=":
		pairs = first
	}
	return strings.TrimSpace(value(contract.EnvProxyType) + " " + value(contract.EnvProxyProtocol) + " " + pairs)
}

// TestPortsAreTheSameInAnyOrder renders a workload of several Services with the
// documents in every order: the same ports get the same ports of the sidecar.
func TestPortsAreTheSameInAnyOrder(t *testing.T) {
	docs := []string{
		"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app\n  annotations:\n    sidecar.speedscale.com/inject: \"true\"\nspec:\n  template:\n    metadata:\n      labels: {app: app}\n    spec:\n      containers:\n      - {name: app, image: app}\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec:\n  selector: {app: app}\n  ports:\n  - {name: http, port: 8080}\n  - {name: y, port: 7000}\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  selector: {app: app}\n  ports:\n  - {name: grpc, port: 9090}\n  - {name: http, port: 8080}\n",
	}
	var first string
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		input := docs[order[0]] + "---\n" + docs[order[1]] + "---\n" + docs[order[2]]
		out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
		if err != nil || results.Failed() {
			t.Fatalf("%v %+v", err, results)
		}
		var said string
		for _, r := range results {
			if r.Code() == transformer.CodeInjected {
				said = captured(string(out)) + "\n" + r.Message
			}
		}
		if first == "" {
			first = said
		}
		if said != first || !strings.HasPrefix(said, "dual tcp:http 4143=7000,4144=8080,4145=9090\n") {
			t.Errorf("order %v: %s\nwant %s", order, said, first)
		}
		checkPromises(t, []byte(input), out, transformer.DefaultConfig())
	}
}

// TestPortsByNameOfSeveralVersions: versions of an application may use a port's name for
// different numbers, and the Service then leads to the sidecars of both.
func TestPortsByNameOfSeveralVersions(t *testing.T) {
	version := func(name string, port int) string {
		return fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: %s\n  annotations:\n    sidecar.speedscale.com/inject: \"true\"\nspec:\n  template:\n    metadata:\n      labels: {app: app}\n    spec:\n      containers:\n      - {name: app, image: app, ports: [{name: http, containerPort: %d}]}\n---\n", name, port)
	}
	input := version("v1", 8080) + version("v2", 9090) + "apiVersion: v1\nkind: Service\nmetadata: {name: app}\nspec:\n  selector: {app: app}\n  ports:\n  - {name: http, port: 80, targetPort: http}\n"
	cfg := transformer.DefaultConfig()
	cfg.Inbound = "service"
	out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
	if err != nil || results.Failed() || !strings.Contains(string(out), "targetPort: 4143") {
		t.Fatalf("%v %+v", err, results)
	}
	checkPromises(t, []byte(input), out, cfg)
}

// An image of the first contract supports only one port. The result says which one, and how to
// choose another.
func TestAnOldImageCapturesTheLowestPort(t *testing.T) {
	cfg := transformer.DefaultConfig()
	if err := cfg.Set("imageContract", "1"); err != nil {
		t.Fatal(err)
	}
	service := "---\napiVersion: v1\nkind: Service\nmetadata: {name: app}\nspec: {selector: {app: app}, ports: [{name: a, port: 8080}, {name: b, port: 5432}]}\n"
	input := strings.Replace(plainDeployment, "  template:\n", "  template:\n    metadata: {labels: {app: app}}\n", 1) + service
	out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
	if err != nil || results.Failed() {
		t.Fatal(err, results)
	}
	const want = "port 5432 from Service/app, only the lowest of 2, because images of contract 1 support only one: to capture another port, set proxy-port"
	if !slices.ContainsFunc(results, func(r transformer.Result) bool { return strings.Contains(r.Message, want) }) {
		t.Errorf("no result has %q:\n%v", want, results)
	}
	checkPromises(t, []byte(input), out, cfg)
}
