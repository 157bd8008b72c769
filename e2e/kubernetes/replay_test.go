// Package kubernetes reads rendered objects into Kubernetes' own types, as strictly as its API
// server, and checks the pods with Pod Security.
package kubernetes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	names "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	psapi "k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kinds are the kinds of objects in a replay, except for Istio's.
var kinds = map[string]func() metav1.Object{
	"apps/v1 Deployment":                 func() metav1.Object { return &appsv1.Deployment{} },
	"batch/v1 Job":                       func() metav1.Object { return &batchv1.Job{} },
	"v1 Service":                         func() metav1.Object { return &corev1.Service{} },
	"v1 ConfigMap":                       func() metav1.Object { return &corev1.ConfigMap{} },
	"networking.k8s.io/v1 NetworkPolicy": func() metav1.Object { return &networkingv1.NetworkPolicy{} },
}

// build builds the command, and returns its path.
func build(t *testing.T) string {
	t.Helper()
	tapedeck := filepath.Join(t.TempDir(), "tapedeck")
	cmd := exec.Command("go", "build", "-o", tapedeck, "./cmd/tapedeck")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build tapedeck: %v\n%s", err, out)
	}
	return tapedeck
}

// render returns the rendered input, or nothing if the render fails.
func render(t *testing.T, tapedeck string, config, input []byte) []byte {
	t.Helper()
	args := []string{"render"}
	if config != nil {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, config, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", file)
	}
	cmd := exec.Command(tapedeck, args...)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out
}

// TestReplayObjects reads the objects of every replay among the renderer's cases. An unknown
// field, a value of another type and a name or a label that Kubernetes refuses fail; so does
// a pod that Pod Security's `restricted` refuses, and a selector that misses its pods.
func TestReplayObjects(t *testing.T) {
	files, err := filepath.Glob("../../fn/testdata/render/replay-*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	evaluator, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tapedeck := build(t)
	seen := map[string]int{}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sections := map[string][]byte{}
		for _, part := range archive.Files {
			sections[part.Name] = part.Data
		}
		out := render(t, tapedeck, sections["config.yaml"], sections["input.yaml"])
		for _, doc := range strings.Split(string(out), "\n---\n") {
			var meta metav1.PartialObjectMetadata
			if err := yaml.Unmarshal([]byte(doc), &meta); err != nil || meta.Annotations["tapedeck.dev/created-for"] == "" {
				continue
			}
			kind := meta.APIVersion + " " + meta.Kind
			if kinds[kind] == nil {
				continue
			}
			seen[kind]++
			t.Run(fmt.Sprintf("%s %s", strings.TrimSuffix(filepath.Base(file), ".txtar"), meta.Kind+"/"+meta.Name), func(t *testing.T) {
				o := kinds[kind]()
				text, err := yaml.YAMLToJSONStrict([]byte(doc))
				if err != nil {
					t.Fatal(err)
				}
				unknown, err := json.UnmarshalStrict(text, o) // names of fields have a case, unlike encoding/json's
				if err != nil || len(unknown) > 0 {
					t.Fatal(err, unknown)
				}
				checkMeta(t, o)
				checkObject(t, o, func(p corev1.PodTemplateSpec) {
					for _, r := range evaluator.EvaluatePod(psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}, &p.ObjectMeta, &p.Spec) {
						if !r.Allowed {
							t.Errorf("Pod Security refuses it: %s (%s)", r.ForbiddenReason, r.ForbiddenDetail)
						}
					}
				})
			})
		}
	}
	for _, kind := range []string{"apps/v1 Deployment", "batch/v1 Job", "v1 Service", "networking.k8s.io/v1 NetworkPolicy"} {
		if seen[kind] == 0 {
			t.Errorf("no case has a %s", kind)
		}
	}
}

// checkMeta checks an object's name, labels and annotations.
func checkMeta(t *testing.T, o metav1.Object) {
	t.Helper()
	for _, err := range validation.ValidateLabels(o.GetLabels(), field.NewPath("metadata", "labels")) {
		t.Error(err)
	}
	for key := range o.GetAnnotations() {
		for _, problem := range names.IsQualifiedName(strings.ToLower(key)) {
			t.Errorf("annotation %s: %s", key, problem)
		}
	}
	for _, problem := range names.IsDNS1123Subdomain(o.GetName()) {
		t.Errorf("name %s: %s", o.GetName(), problem)
	}
}

// checkObject checks an object of each kind as Kubernetes does.
func checkObject(t *testing.T, o metav1.Object, restricted func(corev1.PodTemplateSpec)) {
	t.Helper()
	selects := func(selector *metav1.LabelSelector, labels map[string]string) {
		if s, err := metav1.LabelSelectorAsSelector(selector); err != nil || s.Empty() || labels != nil && !s.Matches(labelSet(labels)) {
			t.Errorf("selector %v of pods with %v: %v", selector, labels, err)
		}
	}
	switch o := o.(type) {
	case *appsv1.Deployment:
		selects(o.Spec.Selector, o.Spec.Template.Labels)
		checkPod(t, o.Spec.Template)
		if o.Labels["tapedeck.dev/replay-part"] == "responder" { // a copy is like the original
			restricted(o.Spec.Template)
		}
	case *batchv1.Job:
		checkPod(t, o.Spec.Template)
		restricted(o.Spec.Template)
		checkJob(t, o)
	case *corev1.Service:
		for _, problem := range names.IsDNS1035Label(o.Name) {
			t.Errorf("name %s: %s", o.Name, problem)
		}
		if len(o.Spec.Selector) == 0 || len(o.Spec.Ports) == 0 {
			t.Errorf("it has the selector %v and the ports %v", o.Spec.Selector, o.Spec.Ports)
		}
		for _, p := range o.Spec.Ports {
			for _, problem := range slices.Concat(names.IsDNS1123Label(p.Name), names.IsValidPortNum(int(p.Port))) {
				t.Errorf("port %s: %s", p.Name, problem)
			}
		}
	case *networkingv1.NetworkPolicy:
		selects(&o.Spec.PodSelector, nil)
	}
}

// checkJob makes the checks of Indexed Jobs (pkg/apis/batch/validation of Kubernetes).
func checkJob(t *testing.T, o *batchv1.Job) {
	t.Helper()
	s := o.Spec
	if s.CompletionMode == nil || *s.CompletionMode != batchv1.IndexedCompletion || s.Completions == nil || s.Parallelism == nil || *s.Completions != *s.Parallelism {
		t.Fatalf("it is no Indexed Job whose pods all run at once: %+v", s)
	}
	for _, problem := range names.IsDNS1123Label(fmt.Sprintf("%s-%d", o.Name, *s.Completions-1)) {
		t.Errorf("the last pod's host name: %s", problem)
	}
	if s.BackoffLimitPerIndex == nil || s.Template.Spec.RestartPolicy != corev1.RestartPolicyNever || s.PodFailurePolicy == nil {
		t.Fatalf("it tries again: %+v", s)
	}
	if s.Selector != nil || s.ManualSelector != nil || s.TTLSecondsAfterFinished != nil {
		t.Errorf("it has its own selector, or is deleted when it has ended: %+v", s)
	}
	for _, rule := range s.PodFailurePolicy.Rules {
		codes := rule.OnExitCodes
		switch {
		case (codes == nil) == (len(rule.OnPodConditions) == 0):
			t.Errorf("a rule needs exit codes or conditions: %+v", rule)
		case codes == nil:
		case codes.Operator != batchv1.PodFailurePolicyOnExitCodesOpIn || slices.Contains(codes.Values, 0) || !slices.IsSorted(codes.Values) || len(slices.Compact(slices.Clone(codes.Values))) != len(codes.Values):
			t.Errorf("exit codes must be in order, once each, and not 0: %+v", codes)
		case codes.ContainerName == nil || !slices.ContainsFunc(s.Template.Spec.Containers, func(c corev1.Container) bool { return c.Name == *codes.ContainerName }):
			t.Errorf("the rule is about no container of the pod: %+v", codes)
		}
	}
}

// checkPod checks labels, names, mounts and resources as Kubernetes does.
func checkPod(t *testing.T, p corev1.PodTemplateSpec) {
	t.Helper()
	for _, err := range validation.ValidateLabels(p.Labels, field.NewPath("spec", "template", "metadata", "labels")) {
		t.Error(err)
	}
	volumes := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		if volumes[v.Name] || len(names.IsDNS1123Label(v.Name)) > 0 {
			t.Errorf("volume %s stands there twice, or has a wrong name", v.Name)
		}
		volumes[v.Name] = true
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		at := map[string]bool{}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] || at[m.MountPath] || strings.Contains(m.MountPath, ":") {
				t.Errorf("container %s mounts %s at %s", c.Name, m.Name, m.MountPath)
			}
			at[m.MountPath] = true
		}
		for _, port := range c.Ports {
			for _, problem := range names.IsValidPortName(port.Name) {
				if port.Name != "" {
					t.Errorf("port %s of container %s: %s", port.Name, c.Name, problem)
				}
			}
		}
		for _, v := range c.Env {
			for _, problem := range names.IsEnvVarName(v.Name) {
				t.Errorf("variable %s: %s", v.Name, problem)
			}
		}
		for name, request := range c.Resources.Requests {
			if limit, ok := c.Resources.Limits[name]; ok && request.Cmp(limit) > 0 {
				t.Errorf("container %s requests more %s than its limit", c.Name, name)
			}
		}
	}
}

// labelSet has labels in the form that selectors read.
type labelSet map[string]string

func (l labelSet) Has(label string) bool              { _, ok := l[label]; return ok }
func (l labelSet) Get(label string) string            { return l[label] }
func (l labelSet) Lookup(label string) (string, bool) { v, ok := l[label]; return v, ok }
