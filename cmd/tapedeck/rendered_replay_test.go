package main

import (
	"log/slog"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/mock/front"
	"github.com/tapedeck/tapedeck/mock/passthrough"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/report"
)

// podOfReplay is the spec of a pod of a generator or a responder.
type podOfReplay struct {
	Containers []struct {
		Name          string
		Command, Args []string
		Env           []struct{ Name string }
		VolumeMounts  []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
		StartupProbe   execProbe `yaml:"startupProbe"`
		ReadinessProbe execProbe `yaml:"readinessProbe"`
	}
	Volumes []struct {
		Name   string
		Secret struct{ Items []struct{ Path string } }
	}
}

type execProbe struct{ Exec struct{ Command []string } }

// The commands accept the arguments and the probes that the renderer's own cases write. The pod
// mounts every file that an argument names.
func TestCommandsTakeWhatIsRendered(t *testing.T) {
	seen := map[string]int{}
	for name, objects := range renderedCases(t) {
		for _, o := range objects {
			which := o.GetLabels()[contract.LabelReplayPart]
			if which != contract.PartGenerator && which != contract.PartResponder || o.GetKind() != "Job" && o.GetKind() != "Deployment" {
				continue
			}
			seen[which]++
			t.Run(name+" "+which, func(t *testing.T) { checkPodOfReplay(t, which, o) })
		}
	}
	if seen[contract.PartGenerator] < 2 || seen[contract.PartResponder] < 2 {
		t.Errorf("found %v in the cases", seen)
	}
}

func checkPodOfReplay(t *testing.T, part string, o *yaml.RNode) {
	var pod podOfReplay
	spec, err := o.Pipe(yaml.Lookup("spec", "template", "spec"))
	if err == nil {
		err = spec.YNode().Decode(&pod)
	}
	if err != nil || len(pod.Containers) != 1 {
		t.Fatalf("%d containers: %v", len(pod.Containers), err)
	}
	c := pod.Containers[0]
	name, want := contract.GeneratorContainer, "replay"
	if part == contract.PartResponder {
		name, want = contract.ResponderContainer, "mock"
	}
	if c.Name != name || len(c.Command) != 1 || c.Command[0] != contract.Binary || c.Args[0] != want {
		t.Fatalf("container %s runs %q %q", c.Name, c.Command, c.Args)
	}
	known := map[string]string{contract.EnvShard: "0"} // Kubernetes adds it to the pods of an Indexed Job
	for _, v := range c.Env {
		known[v.Name] = "0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e"
	}
	var args []string
	for _, a := range c.Args {
		args = append(args, reference.ReplaceAllStringFunc(a, func(ref string) string {
			if ref == "$$" {
				return "$"
			}
			value, ok := known[strings.Trim(ref, "$()")]
			if !ok {
				t.Errorf("%s is not a variable of the container", ref)
			}
			return value
		}))
	}
	cmd := parsedCommand(t, args)
	if t.Failed() {
		return
	}
	checkSnapshotOf(t, cmd)
	var wrong []error
	check := func(err error) {
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	texts := func(flag string) []string {
		all, err := cmd.Flags().GetStringArray(flag)
		check(err)
		return all
	}
	text := func(flag string) string {
		value, err := cmd.Flags().GetString(flag)
		check(err)
		return value
	}
	switch part {
	case contract.PartGenerator:
		checkVerdicts(t, o)
		for _, text := range texts("fail-if") {
			_, err := goal.Parse(text)
			check(err)
		}
		targets, err := parseTargets(texts("target"))
		check(err)
		if len(targets) == 0 {
			t.Error("no target")
		}
		timeout, err := cmd.Flags().GetDuration("progress-timeout")
		check(err)
		cluster := clusterFlags{meet: text("meet"), id: text("run"), shard: text("shard"), progressTimeout: timeout, envoy: text("envoy"), responder: text("responder")}
		g, err := cluster.parse()
		check(err)
		if !g.meets() || !contract.IsReplayID(path.Base(cluster.id)) {
			t.Errorf("shards meet at %q for run %q", cluster.meet, cluster.id)
		}
	case contract.PartResponder:
		for _, address := range append(texts("listen"), text("admin")) {
			_, err := front.ParseListen(address)
			check(err)
		}
		_, err := passthrough.New(texts("passthrough"), nil, slog.New(slog.DiscardHandler))
		check(err)
		for _, probe := range [][]string{c.StartupProbe.Exec.Command, c.ReadinessProbe.Exec.Command} {
			if len(probe) == 0 || probe[0] != contract.Binary {
				t.Errorf("the probe is %q", probe)
				continue
			}
			if probed := parsedCommand(t, probe[1:]); probed.Name() != "healthz" {
				t.Errorf("the probe runs %s", probed.Name())
			}
		}
	}
	for _, err := range wrong {
		t.Error(err)
	}
	checkFiles(t, pod, args)
}

// checkVerdicts checks that a Job retries no verdict.
func checkVerdicts(t *testing.T, o *yaml.RNode) {
	t.Helper()
	var policy struct {
		Rules []struct {
			Action      string
			OnExitCodes struct{ Values []int } `yaml:"onExitCodes"`
		}
	}
	n, err := o.Pipe(yaml.Lookup("spec", "podFailurePolicy"))
	if err == nil {
		err = n.YNode().Decode(&policy)
	}
	if err != nil {
		t.Fatal(err)
	}
	var ends []int
	for _, rule := range policy.Rules {
		if rule.Action == "FailJob" {
			ends = append(ends, rule.OnExitCodes.Values...)
		}
	}
	slices.Sort(ends)
	if want := []int{report.GoalsMissed, report.CouldNotRun, report.NewDifferences, report.MockMisses, report.GeneratorBound, report.Incomplete}; !slices.Equal(ends, want) {
		t.Errorf("exit codes %v end the Job, want %v", ends, want)
	}
}

// parsedCommand returns the command that some arguments run.
func parsedCommand(t *testing.T, args []string) *cobra.Command {
	t.Helper()
	cmd, rest, err := newRoot().Find(args)
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("tapedeck %q: %v", args, err)
	}
	return cmd
}

func checkSnapshotOf(t *testing.T, cmd *cobra.Command) {
	t.Helper()
	ref, err := contract.ParseSnapshotRef(cmd.Flags().Arg(0))
	if err != nil || ref.Place == (contract.Place{}) {
		t.Errorf("%s is not a snapshot in a place: %v", cmd.Flags().Arg(0), err)
	}
}

// checkFiles checks that the files that flags name are mounted, and that a Secret has them.
func checkFiles(t *testing.T, pod podOfReplay, args []string) {
	t.Helper()
	brought := map[string]bool{"/dev": true}
	for _, m := range pod.Containers[0].VolumeMounts {
		brought[m.MountPath] = true
		for _, v := range pod.Volumes {
			for _, item := range v.Secret.Items {
				if v.Name == m.Name {
					brought[path.Join(m.MountPath, item.Path)] = true
				}
			}
		}
	}
	for _, a := range args {
		flag, value, _ := strings.Cut(a, "=")
		files := map[string][]string{
			"--ca": {path.Join(value, "tls.crt"), path.Join(value, "tls.key")}, "--temp-dir": {value}, "--termination-log": {path.Dir(value)},
			"--redact-key": {value}, "--credentials": {value}, "--tls-ca": {value},
		}[flag]
		if flag == "--meet" && strings.HasPrefix(value, "/") {
			files = []string{value}
		}
		if i := slices.IndexFunc(files, func(file string) bool { return !brought[file] }); i >= 0 {
			t.Errorf("nothing brings %s of %s", files[i], a)
		}
	}
}
