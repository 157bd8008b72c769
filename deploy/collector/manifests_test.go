// Package collector_test compares the collector's manifests with the code: the ports, the image and the
// labels of package contract, and the hosts that each overlay opens. `go test ./deploy/collector
// -update` writes the files with the hosts.
package collector_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn/kustomization"
	"github.com/tapedeck/tapedeck/transformer"
)

var update = flag.Bool("update", false, "write the hosts of the overlays")

// namespace is the namespace of the collector.
const namespace = "speedscale"

// store is the store of one overlay.
type store struct {
	overlay string
	// settings of store.yaml, as it is and otherwise.
	settings, others map[string]string
	place            func(map[string]string) string
}

// hosts returns the hosts that a client of the store calls.
func (s store) hosts(settings map[string]string) []transformer.External {
	place, err := contract.ParsePlace(s.place(settings))
	if err != nil {
		panic(err) // a wrong table
	}
	out := transformer.PlaceHosts(place)
	for i := range out {
		out[i].Name = "collector-" + out[i].Name
	}
	return out
}

// stores lists the overlays.
var stores = []store{
	{
		overlay:  "s3",
		settings: map[string]string{"bucket": "tapedeck-recordings", "region": "eu-central-1", "role": "arn:aws:iam::111122223333:role/tapedeck-collector"},
		others:   map[string]string{"bucket": "shop.recordings", "region": "us-east-1", "role": "arn:aws:iam::444455556666:role/other"},
		place:    func(s map[string]string) string { return "s3://" + s["bucket"] + "/?region=" + s["region"] },
	},
	{
		overlay:  "gcs",
		settings: map[string]string{"bucket": "tapedeck-recordings", "serviceAccount": "tapedeck-collector@project.iam.gserviceaccount.com"},
		others:   map[string]string{"bucket": "shop_recordings", "serviceAccount": "other@project.iam.gserviceaccount.com"},
		place:    func(s map[string]string) string { return "gs://" + s["bucket"] },
	},
	{
		overlay:  "azure",
		settings: map[string]string{"container": "recordings", "account": "tapedeckrecordings", "clientID": "00000000-0000-0000-0000-000000000000"},
		others:   map[string]string{"container": "shop", "account": "shopaccount", "clientID": "6ba7b810-9dad-41d1-80b4-00c04fd430c8"},
		place: func(s map[string]string) string {
			return "azblob://" + s["container"] + "/?storage_account=" + s["account"]
		},
	},
}

// egress returns the hosts of the collector's Sidecar: istiod, and each host of the store.
func egress(open []transformer.External) []string {
	out := []string{"istio-system/*"}
	for _, x := range open {
		for _, h := range x.Hosts {
			out = append(out, "./"+h)
		}
	}
	return out
}

const generated = "# Generated from the table of stores by `go test ./deploy/collector -update`.\n"

// TestTheHostsOfTheOverlays writes, and compares, the files with what an overlay opens.
func TestTheHostsOfTheOverlays(t *testing.T) {
	for _, s := range stores {
		t.Run(s.overlay, func(t *testing.T) {
			open := s.hosts(s.settings)
			var entries []string
			for _, x := range open {
				text, err := yaml.String(x.ServiceEntry(namespace))
				if err != nil {
					t.Fatal(err)
				}
				entries = append(entries, text)
			}
			sidecar := "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata:\n  name: collector\nspec:\n  egress:\n  - hosts:\n    - " + strings.Join(egress(open), "\n    - ") + "\n"
			for name, text := range map[string]string{"hosts.yaml": strings.Join(entries, "---\n"), "sidecar.yaml": sidecar} {
				file := filepath.Join("overlays", s.overlay, name)
				if *update {
					if err := os.WriteFile(file, []byte(generated+text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				have, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(generated+text, string(have)); diff != "" {
					t.Errorf("%s is not what the table says; run go test ./deploy/collector -update (-table +file):\n%s", file, diff)
				}
			}
		})
	}
}

// TestStoreSettingsReachEveryPlace builds each overlay with its settings and with others,
// and finds the values wherever the store stands, and the former ones nowhere.
func TestStoreSettingsReachEveryPlace(t *testing.T) {
	for _, s := range stores {
		for name, settings := range map[string]map[string]string{"as it is": s.settings, "with other settings": s.others} {
			t.Run(s.overlay+" "+name, func(t *testing.T) {
				dir := copyTree(t)
				file := filepath.Join(dir, "overlays", s.overlay, "store.yaml")
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				changed := string(text)
				for key, value := range settings {
					changed = regexp.MustCompile(`(?m)^  `+key+`: .*$`).ReplaceAllString(changed, "  "+key+": "+value)
				}
				if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
					t.Fatal(err)
				}
				objects, built := build(t, filepath.Join(dir, "overlays", s.overlay))

				var entries []string
				for _, o := range objects {
					if o.GetKind() == "ServiceEntry" {
						entries = append(entries, o.MustString())
					}
				}
				var want []string
				for _, x := range s.hosts(settings) {
					want = append(want, yaml.NewRNode(x.ServiceEntry(namespace)).MustString())
				}
				slices.Sort(entries)
				slices.Sort(want)
				if diff := cmp.Diff(parsed(t, want), parsed(t, entries)); diff != "" {
					t.Errorf("what is opened (-table +built):\n%s", diff)
				}
				for path, value := range map[string]any{
					"Sidecar/collector spec.egress.0.hosts":                                                   any(egress(s.hosts(settings))),
					"Deployment/collector spec.template.spec.containers.0.env.[name=PLACE].value":             s.place(settings),
					"CronJob/compact spec.jobTemplate.spec.template.spec.containers.0.env.[name=PLACE].value": s.place(settings),
				} {
					if got := at(t, objects, path); fmt.Sprint(got) != fmt.Sprint(value) {
						t.Errorf("%s: %v, want %v", path, got, value)
					}
				}
				if place, err := contract.ParsePlace(s.place(settings)); err != nil || place.IsDir() {
					t.Errorf("%s is no bucket: %v", s.place(settings), err)
				}
				for key, former := range s.settings {
					if strings.Contains(built, former) && settings[key] != former {
						t.Errorf("the former %s %s is left", key, former)
					}
					if !strings.Contains(built, settings[key]) {
						t.Errorf("the %s %s is nowhere", key, settings[key])
					}
				}
				for _, rest := range []string{"kind: PersistentVolumeClaim", "persistentVolumeClaim:", "name: store", "/var/lib/tapedeck"} {
					if strings.Contains(built, rest) {
						t.Errorf("%s is left", rest)
					}
				}
			})
		}
	}
}

// TestTheManifestsAgreeWithTheContract compares the manifests with the contract, which renders and
// sidecars use.
func TestTheManifestsAgreeWithTheContract(t *testing.T) {
	for _, dir := range []string{"base", "overlays/s3", "overlays/gcs", "overlays/azure"} {
		t.Run(dir, func(t *testing.T) {
			objects, built := build(t, dir)
			for path, want := range map[string]any{
				"Service/collector spec.ports.0.port":                                                                    contract.CollectorPort,
				"Service/collector spec.ports.0.targetPort":                                                              contract.CollectorPort,
				"Service/collector spec.selector.[" + contract.LabelCollector + "]":                                      contract.CollectorName,
				"Deployment/collector spec.template.metadata.labels.[" + contract.LabelCollector + "]":                   contract.CollectorName,
				"Deployment/collector spec.template.spec.containers.0.image":                                             transformer.DefaultConfig().Image,
				"CronJob/compact spec.jobTemplate.spec.template.spec.containers.0.image":                                 transformer.DefaultConfig().Image,
				"Deployment/collector spec.template.spec.containers.0.ports.0.containerPort":                             contract.CollectorPort,
				"Deployment/collector spec.template.spec.containers.0.ports.1.containerPort":                             contract.CollectorAdminPort,
				"Deployment/collector spec.template.spec.containers.0.args.2":                                            fmt.Sprintf("--listen=:%d", contract.CollectorPort),
				"Deployment/collector spec.template.spec.containers.0.args.3":                                            fmt.Sprintf("--read=127.0.0.1:%d", contract.CollectorReadPort),
				"Deployment/collector spec.template.spec.containers.0.args.4":                                            fmt.Sprintf("--admin=:%d", contract.CollectorAdminPort),
				"NetworkPolicy/collector spec.ingress.0.from.0.podSelector.matchLabels.[" + contract.LabelInjected + "]": "true",
				"AuthorizationPolicy/collector spec.rules.0.to.0.operation.paths.0":                                      contract.SegmentsPath + "*",
				"Namespace/speedscale metadata.name":                                                                     transformer.DefaultConfig().Namespace,
			} {
				if got := at(t, objects, path); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: %v, want %v", path, got, want)
				}
			}
			if strings.Contains(built, "kind: Secret") {
				t.Error("the key is in the manifests: it belongs to whoever deploys")
			}
		})
	}
}

// TestTheComponentOfIstioInitLowersPodSecurity adds the component to an overlay. The enforced level is
// lower, the level of warnings is not.
func TestTheComponentOfIstioInitLowersPodSecurity(t *testing.T) {
	dir := copyTree(t)
	text := "resources: [../overlays/s3]\ncomponents: [../components/istio-init]\n"
	if err := os.Mkdir(filepath.Join(dir, "mine"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine", "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	objects, _ := build(t, filepath.Join(dir, "mine"))
	for mode, want := range map[string]string{"enforce": "privileged", "warn": "restricted", "audit": "restricted"} {
		if got := at(t, objects, "Namespace/speedscale metadata.labels.[pod-security.kubernetes.io/"+mode+"]"); got != want {
			t.Errorf("%s is %v, want %s", mode, got, want)
		}
	}
}

// copyTree copies the manifests into a directory of the test.
func copyTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"base", "components", "overlays"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(part).(fs.FS)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// build builds a kustomization.
func build(t *testing.T, dir string) ([]*yaml.RNode, string) {
	t.Helper()
	text, _, err := kustomization.Build(dir, kustomization.Options{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := kio.FromBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	return objects, string(text)
}

// at returns the value at "KIND/NAME PATH".
func at(t *testing.T, objects []*yaml.RNode, where string) any {
	t.Helper()
	object, path, _ := strings.Cut(where, " ")
	i := slices.IndexFunc(objects, func(o *yaml.RNode) bool { return o.GetKind()+"/"+o.GetName() == object })
	if i < 0 {
		t.Fatalf("no %s", object)
	}
	var steps []string
	for path != "" {
		var step string
		if strings.HasPrefix(path, "[") && !strings.HasPrefix(path, "[name=") {
			step, path, _ = strings.Cut(path[1:], "]")
			path = strings.TrimPrefix(path, ".")
		} else {
			step, path, _ = strings.Cut(path, ".")
		}
		steps = append(steps, step)
	}
	n, err := objects[i].Pipe(yaml.Lookup(steps...))
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if n == nil {
		return nil
	}
	var value any
	if err := n.YNode().Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// parsed reads texts of YAML, for comparison.
func parsed(t *testing.T, texts []string) (out []any) {
	t.Helper()
	for _, text := range texts {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}
