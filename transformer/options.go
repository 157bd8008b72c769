package transformer

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/spelling"
)

// Config has the options of a render. The zero value is not valid; start from
// DefaultConfig.
type Config struct {
	Image           string
	ImagePullPolicy string
	// ImageContract is the image's version of package contract.
	ImageContract int
	Sidecar       string
	Inbound       string
	Strict        bool
	CASecret      string
	// UpstreamCASecret is "" if the public roots are enough.
	UpstreamCASecret string
	Sink             string
	SinkSize         string
	SinkTokenSecret  string
	SinkPlainHTTP    bool
	BodyLimit        string
	OpaqueBytes      bool
	RedactHeaders    []string
	Redact           []string
	// RedactKeySecret is "" if each process makes a separate key.
	RedactKeySecret string
	LogLevel        string
	Cluster         string
	RunAsUser       int
	RunAsGroup      int
	NoProxy         []string
	CaptureNoProxy  string
	CaptureHosts    string

	// ReplayPlace holds the snapshots and receives the reports; "" without replays.
	ReplayPlace string
	// ReplayClaim names the volume claim that a directory as a place needs.
	ReplayClaim string
	// ReplayServiceAccount is the account of generators and responders; "" is the namespace's default
	// account. ReplayCopyAccount is the account of copies; "" is the original's account.
	ReplayServiceAccount string
	ReplayCopyAccount    string
	ReplayPassthrough    []string
	ReplayVolumes        string
	// ReplayRequests and ReplayLimits have the form NAME=QUANTITY, and apply to generators and
	// responders.
	ReplayRequests, ReplayLimits []string

	Namespace             string
	ServiceEntry          string
	ServiceEntryHosts     []string
	Egress                []string
	OutboundTrafficPolicy string
	IstioAPIVersion       string
	MendVirtualServices   bool
	Operator              string

	// Defaults maps the names of annotations, without prefix, to their values in workloads that don't
	// set them. A default of inject requests the sidecar for all workloads.
	Defaults map[string]string
}

// Values of Config.Sidecar, Inbound, CaptureNoProxy, Operator and ReplayVolumes.
const (
	sidecarNative  = "native"
	sidecarClassic = "classic"

	inboundSidecar = "sidecar"
	inboundService = "service"
	inboundNone    = "none"

	captureAuto = "auto"

	operatorIgnore = "ignore"

	volumesKeep  = "keep"
	volumesEmpty = "emptyDir"
)

// PresetSpeedscaleCloud is the ServiceEntry preset that opens the hosts of
// Speedscale's own cloud.
const PresetSpeedscaleCloud = "speedscale-cloud"

// Option is one row of the table of options. Parsing, docs/configuration.md and the JSON
// Schema of the functionConfig are made from it.
type Option struct {
	// Name is the option's name in the functionConfig and after --set.
	Name    string
	Kind    Kind
	Default string
	Doc     string

	target func(*Config) any
}

// Options returns the table, in the order in which the reference shows it.
func Options() []Option { return options }

var imageKind = Kind{Name: "image", Allowed: "an image reference such as registry.example/tapedeck:v1, or one with @sha256: and 64 hexadecimal digits", Pattern: imageReference.String(), check: checkImage}
var imageContractKind = Kind{Name: "number", Allowed: fmt.Sprintf("a whole number from 1 to %d", contract.Version), Pattern: `^[0-9]+$`, check: checkImageVersion}
var namespaceKind = patternKind("namespace", "a namespace's name", `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
var egressKind = Kind{Name: "list", Allowed: "hosts as Istio's Sidecar takes them, such as ./* or istio-system/*, separated by commas", check: checkEgress}
var hostsKind = Kind{Name: "list", Allowed: "host names, *.example.com included, separated by commas", check: checkHosts}
var redactKind = Kind{Name: "list", Allowed: contract.RedactionAllowed, check: func(v string) error { _, err := contract.ParseRedaction(v); return err }}
var sinkKind = Kind{Name: "URL", Allowed: "file:///directory, without . or .. in it, or https://host[:port] or http://host[:port] of a collector", Pattern: `^(file:///[^:?#%]+|https?://[^/?#%@]+)$`, check: checkSink, hidden: true}

var replayPlaceKind = Kind{Name: "place", Allowed: "s3://bucket/prefix, gs://bucket/prefix, azblob://container/prefix, or file:///directory with the option replayClaim", check: checkReplayPlace, hidden: true}
var claimKind = patternKind("claim name", "the name of a PersistentVolumeClaim in the workload's namespace", `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
var accountKind = patternKind("service account", "the name of a ServiceAccount in the workload's namespace", `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
var passthroughKind = Kind{Name: "list", Allowed: "HOST, HOST:PORT or *.HOST, separated by commas", check: checkPassthrough}

var options = []Option{
	{"image", imageKind, contract.Image, "Image of the sidecar, by tag or by digest. The default is the image of the same version as tapedeck, so an upgrade restarts every workload. To [upgrade in steps](upgrades.md), pin the image.", func(c *Config) any { return &c.Image }},
	{"imageContract", imageContractKind, strconv.Itoa(contract.Version), "Contract version of a pinned image, as its `tapedeck version` prints it; 1 if it prints none. The render writes only what such an image understands, and reports an error for settings that need a newer one.", func(c *Config) any { return &c.ImageContract }},
	{"imagePullPolicy", enumKind("", "Always", "IfNotPresent", "Never"), "", "Pull policy of that image; if unset, Kubernetes chooses it.", func(c *Config) any { return &c.ImagePullPolicy }},
	{"sidecar", enumKind(sidecarNative, sidecarClassic), sidecarNative, "`native` makes the sidecar an init container with restartPolicy Always (Kubernetes 1.29 and later): it starts before the application and lets Jobs end. `classic` makes it an ordinary container.", func(c *Config) any { return &c.Sidecar }},
	{"inbound", enumKind(inboundSidecar, inboundService, inboundNone), inboundSidecar, "How inbound traffic reaches the sidecar: `sidecar` writes an Istio Sidecar, `service` points the Service's targetPort at it (no mesh, ambient, excluded ports), `none` writes nothing, so you must do it.", func(c *Config) any { return &c.Inbound }},
	{"strict", boolKind, "false", "Report as errors: workloads that request the sidecar and are skipped; unknown annotations, and annotations on kinds that Tapedeck doesn't render; unknown fields of Istio objects, TrafficReplays and test configs; snapshots without a digest; and egress that may not be inherited.", func(c *Config) any { return &c.Strict }},
	{"caSecret", secretKind, "speedscale-certs", "Secret with the CA's tls.crt and tls.key, in the workload's namespace; used with tls-out.", func(c *Config) any { return &c.CASecret }},
	{"upstreamCASecret", secretKind, "", "Secret whose ca.crt holds further roots, in the workload's namespace. With tls-out, upstreams with certificates from a private CA need it.", func(c *Config) any { return &c.UpstreamCASecret }},
	{"sink", sinkKind, contract.DefaultSink, "Where recordings go: a directory in the pod, or a [collector](collector.md). The default is an emptyDir volume of the pod, which also buffers recordings for a collector. A host of one or two labels is a Service, as in collector.speedscale.", func(c *Config) any { return &c.Sink }},
	{"sinkTokenSecret", secretKind, "tapedeck-collector-token", "Secret whose `token` is what `tapedeck collect token` prints, in the workload's namespace; used with a collector. While the Secret is missing, recordings wait in the pod.", func(c *Config) any { return &c.SinkTokenSecret }},
	{"sinkPlainHTTP", boolKind, "false", "Send to a collector by http:// even if no mesh encrypts the connection. Bodies and the token are then sent in clear text.", func(c *Config) any { return &c.SinkPlainHTTP }},
	{"sinkSize", sizeKind, "", "How much the sidecar keeps in the pod. Beyond that, it deletes the oldest recordings. If unset, 1Gi, or as much as ephemeral-storage-limit allows; 0 means no limit.", func(c *Config) any { return &c.SinkSize }},
	{"bodyLimit", sizeKind, "", "How much of each body or message the sidecar records; 1Mi if unset, and 0 for nothing.", func(c *Config) any { return &c.BodyLimit }},
	{"opaqueBytes", boolKind, "false", "Record the bytes of streams in protocols that have no decoder. They may contain logins, which the sidecar can't redact. With `false` it records only their sizes and times.", func(c *Config) any { return &c.OpaqueBytes }},
	{"redactHeaders", listKind, "", "Headers and URL parameters that the sidecar redacts besides the usual ones.", func(c *Config) any { return &c.RedactHeaders }},
	{"redact", redactKind, "", "What the sidecar redacts besides secrets: `email`, `phone` (numbers that begin with `+`), and `grpc`, which leaves out the bytes of gRPC messages and keeps their sizes.", func(c *Config) any { return &c.Redact }},
	{"redactKeySecret", secretKind, "", "Secret whose `key` holds 16 bytes or more, in the workload's namespace. Sidecars with the same key give equal secrets equal tokens. If the option is unset or the Secret is missing, each process makes a separate [key](recording-format.md#keys).", func(c *Config) any { return &c.RedactKeySecret }},
	{"logLevel", enumKind("debug", "info", "warn", "error"), "info", "Log level of the sidecar.", func(c *Config) any { return &c.LogLevel }},
	{"cluster", textKind, "", "Name of the cluster, written into every record.", func(c *Config) any { return &c.Cluster }},
	{"runAsUser", numberKind, "2102", "User ID of the sidecar, not 1337. With 0 the platform chooses it, as OpenShift requires.", func(c *Config) any { return &c.RunAsUser }},
	{"runAsGroup", numberKind, "2102", "Group ID of the sidecar, not 1337. With 0 the platform chooses it.", func(c *Config) any { return &c.RunAsGroup }},
	{"noProxy", listKind, "", "Hosts that the application reaches directly, added to NO_PROXY.", func(c *Config) any { return &c.NoProxy }},
	{"captureNoProxy", enumKind(captureAuto, "true", "false"), captureAuto, "Capture calls to the hosts in the application's NO_PROXY too. The sidecar connects to them directly, bypassing a proxy that it chains to. With `auto` it does so if the application has a proxy, since its NO_PROXY is about that proxy. The sidecar respects a NO_PROXY without a proxy.", func(c *Config) any { return &c.CaptureNoProxy }},
	{"captureHosts", captureHostsKind, "", "Hosts to capture in every workload, although it ignores its proxy variables. The annotation `tapedeck.dev/capture-hosts` of a workload overrides the option. A workload leaves out hosts that it can't capture, such as one whose port the pod uses.", func(c *Config) any { return &c.CaptureHosts }},
	{"namespace", namespaceKind, "speedscale", "Namespace of the collector. The render allows it in every egress list that it writes, and puts the ServiceEntry there.", func(c *Config) any { return &c.Namespace }},
	{"serviceEntry", enumKind("", PresetSpeedscaleCloud), "", "Preset of hosts to allow with a ServiceEntry, for meshes with REGISTRY_ONLY.", func(c *Config) any { return &c.ServiceEntry }},
	{"serviceEntryHosts", hostsKind, "", "Further hosts to allow with that ServiceEntry, on port 443.", func(c *Config) any { return &c.ServiceEntryHosts }},
	{"egress", egressKind, "", "Egress hosts of the generated Istio Sidecars, if the input has no Sidecar to copy them from.", func(c *Config) any { return &c.Egress }},
	{"outboundTrafficPolicy", enumKind("", "ALLOW_ANY", "REGISTRY_ONLY"), "", "Outbound policy of the generated Istio Sidecars, if the input has no Sidecar to copy it from; if unset, the mesh's policy applies.", func(c *Config) any { return &c.OutboundTrafficPolicy }},
	{"istioAPIVersion", enumKind("", "v1", "v1beta1", "v1alpha3"), "", "Version of networking.istio.io to write; if unset, that of the input, or v1 if the input has none.", func(c *Config) any { return &c.IstioAPIVersion }},
	{"mendVirtualServices", boolKind, "false", "Add the Service's host and the gateway mesh to a VirtualService that exposes it only outside the mesh, and the Service as a parent to such an HTTPRoute or GRPCRoute. The render does so only if that can break no call.", func(c *Config) any { return &c.MendVirtualServices }},
	{"operator", enumKind("", operatorIgnore), "", "With `ignore`, the render writes operator.speedscale.com/ignore: \"true\" beside each inject annotation, so a Speedscale operator that still runs ignores rendered workloads. A later render distinguishes that annotation from one that you wrote.", func(c *Config) any { return &c.Operator }},
	{"replayPlace", replayPlaceKind, "", "Where [replays](cluster-replay.md) read snapshots and write reports: a bucket, or a directory on the volume of `replayClaim`. Replays need it.", func(c *Config) any { return &c.ReplayPlace }},
	{"replayClaim", claimKind, "", "PersistentVolumeClaim in the workload's namespace to mount at the directory of `replayPlace`. Several nodes mount it, so its access mode must be ReadWriteMany.", func(c *Config) any { return &c.ReplayClaim }},
	{"replayServiceAccount", accountKind, "", "Service account of generators and responders, which must be allowed to read and write `replayPlace`; if unset, the namespace's default.", func(c *Config) any { return &c.ReplayServiceAccount }},
	{"replayCopyServiceAccount", accountKind, "", "Service account of copies; if unset, that of the original, which the responder then admits too.", func(c *Config) any { return &c.ReplayCopyAccount }},
	{"replayPassthrough", passthroughKind, "", "Hosts that responders may reach where the snapshot has no answer, as HOST, HOST:PORT or *.HOST.", func(c *Config) any { return &c.ReplayPassthrough }},
	{"replayRequests", resourceListKind, "cpu=100m,memory=128Mi", "Requests of each pod of a generator and a responder. A generator of many requests per second needs more.", func(c *Config) any { return &c.ReplayRequests }},
	{"replayLimits", resourceListKind, "", "Limits of each such pod. No request may exceed its limit.", func(c *Config) any { return &c.ReplayLimits }},
	{"replayVolumes", enumKind(volumesKeep, volumesEmpty), volumesKeep, "How a copy mounts a writable PersistentVolumeClaim. With `keep` the render reports an error, since the copy would write into the original's data. `emptyDir` gives the copy an empty volume instead.", func(c *Config) any { return &c.ReplayVolumes }},
}

// DefaultConfig returns the configuration with all defaults.
func DefaultConfig() Config {
	c := Config{Defaults: map[string]string{}}
	for _, o := range options {
		if o.Default != "" {
			if err := o.Kind.store(o.target(&c), o.Default); err != nil {
				panic("option " + o.Name + ": " + err.Error()) // the table is wrong, not the input
			}
		}
	}
	return c
}

// Set sets an option, or the default of an annotation, by name. It is not
// safe for concurrent use, nor are SetOption and SetDefault.
func (c *Config) Set(name, value string) error {
	if option(name) != nil {
		return c.SetOption(name, value)
	}
	if a, _ := annotation(bareName(name)); a != nil {
		return c.SetDefault(name, value)
	}
	if isReplayName(name) {
		return fmt.Errorf("annotation %s can't have a default, because it configures the replay of one workload; allowed: on the workload", name)
	}
	return fmt.Errorf("no option or annotation is named %s%s; allowed: the names of docs/configuration.md and docs/annotations.md", name, didYouMean(name, append(optionNames(), annotationNames()...)))
}

// SetOption sets an option by name.
func (c *Config) SetOption(name, value string) error {
	o := option(name)
	if o == nil {
		return fmt.Errorf("no option is named %s%s; allowed: the names of docs/configuration.md, and annotations under defaults", name, didYouMean(name, optionNames()))
	}
	if err := o.Kind.store(o.target(c), value); err != nil {
		return fmt.Errorf("option %s: %w", name, err)
	}
	return nil
}

// SetDefault sets the default of an annotation, by its name with or without its
// prefix.
func (c *Config) SetDefault(name, value string) error {
	name = bareName(name)
	a, former := annotation(name)
	switch {
	case a == nil && isReplayName(name):
		return fmt.Errorf("annotation %s can't have a default, because it configures the replay of one workload; allowed: on the workload", name)
	case a == nil:
		return fmt.Errorf("no annotation is named %s%s; allowed: the names of docs/annotations.md", name, didYouMean(name, annotationNames()))
	case former:
		return fmt.Errorf("%s is an old spelling; allowed: %s", name, a.Name)
	}
	if err := a.Kind.Check(value); err != nil {
		return fmt.Errorf("default of annotation %s: %w", name, err)
	}
	c.Defaults[name] = value
	return nil
}

// Validate checks the user and group IDs, which SetOption does not check.
func (c *Config) Validate() error {
	if c.RunAsUser == contract.EnvoyUID || c.RunAsGroup == contract.EnvoyUID {
		return fmt.Errorf("options runAsUser and runAsGroup: found %d, which belongs to Envoy and lets traffic bypass the mesh; allowed: any other number", contract.EnvoyUID)
	}
	return nil
}

// option finds a row of the table of options, or nil.
func option(name string) *Option {
	for i := range options {
		if options[i].Name == name {
			return &options[i]
		}
	}
	return nil
}

func optionNames() []string {
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.Name
	}
	return names
}

func annotationNames() []string {
	names := make([]string, len(annotations))
	for i, a := range annotations {
		names[i] = a.Name
	}
	return names
}

// annotation finds a row of the table by its name or by a former spelling.
func annotation(name string) (row *Annotation, former bool) {
	for i := range annotations {
		if annotations[i].Name == name {
			return &annotations[i], false
		}
	}
	for i := range annotations {
		for _, f := range annotations[i].Former {
			if f == name {
				return &annotations[i], true
			}
		}
	}
	return nil, false
}

func checkEgress(v string) error {
	for _, host := range splitList(v) {
		if ns, dns, ok := strings.Cut(host, "/"); !ok || ns == "" || dns == "" {
			return fmt.Errorf("%q has no namespace before it", host)
		}
	}
	return nil
}

var imageReference = regexp.MustCompile(`^[a-z0-9][^\s]*$`)

func checkImage(v string) error {
	_, digest, pinned := strings.Cut(v, "@")
	switch {
	case !imageReference.MatchString(v):
		return errors.New("not an image reference")
	case pinned && !imageDigest.MatchString(digest):
		return errors.New("not a digest")
	}
	return nil
}

var imageDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func checkImageVersion(v string) error {
	if n, err := strconv.Atoi(v); err != nil || n < 1 || n > contract.Version {
		return errors.New("not a contract version that this render knows")
	}
	return nil
}

// checkReplayPlace rejects places that pods can't share. Replays can't write to a collector, and a
// relative directory is not on a volume.
func checkReplayPlace(v string) error {
	p, err := contract.ParsePlace(v)
	switch {
	case v == "":
		return nil
	case err != nil:
		return err
	case p.IsCollector():
		return errors.New("a collector, to which replays can't write")
	case p.IsDir() && !strings.HasPrefix(p.Path, "/"):
		return errors.New("a relative directory")
	}
	return nil
}

func checkPassthrough(v string) error {
	for _, host := range splitList(v) {
		name, port, hasPort := strings.Cut(strings.TrimPrefix(host, "*."), ":")
		if !hostName.MatchString(name) || hasPort && checkPort(port) != nil {
			return fmt.Errorf("%q is not a host with or without a port", host)
		}
	}
	return nil
}

func checkHosts(v string) error {
	for _, host := range splitList(v) {
		if !hostName.MatchString(strings.TrimPrefix(host, "*.")) {
			return fmt.Errorf("%q is not a host name", host)
		}
	}
	return nil
}

// didYouMean suggests the nearest of a few names, if one is near.
func didYouMean(name string, names []string) string {
	meant := spelling.Meant(name, names)
	if meant == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", meant)
}

// Clone returns a copy that can be set without changing the original.
func (c Config) Clone() Config {
	c.Defaults = maps.Clone(c.Defaults)
	return c
}
