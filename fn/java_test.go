package fn_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/transformer"
)

// asksJava prints, for each URL, the proxy that Java's own clients use, and the
// properties that its arguments name.
const asksJava = `
import java.net.*;
public class Asks {
	public static void main(String[] args) throws Exception {
		for (String arg : args) {
			if (!arg.contains("://")) {
				System.out.println(arg + "=" + System.getProperty(arg));
				continue;
			}
			Proxy p = ProxySelector.getDefault().select(new URI(arg)).get(0);
			System.out.println(arg + " " + (p.type() == Proxy.Type.DIRECT ? "direct" : ((InetSocketAddress) p.address()).getHostString() + ":" + ((InetSocketAddress) p.address()).getPort()));
		}
	}
}`

// A JVM follows the rendered JAVA_TOOL_OPTIONS: it uses the sidecar except for the hosts of
// NO_PROXY, and keeps the application's own options, including their quotes.
func TestJavaReadsWhatIsRendered(t *testing.T) {
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("java is not installed")
	}
	input := strings.Replace(shop, "tapedeck.dev/capture-hosts: auto", "tapedeck.dev/java-proxy: \"true\"", 1) +
		environment("NO_PROXY=.internal,*.example.org,example.com,10.0.0.0/8,::1", `JAVA_TOOL_OPTIONS=-Dquoted="a b" -Dhttp.nonProxyHosts=*.own`)
	out, _ := render(t, input)
	m := regexp.MustCompile(`name: JAVA_TOOL_OPTIONS, value: "(.*)"\}`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no JAVA_TOOL_OPTIONS:\n%s", out)
	}
	options := strings.NewReplacer(`\"`, `"`, "$(KUBERNETES_SERVICE_HOST)", "10.96.0.1").Replace(string(m[1]))
	source := filepath.Join(t.TempDir(), "Asks.java")
	if err := os.WriteFile(source, []byte(asksJava), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = `https://api.example.net/ 127.0.0.1:4140
http://api.example.net/ 127.0.0.1:4140
http://orders:8080/ 127.0.0.1:4140
https://example.com/ direct
https://www.example.com/ direct
https://notexample.com/ 127.0.0.1:4140
https://a.internal/ direct
https://a.example.org/ direct
https://10.96.0.1/ direct
https://10.1.2.3/ 127.0.0.1:4140
http://localhost:9000/ direct
http://127.0.0.1:9000/ direct
http://[::1]:9000/ direct
http://169.254.169.254/ direct
https://kubernetes.default.svc/ direct
https://a.own/ direct
quoted=a b
`
	args := []string{source}
	for line := range strings.Lines(want) {
		arg, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ := strings.Cut(arg, "=")
		args = append(args, name)
	}
	cmd := exec.CommandContext(t.Context(), java, args...)
	cmd.Env = append(os.Environ(), "JAVA_TOOL_OPTIONS="+options)
	got, err := cmd.Output()
	if err != nil || string(got) != want {
		t.Errorf("JAVA_TOOL_OPTIONS=%s: %v\n%s\nwant\n%s", options, err, got, want)
	}
}

// A proxy that is already in JAVA_TOOL_OPTIONS remains unchanged, and a result says so, unless it is
// the sidecar for both protocols.
func TestOtherProxiesOfJavaAreSaid(t *testing.T) {
	const sidecar = "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=4140 -Dhttps.proxyHost=localhost -Dhttps.proxyPort=4140"
	for options, said := range map[string]bool{
		sidecar: false,
		strings.ReplaceAll(sidecar, "4140", "3128"):               true,
		"-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=4140":        true,
		sidecar + " -Dhttps.proxyHost=proxy.example":              true,
		strings.ReplaceAll(sidecar, "-Dhttps.proxyPort=4140", ""): true,
		"-Dhttps.proxyHost=proxy.example":                         true,
	} {
		for _, name := range []string{"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"} {
			input := strings.Replace(shop, "tapedeck.dev/capture-hosts: auto", "tapedeck.dev/java-proxy: \"true\"", 1) + environment(name+"="+options)
			_, results := render(t, input)
			kept := slices.ContainsFunc(results, func(r transformer.Result) bool { return r.Code() == transformer.CodeJavaKept })
			if kept != said {
				t.Errorf("%s=%s: %v, want %v\n%s", name, options, kept, said, report(t, results))
			}
		}
	}
}
