package splice_test

import (
	"fmt"

	"github.com/tapedeck/tapedeck/fn/splice"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

func ExampleApply() {
	text := []byte(`# our app
kind: Deployment
spec:
    replicas:   1   # for now
    args: ['a',
           'b']
`)
	have, err := splice.Parse(text)
	if err != nil {
		panic(err)
	}
	want, err := splice.Expand(have)
	if err != nil {
		panic(err)
	}
	spec := yaml.NewRNode(want).Field("spec").Value
	if err := spec.PipeE(yaml.SetField("replicas", yaml.NewScalarRNode("2"))); err != nil {
		panic(err)
	}
	if err := spec.PipeE(yaml.SetField("labels", yaml.NewMapRNode(&map[string]string{"tape": "on"}))); err != nil {
		panic(err)
	}
	out, _, err := splice.Apply(text, have, want)
	if err != nil {
		panic(err)
	}
	fmt.Print(string(out))
	// Output:
	// # our app
	// kind: Deployment
	// spec:
	//     replicas:   2   # for now
	//     args: ['a',
	//            'b']
	//     labels:
	//         tape: "on"
}
