package transformer

// Runtime is one row of the table of runtimes and clients, and of the ways in which their outbound
// calls reach the sidecar. docs/outbound.md shows the table. A test compares Tested with the
// end-to-end tests.
type Runtime struct {
	// Name is the runtime or the client, with its version if that matters.
	Name string
	// Variables reports whether the rendered proxy variables are enough.
	Variables bool
	// Flags is an annotation, or a setting of the application, that makes it use the proxy; "" if
	// there is none.
	Flags string
	// HostsFile reports whether tapedeck.dev/capture-hosts captures it.
	HostsFile bool
	// Trust says what makes it trust the CA with tls-out; "" if it does not use TLS by default.
	Trust string
	// Tested lists, separated by commas, the programs that the end-to-end tests run in a pod with
	// Istio's iptables; "" if there are none.
	Tested string
}

// Runtimes returns the table, in the order of the page.
func Runtimes() []Runtime { return runtimes }

var runtimes = []Runtime{
	{"curl, wget, git", true, "", true, "`CURL_CA_BUNDLE`, `SSL_CERT_FILE`, `GIT_SSL_CAINFO`", "curl, git"},
	{"Go, net/http's default transport", true, "", true, "`SSL_CERT_FILE`", "Go"},
	{"Go with `Proxy: nil`, or a custom transport", false, "", true, "`SSL_CERT_FILE`", "Go without a proxy"},
	{"Python: requests, httpx, urllib", true, "", true, "`REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE`", "requests, httpx"},
	{"Python: aiohttp", false, "`trust_env=True`", true, "`SSL_CERT_FILE`", ""},
	{"Node.js from 22.21 and 24 on: fetch, http, https", true, "", true, "`NODE_EXTRA_CA_CERTS`", ""},
	{"Earlier versions of Node.js", false, "the library global-agent", true, "`NODE_EXTRA_CA_CERTS`", "Node, Node without a proxy"},
	{"Java: HttpURLConnection, java.net.http, and users of ProxySelector, such as OkHttp and gRPC", false, "`tapedeck.dev/java-proxy`", true, "`tapedeck.dev/java-proxy`, `tls-java-tool-options`", "Java, Java with java-proxy, Java without flags"},
	{"Java: Apache HttpClient, Reactor Netty and Spring's WebClient", false, "`tapedeck.dev/java-proxy`, and a client that is built to read system properties", true, "`tapedeck.dev/java-proxy`, `tls-java-tool-options`", ""},
	{"Java: JDBC drivers, Kafka and others that open sockets", false, "", true, "as above, unless the driver has a separate truststore", ""},
	{"Ruby net/http, PHP curl, .NET HttpClient, Rust reqwest", true, "", true, "`SSL_CERT_FILE`", ""},
	{"gRPC for Go, C++, Python, Ruby, C# and PHP", true, "", true, "`SSL_CERT_FILE`, `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`", ""},
	{"psql, libpq and programs that use it", false, "", true, "", "psql"},
	{"redis-cli and clients of Redis", false, "", true, "", "redis-cli"},
	{"drivers of MySQL, MongoDB, Kafka, AMQP, NATS, LDAP", false, "", true, "", ""},
	{"programs that query DNS themselves, such as dig and Node's dns.resolve", false, "", false, "", ""},
	{"programs that connect to addresses instead of names", false, "", false, "", ""},
}
