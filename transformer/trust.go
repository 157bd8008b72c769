package transformer

import (
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// TrustVariable is one row of the table of variables that tell a runtime which CAs to trust. A render
// with tls-out and docs/trust-variables.md use it.
type TrustVariable struct {
	Name string
	// Value is a path on the trust volume. If the variable replaces the runtime's roots, it names the
	// bundle. The bundle also has the public roots, so connections that bypass the proxy verify as
	// before.
	Value string
	// Runtimes lists the runtimes that read the variable.
	Runtimes string
	// Adds reports whether the variable adds to the runtime's roots.
	Adds bool
}

// TrustVariables returns the table.
func TrustVariables() []TrustVariable { return trustVariables }

var trustVariables = []TrustVariable{
	{"SSL_CERT_FILE", contract.CABundle, "Go, OpenSSL, Ruby, PHP, Rust (rustls-native-certs), .NET on Linux, Python's ssl and httpx", false},
	{"NODE_EXTRA_CA_CERTS", contract.CACert, "Node.js", true},
	{"REQUESTS_CA_BUNDLE", contract.CABundle, "Python requests", false},
	{"CURL_CA_BUNDLE", contract.CABundle, "curl", false},
	{"GIT_SSL_CAINFO", contract.CABundle, "git", false},
	{"AWS_CA_BUNDLE", contract.CABundle, "AWS SDKs and CLI", false},
	{"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", contract.CABundle, "gRPC for C++, Python, Ruby, PHP and C#", false},
	{"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", contract.CABundle, "gcloud", false},
	{"DENO_CERT", contract.CACert, "Deno", true},
}

// javaTruststore has the flags that make a JVM trust the CA. They go into a separate variable, which
// start scripts can use, and, on request, into JAVA_TOOL_OPTIONS, which every JVM reads.
const (
	trustStoreFlag = "-Djavax.net.ssl.trustStore="
	javaTruststore = trustStoreFlag + contract.TrustStore +
		" -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=" + contract.TrustStorePassword
	javaOptions     = "SPEEDSCALE_JAVA_OPTS"
	javaToolOptions = "JAVA_TOOL_OPTIONS"
)

// systemBundles are the files in which distributions keep the public roots: Debian, Ubuntu and Alpine;
// Fedora and RHEL.
var systemBundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}

// trust makes a container trust the CA. The sidecar writes the files before the application starts.
func (a *appEnv) trust() {
	for _, row := range trustVariables {
		v, exists := a.in.findVariable(a.w, a.c, row.Name)
		switch {
		case !exists:
			a.add(row.Name, row.Value)
		case a.w.original != nil: // a copy calls only the responder
			a.set(row.Name, v, exists, row.Value)
		case v.from != nil || v.value != row.Value:
			a.say(CodeTrustKept, row.Name, v.value, "variable %s is already set, so the render did not change it: %s will not trust the CA unless that file has it", row.Name, row.Runtimes)
		}
	}
	if _, exists := a.in.findVariable(a.w, a.c, javaOptions); !exists {
		a.add(javaOptions, javaTruststore)
	}
	a.mountTrust()
}

// mountTrust mounts the trust volume, and, on request, the bundle over that of the system.
func (a *appEnv) mountTrust() {
	for _, m := range nodes.Items(nodes.At(a.c.Node, "volumeMounts")) {
		if at := path.Clean(nodes.StringAt(m, "mountPath")); at == contract.TrustDir || slices.Contains(systemBundles, at) && a.w.settings.MountKnownCA {
			*a.results = append(*a.results, result(CodeNameClash, a.w.Object, "container %s mounts volume %s at %s, where the trust files belong; mount it elsewhere", a.c.name(), nodes.StringAt(m, "name"), at).
				At(pathItem(a.c.path+".volumeMounts", at), nodes.StringAt(m, "name"), ""))
			return
		}
	}
	mounts, at := a.collection(a.c.Node, a.c.path, "volumeMounts", yaml.SequenceNode)
	a.appendItem(mounts, at, trustMount(true))
	if a.w.settings.MountKnownCA {
		for _, bundle := range systemBundles {
			a.appendItem(mounts, at, nodes.Mapping("name", contract.TrustVolume, "mountPath", bundle,
				"subPath", strings.TrimPrefix(contract.CABundle, contract.TrustDir+"/"), "readOnly", true))
		}
	}
}

func trustMount(readOnly bool) *yaml.Node {
	m := nodes.Mapping("name", contract.TrustVolume, "mountPath", contract.TrustDir)
	if readOnly {
		m.Content = append(m.Content, nodes.New("readOnly"), nodes.New(true))
	}
	return m
}
