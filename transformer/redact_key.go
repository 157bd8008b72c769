package transformer

import (
	"encoding/base64"
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
)

// checkRedactKey checks the Secret that the option redactKeySecret names, if it is in
// the input, as the sidecar will. Each is checked once, and no result shows what it holds.
func (in *input) checkRedactKey(w *workload) Results {
	name := in.cfg.RedactKeySecret
	if name == "" {
		return nil
	}
	o := in.find("", "Secret", w.namespace(), name)
	if o == nil || in.mountedChecked[o] {
		return nil
	}
	in.mountedChecked[o] = true
	at, key, err := secretValue(o.Node, contract.RedactKeyName)
	if err == nil {
		_, err = contract.ParseRedactKey(key)
	}
	if err == nil {
		return nil
	}
	return Results{result(CodeRedactKey, o, "the option redactKeySecret is %s, and %s: %v; sidecars will make random keys, and equal secrets will get different tokens", name, at, err).At(at, "", "")}
}

// secretValue returns one value of a Secret, and where it stands: stringData wins over
// data (https://kubernetes.io/docs/concepts/configuration/secret/).
func secretValue(secret *yaml.Node, key string) (at string, value []byte, err error) {
	if n := field(secret, "stringData", key); n != nil {
		return pathKey("stringData", key), []byte(str(n)), nil
	}
	at = pathKey("data", key)
	n := field(secret, "data", key)
	if n == nil {
		return at, nil, fmt.Errorf("found nothing, allowed: %d to %d bytes in base64", contract.MinRedactKey, contract.MaxRedactKey)
	}
	if value, err = base64.StdEncoding.DecodeString(str(n)); err != nil {
		return at, nil, fmt.Errorf("found a text that is not base64, allowed: %d to %d bytes in base64", contract.MinRedactKey, contract.MaxRedactKey)
	}
	return at, value, nil
}
