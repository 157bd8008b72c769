package transformer

import (
	"encoding/base64"
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// mountedSecret is a Secret that an option names and from which the sidecar reads one value.
type mountedSecret struct {
	code              Code
	option, name, key string
	// allowed describes valid values, and check says what is wrong with a value.
	allowed string
	check   func(value []byte) error
	// otherwise says what happens to a pod whose Secret is wrong.
	otherwise string
}

// checkRedactKey checks the Secret of the option redactKeySecret, if it is in the input, with the
// rules of the sidecar.
func (in *input) checkRedactKey(w *workload) Results {
	return in.checkSecret(w, mountedSecret{
		CodeRedactKey, "redactKeySecret", in.cfg.RedactKeySecret, contract.RedactKeyName, fmt.Sprintf("%d to %d bytes", contract.MinRedactKey, contract.MaxRedactKey),
		func(key []byte) error { _, err := contract.ParseRedactKey(key); return err },
		"sidecars will make random keys, and equal secrets will get different tokens",
	})
}

// checkSecret checks a Secret in the input, once for each option. No result shows its content.
func (in *input) checkSecret(w *workload, s mountedSecret) Results {
	o := in.find("", "Secret", w.namespace(), s.name)
	at := checked{o, s.option}
	if o == nil || in.mountedChecked[at] {
		return nil
	}
	in.mountedChecked[at] = true
	path, value, err := secretValue(o.Node, s.key, s.allowed)
	if err == nil {
		err = s.check(value)
	}
	if err == nil {
		return nil
	}
	return Results{result(s.code, o, "the option %s is %s, and %s: %v; %s", s.option, s.name, path, err, s.otherwise).At(path, "", "")}
}

// checked is an object that was checked for a setting.
type checked struct {
	o       *Object
	setting string
}

// secretValue returns one value of a Secret, and its field path. stringData wins over data
// (https://kubernetes.io/docs/concepts/configuration/secret/).
func secretValue(secret *yaml.Node, key, allowed string) (at string, value []byte, err error) {
	if n := nodes.At(secret, "stringData", key); n != nil {
		return pathKey("stringData", key), []byte(nodes.String(n)), nil
	}
	at = pathKey("data", key)
	n := nodes.At(secret, "data", key)
	if n == nil {
		return at, nil, fmt.Errorf("found nothing, allowed: %s in base64", allowed)
	}
	if value, err = base64.StdEncoding.DecodeString(nodes.String(n)); err != nil {
		return at, nil, fmt.Errorf("found text that is not base64, allowed: %s in base64", allowed)
	}
	return at, value, nil
}
