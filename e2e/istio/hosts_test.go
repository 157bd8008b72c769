package istio

import (
	"path"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tapedeck/tapedeck/contract"
)

// TestHostsFile passes every pod with captured hosts through Istio's injector, in every
// mode. The container that writes the hosts file must do so before a container that mounts it
// starts, because a kubelet makes a directory for a missing file. The application's containers
// mount the file. Istio's containers don't, because Envoy has to find the real hosts.
func TestHostsFile(t *testing.T) {
	for _, m := range modes() {
		t.Run(m.String(), func(t *testing.T) {
			in := m.injector(t)
			pods, mounting, opened := 0, 0, 0
			for _, r := range injected(t, m.sidecar) {
				if !strings.Contains(r.output, contract.EnvCaptureHosts) {
					continue
				}
				for name, p := range podsOf(t, in, r.output) {
					hosts := capturedHosts(t, p.sent)
					if len(hosts) == 0 || container(p.admitted, "istio-proxy") == nil {
						continue
					}
					pods++
					mounting += checkHosts(t, r.name+" "+name, r.cfg.Sidecar, p)
					if lowest := contract.LowestCapturePort(hosts); lowest < contract.UnprivilegedPorts {
						opened++
						if start := portStart(t, p.admitted); start > lowest {
							t.Errorf("%s %s: ports from %d on are open, and a captured one is %d", r.name, name, start, lowest)
						}
					}
				}
			}
			if pods < 10 || mounting < pods || opened < 3 {
				t.Errorf("only %d pods capture hosts, %d containers mount their files, and %d pods need a sysctl", pods, mounting, opened)
			}
		})
	}
}

// capturedHosts returns the hosts that a pod's sidecar captures.
func capturedHosts(t *testing.T, p *corev1.Pod) []contract.CaptureHost {
	t.Helper()
	ours := container(p, contract.Container)
	if ours == nil {
		return nil
	}
	hosts, err := contract.ParseCaptureHosts(env(ours, contract.EnvCaptureHosts))
	if err != nil {
		t.Fatal(err)
	}
	return hosts
}

// portStart returns the lowest port that the pod's sysctls open to unprivileged users.
func portStart(t *testing.T, p *corev1.Pod) int {
	t.Helper()
	if p.Spec.SecurityContext != nil {
		for _, s := range p.Spec.SecurityContext.Sysctls {
			if s.Name == contract.SysctlPortStart {
				return number(t, s.Value)
			}
		}
	}
	return contract.UnprivilegedPorts
}

// checkHosts checks which containers mount a pod's hosts file, and when, and returns their number.
func checkHosts(t *testing.T, where, sidecar string, p admission) (mounting int) {
	t.Helper()
	order := starts(p.admitted)
	writer := contract.Container
	if sidecar == "classic" {
		writer = contract.HostsContainer
	}
	written := slices.IndexFunc(order, func(s step) bool { return s.Name == writer })
	if written < 0 || !order[written].init || native(order[written].Container) && order[written].StartupProbe == nil {
		t.Errorf("%s: no init container %s that the next one waits for", where, writer)
		return 0
	}
	for i, s := range order {
		application := container(p.sent, s.Name) != nil && !slices.Contains([]string{contract.Container, contract.HostsContainer, "istio-proxy"}, s.Name)
		at := slices.IndexFunc(s.VolumeMounts, func(m corev1.VolumeMount) bool { return path.Clean(m.MountPath) == contract.SystemHosts })
		ours := at >= 0 && s.VolumeMounts[at].Name == contract.TrustVolume && s.VolumeMounts[at].SubPath == contract.HostsName
		if ours {
			mounting++
		}
		switch {
		case !application && at >= 0:
			t.Errorf("%s: %s mounts %s, and has to find the real hosts", where, s.Name, contract.SystemHosts)
		case ours && i <= written:
			t.Errorf("%s: %s mounts the hosts file and starts before %s has written it", where, s.Name, writer)
		case application && at < 0 && i > written && !s.init:
			t.Errorf("%s: %s does not mount the hosts file", where, s.Name)
		}
	}
	return mounting
}
