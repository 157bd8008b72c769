package istio

import (
	"regexp"
	"strings"
	"testing"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config"
	istio "istio.io/istio/pkg/config/validation"
	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/transformer"
)

// TestAdviceIsValid follows the advice of every virtualservice-host result, here and among the
// renderer's own cases, as a reader would. Istio accepts the result.
func TestAdviceIsValid(t *testing.T) {
	added, written := 0, 0
	for _, r := range everything(t, "native") {
		for _, result := range r.results {
			if result.Code() != transformer.CodeVirtualServiceHost && result.Code() != transformer.CodeVirtualServiceDone {
				continue
			}
			t.Run(r.name+" "+result.ResourceRef.Name, func(t *testing.T) {
				vs := virtualService(t, r.output, *result.ResourceRef)
				switch m := advice.FindStringSubmatch(result.Message); {
				case result.Code() == transformer.CodeVirtualServiceDone:
				case m == nil:
					t.Fatalf("no advice that this test can follow: %s", result.Message)
				case m[3] != "":
					written++
					vs = &networking.VirtualService{Hosts: []string{m[3]}, Http: []*networking.HTTPRoute{
						{Route: []*networking.HTTPRouteDestination{{Destination: &networking.Destination{Host: m[3]}}}},
					}}
				default:
					added++
					if m[1] != "" {
						vs.Hosts = append(vs.Hosts, m[1])
					}
					if m[2] != "" {
						vs.Gateways = append(vs.Gateways, m[2])
					}
				}
				if _, err := istio.ValidateVirtualService(config.Config{Spec: vs}); err != nil {
					t.Errorf("Istio refuses what the advice leads to: %v\n%s", err, result.Message)
				}
			})
		}
	}
	if added < 3 || written < 5 {
		t.Errorf("only %d pieces of advice to add and %d to write were followed", added, written)
	}
}

// advice matches what a result says to add, or to write instead.
var advice = regexp.MustCompile(`(?:; add (?:the host (\S+))?(?: and )?(?:the gateway (mesh))?|write a second VirtualService.*, with the host (\S+), without gateways).*$`)

// virtualService reads a VirtualService of a stream.
func virtualService(t *testing.T, stream string, ref transformer.ResourceRef) *networking.VirtualService {
	t.Helper()
	for doc := range strings.SplitSeq(stream, "\n---\n") {
		var o struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
			Spec     *networking.VirtualService
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err == nil && o.Kind == ref.Kind && o.Metadata.Name == ref.Name && o.Metadata.Namespace == ref.Namespace {
			return o.Spec
		}
	}
	t.Fatalf("the output has no %s", ref)
	return nil
}
