package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// source is the input of a caller: the same application in each form.
type source struct {
	kustomization string
	manifests     []byte
	chart         chart
}

// rendering is the output of a caller.
type rendering struct {
	// before and after are the output of the caller without and with Tapedeck.
	before, after []byte
	// report holds the results: the report file, or what the caller keeps.
	// It is empty if the caller keeps none.
	report []byte
}

// caller is one way to run Tapedeck.
type caller struct {
	name string
	// need skips the test if the machine lacks something.
	need func(t *testing.T)
	// render runs the caller twice, without and with Tapedeck.
	render func(t *testing.T, from source) rendering
	// keepsText means that the caller passes the text on unchanged: every line
	// of before is then in after. Others print it again, and keep the comments.
	keepsText bool
	// keepsOrder means that a created object remains where Tapedeck put it: right
	// after its workload. Others sort, append or write it to a separate file.
	keepsOrder bool
	// keepsResults means that the caller shows the results of a successful run.
	keepsResults bool
}

func callers() []caller {
	return []caller{
		{name: "pipe", render: pipe, keepsText: true, keepsOrder: true, keepsResults: true},
		{name: "kubectl kustomize pipe", need: needKubectl, render: kubectlPipe, keepsText: true, keepsOrder: true, keepsResults: true},
		{name: "render -k", render: renderK, keepsText: true, keepsOrder: true, keepsResults: true},
		{name: "kustomize exec", render: kustomize(execFunction)},
		{name: "kustomize container", need: needDocker, render: kustomize(containerFunction)},
		{name: "kpt render exec", need: needKpt, render: kptRender(execFunction), keepsResults: true},
		{name: "kpt render container", need: needKptAndDocker, render: kptRender(containerFunction), keepsResults: true},
		{name: "kpt eval exec", need: needKpt, render: kptEval(execFunction), keepsResults: true},
		{name: "kpt eval container", need: needKptAndDocker, render: kptEval(containerFunction), keepsResults: true},
		{name: "helm 3", render: helm3, keepsText: true, keepsOrder: true, keepsResults: true},
		{name: "helm 4", render: helm4, keepsText: true, keepsResults: true},
	}
}

func needKubectl(t *testing.T) { t.Helper(); needPath(t, "kubectl") }

func needKpt(t *testing.T) { t.Helper(); needPath(t, "kpt") }

func needKptAndDocker(t *testing.T) { t.Helper(); needKpt(t); needDocker(t) }

// runtime is how a KRM caller runs a function.
type runtime int

const (
	execFunction runtime = iota
	containerFunction
)

// config is the functionConfig of every caller. It names the image of the test, so
// that the tests show that every caller honours it. The place is for replays.
const config = `apiVersion: tapedeck.dev/v1alpha1
kind: Tapedeck
metadata:
  name: tapedeck
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  image: ` + sidecarImage + "\n  replayPlace: " + replayPlace + "\n"

const (
	sidecarImage = "registry.example.com/tapedeck:1.2.3"
	replayPlace  = "s3://recordings/shop"
)

func writeConfig(t *testing.T, dir string) string {
	write(t, dir, map[string]string{"tapedeck.yaml": config})
	return filepath.Join(dir, "tapedeck.yaml")
}

func pipe(t *testing.T, from source) rendering {
	dir := t.TempDir()
	report := filepath.Join(dir, "report.json")
	after := run(t, dir, from.manifests, tapedeck, "render", "--config", writeConfig(t, dir), "--report", report).ok(t)
	return rendering{from.manifests, after, read(t, report)}
}

// kubectlPipe is the pipe for users who have only kubectl's kustomize.
func kubectlPipe(t *testing.T, from source) rendering {
	built := run(t, from.kustomization, nil, needPath(t, "kubectl"), "kustomize", ".").ok(t)
	return pipe(t, source{manifests: built})
}

// renderK builds the kustomization in process. The output is that of a pipe from
// kustomize.
func renderK(t *testing.T, from source) rendering {
	dir := t.TempDir()
	copyDir(t, dir, from.kustomization)
	config, report := writeConfig(t, t.TempDir()), filepath.Join(t.TempDir(), "report.json")
	before := kustomizeBuild(t, dir).ok(t)
	after := run(t, dir, nil, tapedeck, "render", "-k", ".", "--config", config, "--report", report).ok(t)
	if piped := run(t, dir, before, tapedeck, "render", "--config", config).ok(t); !bytes.Equal(piped, after) {
		t.Errorf("render -k gives other bytes than a pipe from kustomize:\n%s", firstDifference(piped, after))
	}
	return rendering{before, after, read(t, report)}
}

// kustomize names Tapedeck as a transformer of the kustomization.
func kustomize(as runtime) func(*testing.T, source) rendering {
	return func(t *testing.T, from source) rendering {
		dir := t.TempDir()
		copyDir(t, dir, from.kustomization)
		before := kustomizeBuild(t, dir).ok(t)
		addTransformer(t, dir, as)
		return rendering{before: before, after: kustomizeBuild(t, dir).ok(t)}
	}
}

func kustomizeBuild(t *testing.T, dir string) result {
	t.Helper()
	return run(t, dir, nil, tool(t, "kustomize"), "build", "--enable-alpha-plugins", "--enable-exec", ".")
}

func addTransformer(t *testing.T, dir string, as runtime) {
	t.Helper()
	how := "exec:\n        path: " + tapedeck
	if as == containerFunction {
		how = "container:\n        image: " + image
	}
	transformer := strings.Replace(config, `config.kubernetes.io/local-config: "true"`,
		"config.kubernetes.io/function: |\n      "+how, 1)
	kustomization := string(read(t, filepath.Join(dir, "kustomization.yaml")))
	write(t, dir, map[string]string{
		"tapedeck.yaml":      transformer,
		"kustomization.yaml": kustomization + "transformers: [tapedeck.yaml]\n",
	})
}

// kptRender names Tapedeck in a package's pipeline, and renders in place.
func kptRender(as runtime) func(*testing.T, source) rendering {
	return func(t *testing.T, from source) rendering {
		dir := kptPackage(t, from.manifests, pipeline(as))
		before := packageYAML(t, dir)
		results := t.TempDir()
		kptFnRender(t, dir, results).ok(t)
		return rendering{before, packageYAML(t, dir), read(t, filepath.Join(results, "results.yaml"))}
	}
}

func pipeline(as runtime) string {
	how := "exec: " + tapedeck
	if as == containerFunction {
		how = "image: " + image
	}
	return "pipeline:\n  mutators:\n  - " + how + "\n    configPath: tapedeck.yaml\n"
}

func kptFnRender(t *testing.T, dir, results string) result {
	t.Helper()
	return run(t, dir, nil, needPath(t, "kpt"), "fn", "render", ".", "--allow-exec", "--results-dir", results)
}

// kptEval runs Tapedeck once over a package, with options on the command line.
func kptEval(as runtime) func(*testing.T, source) rendering {
	return func(t *testing.T, from source) rendering {
		dir := kptPackage(t, from.manifests, "")
		before := packageYAML(t, dir)
		results := t.TempDir()
		how := []string{"--exec", tapedeck}
		if as == containerFunction {
			how = []string{"--image", image}
		}
		args := append([]string{"fn", "eval", ".", "--results-dir", results}, how...)
		run(t, dir, nil, needPath(t, "kpt"), append(args, "--", "image="+sidecarImage, "replayPlace="+replayPlace)...).ok(t)
		return rendering{before, packageYAML(t, dir), read(t, filepath.Join(results, "results.yaml"))}
	}
}

func kptPackage(t *testing.T, manifests []byte, pipeline string) string {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Kptfile":       "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: app\n" + pipeline,
		"app/main.yaml": string(manifests),
	})
	writeConfig(t, dir)
	return dir
}

// packageYAML returns the package's manifests as one stream, in the order of
// their files.
func packageYAML(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "app/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var docs [][]byte
	for _, file := range files {
		docs = append(docs, read(t, file))
	}
	return bytes.Join(docs, []byte("---\n"))
}

// helmTemplate renders a chart with everything Helm keeps under home. The
// chart's tests are left out: podinfo gives them random names.
func helmTemplate(t *testing.T, home, helm string, c chart, args ...string) result {
	t.Helper()
	return helmIn(t, home, helm, append([]string{"template", "app", c.dir, "--values", c.values,
		"--namespace", "apps", "--kube-version", "1.33.0", "--skip-tests"}, args...)...)
}

// helmIn runs Helm with everything it keeps under home.
func helmIn(t *testing.T, home, helm string, args ...string) result {
	t.Helper()
	env := []string{"HELM_CACHE_HOME=" + home + "/cache", "HELM_CONFIG_HOME=" + home + "/config", "HELM_DATA_HOME=" + home + "/data"}
	return runEnv(t, home, env, nil, tool(t, helm), args...)
}

// helm3 gets the program's path.
func helm3(t *testing.T, from source) rendering {
	home := t.TempDir()
	report := filepath.Join(home, "report.json")
	before := helmTemplate(t, home, "helm3", from.chart).ok(t)
	after := helmTemplate(t, home, "helm3", from.chart, postRenderer(tapedeck,
		"render", "--config", writeConfig(t, home), "--report", report)...).ok(t)
	return rendering{before, after, read(t, report)}
}

// helm4 gets the name of an installed plugin. Helm 4 prints the output of a
// post-renderer again, so one that returns its input gives before.
func helm4(t *testing.T, from source) rendering {
	home := t.TempDir()
	installPlugin(t, home)
	identity := filepath.Join(home, "identity")
	write(t, identity, map[string]string{"plugin.yaml": identityPlugin})
	helmIn(t, home, "helm4", "plugin", "install", identity).ok(t)

	report := filepath.Join(home, "report.json")
	before := helmTemplate(t, home, "helm4", from.chart, postRenderer("identity")...).ok(t)
	after := helmTemplate(t, home, "helm4", from.chart,
		postRenderer("tapedeck", "--config", writeConfig(t, home), "--report", report)...).ok(t)
	return rendering{before, after, read(t, report)}
}

const identityPlugin = `apiVersion: v1
type: postrenderer/v1
name: identity
version: 0.1.0
runtime: subprocess
runtimeConfig:
  platformCommand:
  - command: cat
`

// installPlugin installs the plugin from its directory, like its users.
func installPlugin(t *testing.T, home string) {
	t.Helper()
	dir := filepath.Join(home, "tapedeck")
	write(t, dir, map[string]string{"plugin.yaml": string(read(t, filepath.Join(repo, "plugin/plugin.yaml")))})
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(tapedeck, filepath.Join(dir, "bin/tapedeck")); err != nil {
		t.Fatal(err)
	}
	helmIn(t, home, "helm4", "plugin", "install", dir).ok(t)
}

// postRenderer spells the flags of a post-renderer and its arguments.
func postRenderer(name string, args ...string) []string {
	flags := []string{"--post-renderer", name}
	for _, arg := range args {
		flags = append(flags, "--post-renderer-args", arg)
	}
	return flags
}
