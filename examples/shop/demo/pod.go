package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// pod is the pod template of the rendered checkout.
type pod struct {
	Containers     []container `yaml:"containers"`
	InitContainers []container `yaml:"initContainers"`
}

type container struct {
	Name string `yaml:"name"`
	Env  []struct {
		Name      string `yaml:"name"`
		Value     string `yaml:"value"`
		ValueFrom *struct {
			FieldRef struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	} `yaml:"env"`
	VolumeMounts []struct {
		Name      string `yaml:"name"`
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

// renderedPod renders the manifests and returns the pod of the captured workload.
func renderedPod(ctx context.Context, tapedeck string) (*pod, error) {
	out, err := exec.CommandContext(ctx, tapedeck, "render", "--set", image, manifests).Output()
	if err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(out))
	for {
		var object struct {
			Kind     string `yaml:"kind"`
			Metadata struct {
				Name string `yaml:"name"`
			} `yaml:"metadata"`
			Spec struct {
				Template struct {
					Spec pod `yaml:"spec"`
				} `yaml:"template"`
			} `yaml:"spec"`
		}
		if err := dec.Decode(&object); err != nil {
			return nil, fmt.Errorf("find the rendered checkout: %w", err)
		}
		if object.Kind == "Deployment" && object.Metadata.Name == "checkout" {
			return &object.Spec.Template.Spec, nil
		}
	}
}

// mounts has the folders that stand in for the pod's volumes, by mount path.
type mounts map[string]string

// mounts makes a folder for each volume.
func (p *pod) mounts(root string) (mounts, error) {
	m := mounts{}
	for _, c := range append(p.Containers, p.InitContainers...) {
		for _, v := range c.VolumeMounts {
			m[v.MountPath] = filepath.Join(root, v.Name)
			if err := os.MkdirAll(m[v.MountPath], 0o700); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// path returns the path on this machine for a path in the pod.
func (m mounts) path(at string) string {
	for mount, dir := range m {
		if rest, ok := strings.CutPrefix(at, mount); ok {
			return dir + rest
		}
	}
	return at
}

// podFacts has the values that Kubernetes fills in, by field path.
var podFacts = map[string]string{
	"metadata.name": "checkout-demo", "metadata.namespace": "shop", "spec.nodeName": "this-machine",
	"spec.serviceAccountName": "default", "status.hostIP": "127.0.0.1", "status.podIP": "127.0.0.1",
}

// environment returns a container's rendered environment, as the kubelet would
// build it, but with the paths of the folders that stand in for volumes.
func (p *pod) environment(name string, m mounts) []string {
	var env []string
	for _, c := range append(p.InitContainers, p.Containers...) {
		if c.Name != name {
			continue
		}
		for _, v := range c.Env {
			value := v.Value
			if v.ValueFrom != nil {
				value = podFacts[v.ValueFrom.FieldRef.FieldPath]
			}
			for mount, dir := range m {
				value = strings.ReplaceAll(value, mount, dir)
			}
			env = append(env, v.Name+"="+strings.ReplaceAll(value, "$(KUBERNETES_SERVICE_HOST)", "10.96.0.1"))
		}
	}
	return env
}
