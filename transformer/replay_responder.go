package transformer

import (
	"strconv"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// responder builds the Deployment and the Service of the mock that replaces the copy's dependencies.
// One pod has all recorded answers, because the answer to a request may depend on earlier requests.
func (in *input) responder(r *replay) ([]*Object, Results) {
	if !r.responds() {
		return nil, nil
	}
	pod := in.replayTemplate(r, in.responderPod(r))
	deployment := r.object(contract.PartResponder, "apps/v1", "Deployment", r.responderName(), nodes.Mapping(
		"replicas", 1,
		"selector", nodes.Mapping("matchLabels", r.selector(contract.PartResponder)),
		"strategy", nodes.Mapping("type", "Recreate"), // two pods would split a sequence of answers
		"template", pod,
	))
	service := r.object(contract.PartResponder, "v1", "Service", r.responderName(), nodes.Mapping(
		"selector", r.selector(contract.PartResponder),
		"ports", responderPorts(),
	))
	return []*Object{deployment, in.pastWaypoint(r, service)}, nil
}

// responderPorts builds the ports of a responder's Service. The mesh doesn't know the recorded hosts,
// so Envoy passes the traffic as plain TCP.
func responderPorts() *yaml.Node {
	port := func(name string, number int) *yaml.Node {
		return nodes.Mapping("name", name, "port", number, "appProtocol", "tcp")
	}
	return nodes.Sequence(port("tcp-mock", contract.ResponderPort), port("tcp-admin", contract.ResponderAdminPort))
}

func (in *input) responderPod(r *replay) replayPod {
	secrets, key := in.redactKey()
	args := []string{
		"mock", in.snapshotArgument(r),
		flag("listen", ":"+strconv.Itoa(contract.ResponderPort)),
		flag("admin", ":"+strconv.Itoa(contract.ResponderAdminPort)),
		flag("ca", contract.CADir),
	}
	args = append(args, r.selection(r.Mocks)...)
	args = append(args, flags("passthrough", r.Passthrough)...)
	args = append(args, key...)
	args = append(args, flag("temp-dir", contract.WorkDir))
	for _, f := range r.ResponderFlags {
		args = append(args, literal(f))
	}
	healthy := nodes.Mapping("command", []string{contract.Binary, "healthz", "--url=http://127.0.0.1:" + strconv.Itoa(contract.ResponderAdminPort) + "/healthz"})
	return replayPod{
		part: contract.PartResponder, container: contract.ResponderContainer,
		args: args,
		ports: nodes.Sequence(
			nodes.Mapping("name", "mock", "containerPort", contract.ResponderPort),
			nodes.Mapping("name", "admin", "containerPort", contract.ResponderAdminPort),
		),
		// The container becomes ready after it has read the snapshot, which may take long.
		probes: []any{
			"startupProbe", nodes.Mapping("exec", healthy, "periodSeconds", 1, "timeoutSeconds", 5, "failureThreshold", 1200),
			"readinessProbe", nodes.Mapping("exec", healthy, "periodSeconds", 10, "timeoutSeconds", 5),
		},
		readOnly: true,
		secrets:  append([]secretFiles{{contract.CAVolume, in.cfg.CASecret, contract.CADir, []string{"tls.crt", "tls.key"}}}, secrets...),
	}
}
