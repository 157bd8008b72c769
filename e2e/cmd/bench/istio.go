package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/tapedeck/tapedeck/e2e/internal/tools"
	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// kubeInject returns the command line of istioctl's own injection. It needs no
// cluster, because it gets the objects that Istio's chart would install in one.
func kubeInject(ctx context.Context, dir string) ([]string, error) {
	helm, err := tools.Find(ctx, "helm3")
	if err != nil {
		return nil, err
	}
	istioctl, err := tools.Find(ctx, "istioctl")
	if err != nil {
		return nil, err
	}
	source, err := tools.IstioSource(ctx)
	if err != nil {
		return nil, err
	}
	install, err := exec.CommandContext(ctx, helm, "template", "istiod",
		filepath.Join(source, "manifests/charts/istio-control/istio-discovery"),
		"--namespace", "istio-system", "--kube-version", "1.33.0").Output()
	if err != nil {
		return nil, fmt.Errorf("render Istio's chart: %w", err)
	}
	objects, err := (&kio.ByteReader{Reader: bytes.NewReader(install)}).Read()
	if err != nil {
		return nil, fmt.Errorf("read Istio's chart: %w", err)
	}
	// Without a revision, istioctl would ask a cluster for one.
	args := []string{istioctl, "kube-inject", "--revision", "default", "--filename", "-"}
	for _, option := range []struct{ flag, configMap, key string }{
		{"--meshConfigFile", "istio", "mesh"},
		{"--injectConfigFile", "istio-sidecar-injector", "config"},
		{"--valuesFile", "istio-sidecar-injector", "values"},
	} {
		file := filepath.Join(dir, option.configMap+"-"+option.key)
		text, err := configMapKey(objects, option.configMap, option.key)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, err
		}
		args = append(args, option.flag, file)
	}
	return args, nil
}

// configMapKey returns one entry of a ConfigMap among the objects.
func configMapKey(objects []*yaml.RNode, name, key string) (string, error) {
	for _, object := range objects {
		if object.GetKind() != "ConfigMap" || object.GetName() != name {
			continue
		}
		if text, ok := object.GetDataMap()[key]; ok {
			return text, nil
		}
	}
	return "", fmt.Errorf("read Istio's chart: no ConfigMap %s with the key %s", name, key)
}
