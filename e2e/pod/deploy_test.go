package pod

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/e2e/istio"
)

// workload is a rendered Deployment or Job.
type workload struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Template corev1.PodTemplateSpec `json:"template"`
		batchv1.JobSpec
	}
}

// all reads the rendered objects of some kinds.
func all[T any](t *testing.T, r *rendered, kinds ...string) (found []T) {
	t.Helper()
	for _, doc := range strings.Split(r.manifests(), "\n---\n") {
		var meta metav1.TypeMeta
		if decode(t, doc, &meta); slices.Contains(kinds, meta.Kind) {
			var o T
			decode(t, doc, &o)
			found = append(found, o)
		}
	}
	return found
}

// part returns the workload of a part of the rendered replay, or nil if there is none.
func (r *rendered) part(t *testing.T, part string) (found *workload) {
	t.Helper()
	for _, w := range all[workload](t, r, "Deployment", "Job") {
		if w.Spec.Template.Labels[contract.LabelReplayPart] != part {
			continue
		}
		if found != nil {
			t.Fatalf("%s and %s are both the %s of a replay", found.Name, w.Name, part)
		}
		found = &w
	}
	return found
}

// Addresses of a replay's pods, and of its Services.
var (
	copyIP       = address{v4: "10.244.5.2"}
	responderIP  = address{v4: "10.244.6.2"}
	generatorIPs = []address{{v4: "10.244.7.2"}, {v4: "10.244.8.2"}, {v4: "10.244.9.2"}}
)

const replayServices = "10.96.1.%d"

// deployment is a rendered replay in the cluster after `kubectl apply`: each of
// its pods has a network, and nothing runs yet.
type deployment struct {
	*replaying
	copied, responder *replica   // nil if there is none
	shards            []*replica // the Job's
	uid               string     // the Job's
}

// deploy applies the rendered objects.
func (p *replaying) deploy(r *rendered) *deployment {
	t := p.t
	t.Helper()
	r = p.assign(r)
	d := &deployment{replaying: p, uid: uuid.NewString()}
	pods := map[string][]string{"app": {podIP.v4}, "dependency": {dependencyIP.v4}, "collector": {collectorIP.v4}}
	parts := map[string]*workload{}
	for part, at := range map[string]address{contract.PartCopy: copyIP, contract.PartResponder: responderIP, contract.PartGenerator: generatorIPs[0]} {
		if w := r.part(t, part); w != nil {
			parts[part], pods[w.Name] = w, []string{at.v4}
		}
	}
	mesh := *p.world
	mesh.dir = openDir(t)
	mesh.istio = istio.NewMesh(t, r.manifests(), registryOnly, pods)
	mesh.control = mesh.serveControl()
	if w := parts[contract.PartCopy]; w != nil {
		d.copied = p.newReplica(&mesh, w, w.Name+"-0", "copy", copyIP)
	}
	if w := parts[contract.PartResponder]; w != nil {
		d.responder = p.newReplica(&mesh, w, w.Name+"-0", "responder", responderIP)
		d.responder.place = true
	}
	if w := parts[contract.PartGenerator]; w != nil {
		d.shards = p.newShards(&mesh, w, d.uid)
	}
	for _, s := range all[corev1.Service](t, r, "Service") {
		for _, pod := range d.replicas() {
			d.route(s, pod)
		}
	}
	d.enforce(r)
	return d
}

// replicas returns all pods of the replay.
func (d *deployment) replicas() (pods []*replica) {
	for _, r := range append([]*replica{d.copied, d.responder}, d.shards...) {
		if r != nil {
			pods = append(pods, r)
		}
	}
	return pods
}

// assign gives the replay's Services addresses and names, like the API server and the
// cluster's DNS.
func (p *replaying) assign(r *rendered) *rendered {
	p.t.Helper()
	out, n := *r, 0
	out.objects = slices.Clone(r.objects)
	for i, o := range out.objects {
		if o.Kind != "Service" || o.Labels[contract.LabelReplay] == "" {
			continue
		}
		var service map[string]any
		decode(p.t, o.text, &service)
		n++
		ip := fmt.Sprintf(replayServices, n)
		service["spec"].(map[string]any)["clusterIP"] = ip
		text, err := yaml.Marshal(service)
		if err != nil {
			p.t.Fatal(err)
		}
		out.objects[i].text = string(text)
		for _, suffix := range []string{"", "." + o.Namespace, "." + o.Namespace + ".svc", "." + o.Namespace + ".svc.cluster.local"} {
			p.network.hosts[o.Name+suffix] = ip
		}
	}
	return &out
}

// route routes a Service to the pod that it selects, like kube-proxy.
func (d *deployment) route(s corev1.Service, pod *replica) {
	d.t.Helper()
	for key, value := range s.Spec.Selector {
		if pod.Spec.Template.Labels[key] != value || s.Namespace != pod.Namespace {
			return
		}
	}
	named := endpointOf("", "", pod.Spec.Template).ports
	for _, p := range s.Spec.Ports {
		to := p.TargetPort.IntVal
		if p.TargetPort.Type == intstr.String {
			to = named[p.TargetPort.StrVal]
		}
		if to == 0 {
			to = p.Port
		}
		rule := []string{"PREROUTING", "-d", s.Spec.ClusterIP, "-p", "tcp", "--dport", fmt.Sprint(p.Port), "-j", "DNAT", "--to-destination", fmt.Sprintf("%s:%d", pod.at, to)}
		d.node.exec(d.t, append([]string{"iptables", "-w", "-t", "nat", "-A"}, rule...)...)
		d.t.Cleanup(func() { d.node.exec(d.t, append([]string{"iptables", "-w", "-t", "nat", "-D"}, rule...)...) })
	}
}

// enforce puts the rendered NetworkPolicies into effect.
func (d *deployment) enforce(r *rendered) {
	d.t.Helper()
	at := map[string]string{"app": podIP.v4, "dependency": dependencyIP.v4, "collector": collectorIP.v4}
	var pods []endpoint
	for _, w := range all[workload](d.t, r, "Deployment") {
		if ip := at[w.Name]; ip != "" {
			pods = append(pods, endpointOf(w.Namespace, ip, w.Spec.Template))
		}
	}
	for _, pod := range d.replicas() {
		pods = append(pods, endpointOf(pod.Namespace, pod.at, pod.Spec.Template))
	}
	d.network.enforce(d.t, all[networkingv1.NetworkPolicy](d.t, r, "NetworkPolicy"), pods, nil)
}

// replica is one pod of a workload, in a separate network.
type replica struct {
	*replaying
	*workload
	namespace
	volumes
	mesh    *world // of the revision
	pod, at string
	facts   facts
	env     []corev1.EnvVar // added by the workload's controller
	place   bool            // its service account may use the bucket
	meshed  bool            // Istio's injector gave it an Envoy
	running map[string]*process
	said    map[string]string // file with a container's termination message
	envoy   *process
}

func (p *replaying) newReplica(mesh *world, w *workload, pod, name string, at address) *replica {
	p.t.Helper()
	r := &replica{
		replaying: p, workload: w, mesh: mesh, pod: pod, at: at.v4, namespace: p.network.join(p.t, name, at), facts: factsOf(at.v4),
		volumes: newVolumes(p.t, w.Spec.Template.Spec, p.secret), running: map[string]*process{}, said: map[string]string{},
	}
	r.mountClaims()
	maps.Copy(r.facts, facts{"metadata.name": pod, "metadata.namespace": w.Namespace, "spec.serviceAccountName": r.account()})
	for key, value := range w.Spec.Template.Labels {
		r.facts["metadata.labels['"+key+"']"] = value
	}
	admitted := mesh.istio.Pod(p.t, w.Name)
	r.meshed = slices.ContainsFunc(admitted.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "istio-init" })
	if r.meshed {
		r.namespace.intercept(p.t, admitted)
	}
	return r
}

// mountClaims mounts the only volume for all of the pod's volume claims. The kubelet gives it to
// the pod's group.
func (r *replica) mountClaims() {
	t := r.t
	t.Helper()
	for _, v := range r.Spec.Template.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		r.volumes[v.Name] = r.claim
		if s := r.Spec.Template.Spec.SecurityContext; s != nil && s.FSGroup != nil {
			run(t, "chgrp", "-R", fmt.Sprint(*s.FSGroup), r.claim)
			run(t, "chmod", "-R", "g+rwX", r.claim)
		}
	}
}

// newShards makes the pods of an Indexed Job, like its controller.
func (p *replaying) newShards(mesh *world, w *workload, uid string) (shards []*replica) {
	t := p.t
	t.Helper()
	job := w.Spec.JobSpec
	if job.CompletionMode == nil || *job.CompletionMode != batchv1.IndexedCompletion || job.Completions == nil || job.Parallelism == nil || *job.Completions != *job.Parallelism {
		t.Fatalf("%s is no Indexed Job whose pods all run at once: %+v", w.Name, job)
	}
	for i := range int(*job.Completions) {
		index := strconv.Itoa(i)
		r := p.newReplica(mesh, w, fmt.Sprintf("%s-%d-x2x4x", w.Name, i), fmt.Sprintf("generator%d", i), generatorIPs[i])
		maps.Copy(r.facts, facts{
			"metadata.labels['batch.kubernetes.io/controller-uid']":            uid,
			"metadata.labels['batch.kubernetes.io/job-name']":                  w.Name,
			"metadata.labels['batch.kubernetes.io/job-completion-index']":      index,
			"metadata.annotations['batch.kubernetes.io/job-completion-index']": index,
		})
		r.env, r.place = []corev1.EnvVar{{Name: contract.EnvShard, Value: index}}, true
		shards = append(shards, r)
	}
	return shards
}

// replacement returns a pod that replaces one that has ended, and whose Envoy still runs.
func (r *replica) replacement() *replica {
	r.t.Helper()
	next := *r
	next.pod += "-again"
	next.facts = maps.Clone(r.facts)
	next.facts["metadata.name"] = next.pod
	next.volumes, next.running, next.said = newVolumes(r.t, r.Spec.Template.Spec, r.secret), map[string]*process{}, map[string]string{}
	return &next
}

func (r *replica) account() string {
	if name := r.Spec.Template.Spec.ServiceAccountName; name != "" {
		return name
	}
	return "default"
}

// startEnvoy starts the pod's Envoy, if it has one.
func (r *replica) startEnvoy() {
	r.t.Helper()
	if !r.meshed {
		return
	}
	r.envoy = r.mesh.envoy(r.namespace, r.Name, "spiffe://cluster.local/ns/"+r.Namespace+"/sa/"+r.account())
}

// container returns how a rendered container is started.
func (r *replica) container(c corev1.Container) spec {
	r.t.Helper()
	root, program := "/", filepath.Join(bin, "app")
	if c.Image != shopImage {
		root, program = imageRoot(r.t), contract.Binary
	}
	c.Env = append(slices.Clone(c.Env), r.env...)
	s := r.volumes.spec(c, r.facts, root, program)
	if r.place {
		s = r.reachingBucket(s)
	}
	if root == "/" {
		return s // it says nothing at its end
	}
	r.said[c.Name] = filepath.Join(openDir(r.t), "termination-log")
	err := os.WriteFile(r.said[c.Name], nil, 0o666)
	if err = errors.Join(err, os.Chmod(r.said[c.Name], 0o666)); err != nil {
		r.t.Fatal(err)
	}
	s.Mounts = append(s.Mounts, mount{r.said[c.Name], contract.TerminationLog, false})
	return s
}

// envoyKind is how Istio's injector puts Envoy into a pod.
type envoyKind string

const (
	nativeEnvoy  envoyKind = "native"  // the first init container, which keeps running
	classicEnvoy envoyKind = "classic" // next to the application, first or last
)

// held reports whether the pod wants its containers to start after a classic Envoy.
func (r *replica) held() bool {
	var config struct{ HoldApplicationUntilProxyStarts bool }
	decode(r.t, r.Spec.Template.Annotations["proxy.istio.io/config"], &config)
	return config.HoldApplicationUntilProxyStarts
}

// start starts Envoy and the containers in the kubelet's order.
func (r *replica) start(envoy envoyKind) {
	r.t.Helper()
	if envoy == nativeEnvoy {
		r.startEnvoy()
	}
	r.startInit()
	if envoy == classicEnvoy && r.held() {
		r.startEnvoy()
	}
	r.startContainers()
	if envoy == classicEnvoy && !r.held() {
		r.startEnvoy()
	}
}

// startInit starts the init containers: each has ended, or has passed its startup probe,
// before the next begins.
func (r *replica) startInit() {
	t := r.t
	t.Helper()
	for _, c := range r.Spec.Template.Spec.InitContainers {
		s := r.container(c)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			r.run(c, s)
			r.passes("startup probe", s, c.StartupProbe)
			continue
		}
		if out, err := r.namespace.run(t, r.pod+" "+c.Name, s); err != nil {
			t.Fatalf("%s %s: %v\n%s", r.pod, c.Name, err, out)
		}
	}
}

// startContainers starts the other containers, each after the postStart hook of the one before.
func (r *replica) startContainers() {
	t := r.t
	t.Helper()
	for _, c := range r.Spec.Template.Spec.Containers {
		s := r.container(c)
		r.run(c, s)
		if c.Lifecycle != nil && c.Lifecycle.PostStart != nil {
			if out, err := r.namespace.run(t, "postStart", s.with(c.Lifecycle.PostStart.Exec.Command...)); err != nil {
				t.Fatalf("%s %s: postStart: %v\n%s", r.pod, c.Name, err, out)
			}
		}
	}
}

func (r *replica) run(c corev1.Container, s spec) {
	r.t.Helper()
	r.running[c.Name] = r.namespace.start(r.t, r.pod+" "+c.Name, s)
}

// passes waits until a probe succeeds, if there is one.
func (r *replica) passes(what string, s spec, probe *corev1.Probe) {
	r.t.Helper()
	if probe == nil {
		return
	}
	within(r.t, time.Minute, "the "+what+" of "+r.pod, func() bool {
		switch {
		case probe.Exec != nil:
			_, err := r.namespace.run(r.t, "probe", s.with(probe.Exec.Command...))
			return err == nil
		default:
			r.t.Fatalf("%s has a %s of another kind: %+v", r.pod, what, probe)
			return false
		}
	})
}

// end waits until a Job's container ends, and returns its exit code and its termination
// message.
func (r *replica) end(container string) (code int, message string) {
	t := r.t
	t.Helper()
	p := r.running[container]
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s did not end within two minutes", p.name)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		t.Fatal(p.err)
	}
	return p.ProcessState.ExitCode(), readFile(t, r.said[container])
}

// stop ends the pod.
func (r *replica) stop() {
	r.t.Helper()
	for name, p := range r.running {
		if err := p.stop(r.t); err != nil {
			r.t.Errorf("%s %s: %v", r.pod, name, err)
		}
	}
}
