package transformer

// Runtime is one row of the table of what applications are written with and how their
// outbound calls reach the sidecar: the source of the table in docs/outbound.md. A
// test compares what the rows say is tested with what the tests run.
type Runtime struct {
	// Name is the runtime or the client, with its version where that matters.
	Name string
	// Variables tells that the proxy variables, as they are rendered, are enough.
	Variables bool
	// Flags is what else makes it use the proxy: an annotation or a setting of the
	// application's own; "" for nothing.
	Flags string
	// HostsFile tells that tapedeck.dev/capture-hosts captures it.
	HostsFile bool
	// Trust is how it comes to trust the CA, with tls-out; "" where it speaks no TLS of
	// its own accord.
	Trust string
	// Tested names what the end-to-end tests run of it in a pod with Istio's iptables, with
	// commas; "" for nothing.
	Tested string
}

// Runtimes returns the table, in the order in which the page shows it.
func Runtimes() []Runtime { return runtimes }

var runtimes = []Runtime{
	{"curl, wget, git", true, "", true, "`CURL_CA_BUNDLE`, `SSL_CERT_FILE`, `GIT_SSL_CAINFO`", "curl, git"},
	{"Go, net/http's default transport", true, "", true, "`SSL_CERT_FILE`", "Go"},
	{"Go with `Proxy: nil`, or a transport of its own", false, "", true, "`SSL_CERT_FILE`", "Go without a proxy"},
	{"Python: requests, httpx, urllib", true, "", true, "`REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE`", "requests, httpx"},
	{"Python: aiohttp", false, "`trust_env=True`", true, "`SSL_CERT_FILE`", ""},
	{"Node.js from 22.21 and 24 on: fetch, http, https", true, "", true, "`NODE_EXTRA_CA_CERTS`", ""},
	{"Node.js before that", false, "the library global-agent", true, "`NODE_EXTRA_CA_CERTS`", "Node, Node without a proxy"},
	{"Java: HttpURLConnection, java.net.http, and what asks ProxySelector, such as OkHttp and gRPC", false, "`tapedeck.dev/java-proxy`", true, "`tapedeck.dev/java-proxy`, `tls-java-tool-options`", "Java, Java with java-proxy, Java without flags"},
	{"Java: Apache HttpClient, Reactor Netty and Spring's WebClient", false, "`tapedeck.dev/java-proxy`, and a client that is built to read system properties", true, "`tapedeck.dev/java-proxy`, `tls-java-tool-options`", ""},
	{"Java: JDBC drivers, Kafka and others that open sockets", false, "", true, "as above, unless the driver has a store of its own", ""},
	{"Ruby net/http, PHP curl, .NET HttpClient, Rust reqwest", true, "", true, "`SSL_CERT_FILE`", ""},
	{"gRPC for Go, C++, Python, Ruby, C# and PHP", true, "", true, "`SSL_CERT_FILE`, `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`", ""},
	{"psql, libpq and what is built on it", false, "", true, "", "psql"},
	{"redis-cli and clients of Redis", false, "", true, "", "redis-cli"},
	{"drivers of MySQL, MongoDB, Kafka, AMQP, NATS, LDAP", false, "", true, "", ""},
	{"programs that ask DNS themselves, such as dig and Node's dns.resolve", false, "", false, "", ""},
	{"programs that are given addresses, and no names", false, "", false, "", ""},
}
