package transformer

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// generator builds the Job that sends the recorded requests. It is an Indexed Job, and each of its
// pods sends a part. The template of a Job is immutable, so its name contains a hash of its whole spec.
func (in *input) generator(r *replay) ([]*Object, Results) {
	if !r.generates() {
		return nil, nil
	}
	targets := in.targets(r)
	var verdicts []*yaml.Node
	for code := 1; code <= lastVerdict; code++ {
		verdicts = append(verdicts, nodes.New(code))
	}
	spec := nodes.Mapping(
		"completionMode", "Indexed",
		"completions", r.Shards,
		"parallelism", r.Shards,
		"backoffLimitPerIndex", 0,
		"podFailurePolicy", nodes.Mapping("rules", nodes.Sequence(
			nodes.Mapping("action", "Ignore", "onPodConditions", nodes.Sequence(nodes.Mapping("type", "DisruptionTarget"))),
			// A missed goal must not be retried. Unless the rule names the container, it also applies
			// to exit codes of init containers.
			nodes.Mapping("action", "FailJob", "onExitCodes", nodes.Mapping("containerName", contract.GeneratorContainer, "operator", "In", "values", nodes.Sequence(verdicts...))),
		)),
		"template", in.replayTemplate(r, in.generatorPod(r, targets)),
	)
	job := r.object(contract.PartGenerator, "batch/v1", "Job", r.name[:len(r.name)-hashLength]+hashOf(r.name, plainValue(spec)), spec)
	annotations := nodes.At(job.Node, "metadata", "annotations")
	for _, key := range sortedKeys(r.Hooks) {
		nodes.Set(annotations, key, nodes.New(r.Hooks[key]))
	}
	return []*Object{job}, in.unverified(r, targets)
}

// lastVerdict is the last exit code with which `tapedeck replay` reports a verdict; the first is 1.
const lastVerdict = 6

// generatorGrace is the time, in seconds, in which a pod that must end can store its measurements.
const generatorGrace = 60

func (in *input) generatorPod(r *replay, targets []target) replayPod {
	secrets, key := in.redactKey()
	args := []string{"replay", in.snapshotArgument(r)}
	for _, t := range targets {
		args = append(args, flag("target", t.String()))
	}
	args = append(args, in.serverName(r, targets)...)
	args = append(args,
		"--wait-for-target",
		flag("envoy", in.envoy(r)),
		flag("meet", in.replayPlace().String()),
		// The UID keeps the results of this Job's pods apart from those of other Jobs.
		"--run="+r.name+"/$("+contract.EnvRun+")",
		"--shard=$("+contract.EnvShard+")/"+strconv.Itoa(r.Shards), // the Job controller sets the variable
		flag("progress-timeout", cmp.Or(r.Timeout, contract.DefaultReplayTimeout)),
	)
	if r.responds() {
		args = append(args, flag("responder", fmt.Sprintf("http://%s:%d", r.responderHost(), contract.ResponderAdminPort)))
	}
	args = append(args, r.selection(r.Tests)...)
	for i, name := range r.Secrets {
		dir := path.Join(contract.CredentialsDir, name)
		args = append(args, flag("credentials", path.Join(dir, contract.CredentialsName)))
		secrets = append(secrets, secretFiles{"tapedeck-credentials-" + strconv.Itoa(i), name, dir, []string{contract.CredentialsName}})
	}
	args = append(args, key...)
	args = append(args, flag("temp-dir", contract.WorkDir), flag("termination-log", contract.TerminationLog))
	if r.BuildTag != "" {
		args = append(args, flag("build-tag", r.BuildTag))
	}
	for _, f := range r.GeneratorFlags {
		args = append(args, literal(f))
	}
	if in.verifies(targets) {
		secrets = append(secrets, secretFiles{contract.UpstreamCAVolume, in.cfg.UpstreamCASecret, contract.UpstreamCADir, []string{upstreamCAKey}})
	}
	return replayPod{
		part: contract.PartGenerator, container: contract.GeneratorContainer,
		args:          args,
		env:           nodes.Sequence(nodes.Mapping("name", contract.EnvRun, "valueFrom", nodes.Mapping("fieldRef", nodes.Mapping("fieldPath", "metadata.labels['batch.kubernetes.io/controller-uid']")))),
		restartPolicy: "Never",
		grace:         generatorGrace,
		secrets:       secrets,
	}
}

// envoy returns how the generator treats an Envoy in its pod: "wait" if there will certainly be one, or
// else "auto", with which it looks for one.
func (in *input) envoy(r *replay) string {
	const revision = "istio.io/rev"
	if r.w == nil || in.ambient(r.w) != "" {
		return "auto"
	}
	_, asks := r.w.asksForEnvoy()
	namespace := in.namespaceLabels(r.namespace())
	if away, _ := in.outOfMesh(r.w); away == "" && (asks == "true" || r.w.podLabels()[revision] != "" || namespace["istio-injection"] == "enabled" || namespace[revision] != "") {
		return "wait"
	}
	return "auto"
}

// target is the destination of requests that were captured at one port of the application, or at any
// port.
type target struct {
	captured           int // 0 means any
	scheme, host, port string
	// name is the name in the certificate if it differs from the host, as for a Service; "" means the
	// host.
	name string
}

// address returns the target's URL.
func (t target) address() string {
	if t.port == "" {
		return t.scheme + "://" + t.host
	}
	return t.scheme + "://" + t.host + ":" + t.port
}

// String returns the target as a value of the flag.
func (t target) String() string {
	if t.captured == 0 {
		return t.address()
	}
	return strconv.Itoa(t.captured) + "=" + t.address()
}

// targets returns the destinations of a replay's requests: the ports of the copy's Service. Scheme,
// host and port of the URL each replace those of the Service. The first target receives the requests
// that match none of the others. Targets with the same address are merged.
func (in *input) targets(r *replay) (all []target) {
	url, of := r.url(), in.copyTargets(r)
	if url.host != "" { // it is not a host of the Service
		of = []target{{host: url.host}}
	}
	for i, t := range of {
		t.scheme, t.port = cmp.Or(url.scheme, t.scheme, "http"), cmp.Or(url.port, t.port)
		if i == 0 {
			t.captured = 0
		} else if t.address() == all[0].address() {
			continue
		}
		all = append(all, t)
	}
	return all
}

// checkProduction reports requests to a Service of the input, which production uses. For a replay in
// place, a Service that leads to the workload is the target itself.
func (in *input) checkProduction(r *replay) Results {
	host := strings.ToLower(r.url().host)
	if host == "" {
		return nil
	}
	for _, o := range in.byKind["/Service"] {
		s := service{Object: o}
		switch {
		case !slices.Contains(s.hosts(), host) || !strings.Contains(host, ".") && o.namespace() != r.namespace():
		case r.InPlace && slices.ContainsFunc(in.servicesOf(r.w), func(of *service) bool { return of.Object == o }):
		default:
			return Results{r.aboutURL(CodeReplayProduction, "the recorded requests go to %s of the input, which production uses, and would change its data; allowed: a URL of a test environment, or a workload without a host, so that a copy gets the requests", o.Ref())}
		}
	}
	return nil
}

// copyTargets returns the ports of the copy's Service. Each has the number of the application's port,
// by which recordings are matched to targets.
func (in *input) copyTargets(r *replay) (all []target) {
	for _, n := range r.ports {
		t := target{captured: n, host: r.copyHost(), port: strconv.Itoa(n)}
		if service, isTLS := in.speaksTLS(r, n); isTLS {
			t.scheme, t.name = "https", service
		}
		all = append(all, t)
	}
	return all
}

// appPort returns the application's port for a port of the pod, which is the sidecar's port if a Service
// was pointed at the sidecar.
func (w *workload) appPort(port int) int {
	for _, route := range w.settings.routes {
		if route.In == port {
			return route.App
		}
	}
	return port
}

// speaksTLS reports whether an application accepts TLS on a port: its sidecar has a certificate, or a
// Service or the port's name says so. It also returns the name that clients use.
func (in *input) speaksTLS(r *replay, app int) (name string, is bool) {
	tls := func(protocol string) bool { return protocol == "HTTPS" || protocol == "TLS" }
	captured := slices.ContainsFunc(r.copied.settings.routes, func(route contract.InRoute) bool { return route.App == app })
	is = captured && r.copied.injecting && r.copied.settings.inbound() && r.copied.settings.tlsIn().on()
	for _, c := range r.w.runningContainers() {
		for _, p := range nodes.Items(nodes.At(c.Node, "ports")) {
			is = is || isTCP(p) && nodes.Int(nodes.At(p, "containerPort")) == app && tls(istioProtocol("", nodes.StringAt(p, "name")))
		}
	}
	for _, s := range in.servicesOf(r.w) {
		if s.entry() || s.name() == r.name {
			continue
		}
		for _, p := range s.ports(r.w) {
			if r.w.appPort(p.target) != app {
				continue
			}
			is = is || tls(p.protocol)
			if name == "" {
				name = s.name()
				if s.namespace() != "" {
					name += "." + s.namespace() + ".svc"
				}
			}
		}
	}
	return name, is
}

// upstreamCAKey is the key of the Secret with additional roots.
const upstreamCAKey = "ca.crt"

// verifies reports whether a target has a certificate that needs the roots of upstreamCASecret.
func (in *input) verifies(targets []target) bool {
	return in.cfg.UpstreamCASecret != "" && slices.ContainsFunc(targets, target.secure)
}

func (t target) secure() bool { return t.scheme == "https" || t.scheme == "grpcs" }

// serverName returns the flags with which the generator verifies the copy's certificate, which has the
// names of the original.
func (in *input) serverName(r *replay, targets []target) (args []string) {
	for _, t := range targets {
		if t.secure() && t.name != "" {
			args = append(args, flag("tls-server-name", t.name))
			break
		}
	}
	if in.verifies(targets) {
		args = append(args, flag("tls-ca", path.Join(contract.UpstreamCADir, upstreamCAKey)))
	}
	return args
}

// unverified reports which certificate the copy must have.
func (in *input) unverified(r *replay, targets []target) Results {
	for _, t := range targets {
		if !t.secure() || r.copied == nil || t.host != r.copyHost() {
			continue
		}
		roots := "the public roots"
		if in.cfg.UpstreamCASecret != "" {
			roots = "ca.crt of Secret " + in.cfg.UpstreamCASecret
		}
		return Results{r.result(CodeReplayTLS, "requests go to %s over TLS. Its certificate must be for %s, and signed by a CA in %s. For another CA, set the option upstreamCASecret to a Secret with that CA", t.host, cmp.Or(t.name, t.host), roots)}
	}
	return nil
}
