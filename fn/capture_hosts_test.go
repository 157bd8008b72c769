package fn_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// hostsOf returns the hosts that a rendered sidecar captures through the hosts file.
func hostsOf(t *testing.T, rendered []byte) string {
	t.Helper()
	m := regexp.MustCompile(`- name: ` + contract.EnvCaptureHosts + `\n +value: (.*)\n`).FindSubmatch(rendered)
	if m == nil {
		return ""
	}
	return strings.ReplaceAll(strings.Trim(string(m[1]), `'"`), ", ", " ")
}

// shop has Services, and a workload that captures the hosts of its environment.
const shop = `apiVersion: v1
kind: Service
metadata: {name: postgres, namespace: shop}
spec: {ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: kafka, namespace: streams}
spec: {clusterIP: None, ports: [{port: 9092}]}
---
apiVersion: v1
kind: Service
metadata: {name: legacy, namespace: shop}
spec: {type: ExternalName, externalName: db.corp}
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {ports: [{name: http, port: 8080}, {name: grpc, port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: shop}
spec: {ports: [{port: 53, protocol: UDP}, {port: 8053}]}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  namespace: shop
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: forward
    tapedeck.dev/capture-hosts: auto
spec:
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
      - name: app
        image: registry.example/app:1
        env:
`

func environment(variables ...string) string {
	var b strings.Builder
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&b, "        - {name: %s, value: %s}\n", name, quoteJSON(value))
	}
	return b.String()
}

func quoteJSON(text string) string {
	quoted, _ := json.Marshal(text) // a string: it can't fail
	return string(quoted)
}

// With auto, a host is captured if it means a Service of the input, under any of its names, or has
// a public name, and if its port is certain.
func TestHostsOfTheEnvironment(t *testing.T) {
	for _, test := range []struct {
		name, want string
		env        []string
	}{
		{"every name of a Service", "postgres:5432 postgres.shop:5432 postgres.shop.svc:5432 postgres.shop.svc.cluster.local:5432 postgres.shop.svc.example.org:5432",
			[]string{"A=postgres:5432", "B=postgres.shop:5432", "C=postgres.shop.svc:5432", "D=postgres.shop.svc.cluster.local:5432", "E=postgres.shop.svc.example.org:5432"}},
		{"a Service of another namespace has that in its name", "kafka.streams:9092", []string{"A=kafka:9092", "B=kafka.streams:9092"}},
		{"pods of a headless Service", "kafka-0.kafka.streams:9092 kafka-1.kafka.streams.svc:9092", []string{"A=kafka-0.kafka.streams:9092,kafka-1.kafka.streams.svc:9092", "B=pod.postgres:5432"}},
		{"a headless Service is called at any port", "kafka.streams:9092 kafka.streams:9999", []string{"A=kafka.streams:9999"}},
		{"an ExternalName is, too", "legacy:1521", []string{"A=legacy:1521"}},
		{"all ports of a Service, since the hosts file leads all of them to the sidecar", "orders:8080 orders:9090 orders.shop:8080 orders.shop:9090", []string{"A=orders:9090", "B=http://orders.shop:8080"}},
		{"another has its ports", "", []string{"A=postgres:80", "B=dns:53"}},
		{"HTTP may redirect to HTTPS", "a.example.com:80 a.example.com:443 b.example.com:443", []string{"A=http://a.example.com", "B=https://b.example.com"}},
		{"public names", "a.example.com:443 b.s3.amazonaws.com:443", []string{"A=https://a.example.com", "B=https://b.s3.amazonaws.com", "C=https://c.corp.internal", "D=https://d.local"}},
		{"one host from several variables", "postgres:5432", []string{"A=postgres:5432", "B=postgres://u@postgres/x", "C=host=postgres user=u"}},
		{"a port of the pair that the Service lacks, and a host without a port", "", []string{"DB_HOST=legacy.example.com", "PG_PORT=5433", "PG_HOST=postgres"}},
		{"a pair", "db.example.com:5433", []string{"DB_HOST=db.example.com", "DB_PORT=5433"}},
		{"a pair without underscores", "db.example.com:5434", []string{"PGHOST=db.example.com", "PGPORT=5434"}},
		{"libpq's own default", "db.example.com:5432", []string{"PGHOST=db.example.com"}},
		{"a pair of small letters", "db.example.com:1", []string{"db_hostname=db.example.com", "db_port=1"}},
		{"a port that is none", "", []string{"DB_HOST=db.example.com", "DB_PORT=tcp"}},
		{"the only port of a Service", "dns:8053 postgres:5432", []string{"DB_HOST=postgres", "DNS_ADDR=dns"}},
		{"a name alone says nothing under other variables", "", []string{"KIND=postgres", "A=postgres"}},
		{"references, as Kubernetes resolves them", "postgres:5432", []string{"HOST=postgres", "URL=postgres://$(HOST)/x", "LATER=postgres://$(AFTER)/x", "AFTER=a.example.com", "ESCAPED=http://$$(HOST)/"}},
		{"proxies are none of them", "", []string{"http_proxy=http://proxy.example.com:3128", "NO_PROXY=a.example.com"}},
		{"the hosts of NO_PROXY are reached directly", "c.example.com:443", []string{"NO_PROXY=.example.com:443,b.example.com", "A=https://b.example.com", "C=https://c.example.com"}},
		{"a password", "", []string{"API_TOKEN=a.example.com:443", "DB_PASSWORD=b.example.com:443"}},
		{"of one variable twice the last one", "b.example.com:443", []string{"A=https://a.example.com", "A=https://b.example.com"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, results := render(t, shop+environment(test.env...))
			got, want := strings.Fields(hostsOf(t, out)), strings.Fields(test.want)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("captured: %v, want %v\n%s", got, want, report(t, results))
			}
		})
	}
}

func render(t *testing.T, input string) ([]byte, transformer.Results) {
	t.Helper()
	out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
	if err != nil || results.Failed() {
		t.Fatalf("%v\n%s", err, report(t, results))
	}
	return out, results
}

func report(t *testing.T, results transformer.Results) string {
	t.Helper()
	var b bytes.Buffer
	if err := fn.WriteText(&b, results); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// secretForms are values of a Secret, with words that must not appear elsewhere. None of them has a host
// in the input or on the internet, because such hosts are captured and shown.
var secretForms = []string{
	"S1:S2", "S1@S2:5432", "S1.S2:12", "postgres://S1:S2@postgres:5432/S3?S4=S5#S6", "postgres://S1:S2/S3@postgres/S4", "postgres://S1:12/S3@postgres",
	"postgres://S1:S2@S3@postgres:5432/S4", "https://S1:S2@a.example.com/S3?S4", "https://S1:443/@S2", "https://S1.S2/S3", "mongodb+srv://S1:S2@S3.S4.com/S5", "redis://:S1?S2@postgres:6379",
	"jdbc:postgresql://postgres/S1?user=S2&password=S3", "jdbc:oracle:thin:S1/S2@//a.example.com:1521/S3", "jdbc:oracle:thin:@S1", "jdbc:sqlserver://postgres:1433;user=S1;password={S2;S3}", `jdbc:sqlserver://a.example.com\S1;user=S2`,
	"S1:S2@tcp(postgres:5432)/S3?S4", "S1:S2/S3@tcp(postgres)/S4", "host=postgres user=S1 password='S2 S3' dbname=S4", "host=S1 user=S2", "Server=postgres,1433;User Id=S1;Password=S2", "Server=S1;Password=S2",
	"postgres:6379,password=S1,S2", "http://$(S1)@a.example.com", "S1", "-----BEGIN S1-----\nS2\n", "//S1:S2@S3", "://S1:443", "S1://S2:443", "http://S1:S2", "tcp://S1:99999", "S1:1,S2:2",
}

// The results and the workload contain nothing of a Secret's value except hosts and ports that are
// captured: no user, password or path, and nothing from a value that is parsed wrongly.
func TestSecretsAreNotShown(t *testing.T) {
	word := regexp.MustCompile(`S[0-9]`)
	for i, form := range secretForms {
		const said = "c0nfidential"
		value := word.ReplaceAllString(form, said+"-$0")
		secret := "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\ndata: {VALUE: " + base64.StdEncoding.EncodeToString([]byte(value)) + "}\nstringData: {OTHER_HOST: " + quoteJSON(value) + "}\n"
		input := shop + `        - {name: URL, valueFrom: {secretKeyRef: {name: s, key: VALUE}}}
        - {name: REFERRED_URL, value: "http://$(URL)/"}
        - {name: JAVA_TOOL_OPTIONS, valueFrom: {secretKeyRef: {name: s, key: VALUE}}}
        - {name: DB_PORT, value: "5432"}
        - {name: DB_HOST, valueFrom: {secretKeyRef: {name: s, key: VALUE}}}
        readinessProbe: {exec: {command: [sh, -c, "nc -z $(URL)"]}}
        envFrom:
        - {secretRef: {name: s}}
` + secret
		input = strings.Replace(input, "tapedeck.dev/capture-hosts: auto", "tapedeck.dev/capture-hosts: auto\n    tapedeck.dev/java-proxy: \"true\"\n    sidecar.speedscale.com/tls-out: \"true\"", 1)
		out, results := render(t, input)
		workload, _, _ := strings.Cut(string(out), "kind: Secret")
		said1, err := json.Marshal(results)
		if err != nil {
			t.Fatal(err)
		}
		for what, text := range map[string]string{"the workload": workload, "the results": string(said1), "the report": report(t, results)} {
			if at := strings.Index(strings.ToLower(text), said); at >= 0 {
				t.Errorf("form %d, %q: %s has …%s…", i, form, what, text[max(0, at-80):min(len(text), at+40)])
			}
		}
	}
}

// A Secret's value is a password even if only its key in the Secret says so.
func TestKeysOfPasswordsAreNotRead(t *testing.T) {
	for key, taken := range map[string]bool{"password": false, "db-password": false, "api.key": false, "TOKEN_2": false, "creds": false, "address": true, "auth": true} {
		input := shop + `        - {name: SETTING, valueFrom: {secretKeyRef: {name: s, key: KEY}}}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: shop}
stringData: {KEY: "hunter2.example.com:443"}
`
		input = strings.ReplaceAll(input, "KEY", key)
		out, results := render(t, input)
		if got := hostsOf(t, out) != ""; got != taken {
			t.Errorf("%s: %v, want %v\n%s", key, got, taken, report(t, results))
		}
	}
}

// A result names the object that a variable refers to and the input lacks, or the key that the
// object doesn't have.
func TestMissingObjectsAndKeysAreNamed(t *testing.T) {
	_, results := render(t, shop+`        - {name: A_URL, valueFrom: {secretKeyRef: {name: s, key: url}}}
        - {name: B_URL, valueFrom: {configMapKeyRef: {name: c, key: url, optional: true}}}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: shop}
stringData: {other: hunter2}
`)
	for _, want := range []string{"A_URL of container app: it comes from Secret s, which has no key url", "B_URL of container app: it comes from ConfigMap c, which is not in the input"} {
		if text := report(t, results); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Errors about annotations that may contain a password don't quote it: somebody may write a DSN in
// the list of hosts, or a password next to a line that is not a variable.
func TestErrorsAboutAnnotationsHaveNoPassword(t *testing.T) {
	for _, annotation := range []string{
		"tapedeck.dev/capture-hosts: postgres://shop:hunter2@postgres:5432/shop",
		`sidecar.speedscale.com/extra-container-env-vars: "DB_PASSWORD=hunter2\nhunter2"`,
	} {
		input := strings.Replace(shop, "tapedeck.dev/capture-hosts: auto", annotation, 1) + environment("A=b")
		_, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, transformer.DefaultConfig())
		all, jsonErr := json.Marshal(results)
		if err != nil || jsonErr != nil || !results.Failed() || strings.Contains(string(all)+report(t, results), "hunter2") {
			t.Errorf("%s: %v, %v\n%s\n%s", annotation, err, jsonErr, all, report(t, results))
		}
	}
}

// An object may occur in envFrom any number of times, with different prefixes. So a small input
// can describe an environment that is too large for any program. Its variables are read up to that
// size.
func TestHugeEnvironmentsAreReadInPart(t *testing.T) {
	var from, data strings.Builder
	for i := range 300 {
		fmt.Fprintf(&from, "        - {prefix: P%d_, configMapRef: {name: c}}\n", i)
	}
	for i := range 500 {
		fmt.Fprintf(&data, "  K%d: %s\n", i, strings.Repeat("x", 100))
	}
	input := strings.TrimSuffix(shop, "        env:\n") + "        envFrom:\n" + from.String() + "        - {configMapRef: {name: last}}\n" +
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\ndata:\n" + data.String() +
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: last, namespace: shop}\ndata: {URL: \"https://a.example.com\"}\n"
	if out, _ := render(t, input); hostsOf(t, out) != "" {
		t.Errorf("all of the environment was read: %s", hostsOf(t, out))
	}
}

// Hosts have the same addresses, whatever the order of the environment.
func TestInferredHostsAreTheSameInAnyOrder(t *testing.T) {
	env := []string{"A=https://z.example.com", "B=https://a.example.com", "C=postgres:5432", "D=kafka-1.kafka.streams:9092,kafka-0.kafka.streams:9092"}
	first, _ := render(t, shop+environment(env...))
	for range 10 {
		rand.Shuffle(len(env), func(i, j int) { env[i], env[j] = env[j], env[i] })
		if out, _ := render(t, shop+environment(env...)); hostsOf(t, out) != hostsOf(t, first) {
			t.Errorf("%v: %s, want %s", env, hostsOf(t, out), hostsOf(t, first))
		}
	}
}

// A pod has room for a limited number of hosts. More hosts in a list are an error. Of inferred
// hosts, those beyond the limit are left out.
func TestMoreHostsThanAPodHasRoomFor(t *testing.T) {
	var all []string
	for i := range contract.MaxCaptureHosts + 2 {
		all = append(all, fmt.Sprintf("h%03d.example.com:7000", i))
	}
	out, results := render(t, shop+environment("A="+strings.Join(all, ",")))
	if n := len(strings.Fields(hostsOf(t, out))); n != contract.MaxCaptureHosts {
		t.Errorf("%d hosts", n)
	}
	if text := report(t, results); !strings.Contains(text, "h250.example.com:7000 (A of container app), h251.example.com:7000 (A of container app): a pod has room for 250 hosts") {
		t.Error(text)
	}
	listed := strings.Replace(shop, "capture-hosts: auto", "capture-hosts: "+quoteJSON(strings.Join(all, ", ")), 1) + environment("A=b")
	_, results, err := fn.Render([]fn.Source{{Text: []byte(listed)}}, transformer.DefaultConfig())
	if err != nil || !results.Failed() || !strings.Contains(report(t, results), "more than 250 hosts") {
		t.Errorf("%v\n%s", err, report(t, results))
	}
}

// The sidecar reaches the collector directly. It is never captured, whatever its name.
func TestTheCollectorIsNotCaptured(t *testing.T) {
	for _, test := range []struct {
		sink, host string
		refused    bool
	}{
		{"http://collector.speedscale:4310", "collector.speedscale", true},
		{"http://collector.speedscale:4310", "collector.speedscale.svc.cluster.local", true},
		{"http://collector:4310", "collector.shop", true},
		{"http://collector:4310", "collector.other", false},
		{"https://collector.example.com", "collector.example.com", true},
		{"https://collector.example.com", "other.example.com", false},
		{contract.DefaultSink, "collector.speedscale", false},
	} {
		cfg := transformer.DefaultConfig()
		for name, value := range map[string]string{"sink": test.sink, "sinkPlainHTTP": "true"} {
			if err := cfg.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
		input := strings.Replace(shop, "capture-hosts: auto", "capture-hosts: "+test.host+":4999", 1) + environment("A=b")
		_, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
		refused := slices.ContainsFunc(results, func(r transformer.Result) bool { return r.Code() == transformer.CodeHostSink })
		if err != nil || refused != test.refused || results.Failed() != refused {
			t.Errorf("sink %s, host %s: %v\n%s", test.sink, test.host, err, report(t, results))
		}
	}
}

// A pod may have any shape in the places that a render edits for the hosts file. The render either
// rejects it as malformed, or can undo its edit.
func TestPodsOfOddShape(t *testing.T) {
	const sysctl = "net.ipv4.ip_unprivileged_port_start"
	for spec, refused := range map[string]bool{
		"securityContext: [a]":                                             true,
		"securityContext: {sysctls: {a: b}}":                               true,
		"securityContext: null":                                            false,
		"securityContext: {sysctls: null}":                                 false,
		"securityContext: {sysctls: []}":                                   false,
		"securityContext: {sysctls: [a, 1, null, {name: " + sysctl + "}]}": false,
		"securityContext: {sysctls: [{name: " + sysctl + ", value: abc}]}": false,
		"securityContext: {sysctls: [{name: " + sysctl + ", value: 500}]}": false,
		`securityContext: {sysctls: [{name: ` + sysctl + `, value: "500"}, {name: ` + sysctl + `, value: "600"}]}`: false,
		"hostAliases: [a, {hostnames: b}, {ip: 1, hostnames: [null, a.example.com]}]":                              false,
		"initContainers: [a, {name: x}]":                           true,
		"initContainers: [{name: x, volumeMounts: {a: b}}]":        true,
		"initContainers: [{name: x, volumeMounts: null, env: []}]": false,
	} {
		for _, mode := range []string{"native", "classic"} {
			input := strings.Replace(shop, "capture-hosts: auto", `capture-hosts: "a.example.com:443, auto"
    sidecar.speedscale.com/tls-out: "true"
    sidecar.speedscale.com/insert-init-first: "true"`, 1)
			input = strings.Replace(input, "      containers:\n", "      "+spec+"\n      containers:\n", 1) + `        - {name: B}
        - {name: C, valueFrom: x}
        - {name: D, value: [1]}
        - {name: E, value: "https://$(E)/$(C)"}
        envFrom: [a, {configMapRef: b}, {secretRef: {name: s}}]
        readinessProbe: {exec: {command: x}}
        livenessProbe: {exec: {command: [null, {}, "a.example.com:443"]}}
        volumeMounts: [a, {mountPath: [1]}]
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: shop}
data: {x: "!!!", y: [1]}
stringData: null
`
			cfg := transformer.DefaultConfig()
			if err := cfg.Set("sidecar", mode); err != nil {
				t.Fatal(err)
			}
			out, results, err := fn.Render([]fn.Source{{Text: []byte(input)}}, cfg)
			if err != nil || results.Failed() != refused {
				t.Errorf("%s, %s: %v\n%s", spec, mode, err, report(t, results))
				continue
			}
			if !refused {
				checkPromises(t, []byte(input), out, cfg)
			}
		}
	}
}
