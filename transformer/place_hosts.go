package transformer

import (
	"strings"

	"github.com/tapedeck/tapedeck/contract"
)

// PlaceHosts returns the hosts that a client of a bucket calls: the store, and the hosts that issue
// its credentials. They are private to the client's namespace. If the place names no region or account,
// the hosts cover all of them. Sources:
//   - https://docs.aws.amazon.com/general/latest/gr/s3.html and sts.html, and
//     https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html;
//   - https://cloud.google.com/storage/docs/request-endpoints,
//     https://cloud.google.com/iam/docs/workload-identity-federation and
//     https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity;
//   - https://learn.microsoft.com/azure/storage/blobs/storage-blobs-introduction and
//     https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud.
func PlaceHosts(p contract.Place) []External {
	if p.Setting("endpoint") != "" {
		return endpointHosts(placeDestination(p), p.Setting("endpoint"))
	}
	switch p.Scheme {
	case "s3":
		identity := metadataHost("eks-pod-identity-agent.internal", "169.254.170.23", "fd00:ec2::23")
		region, domain := p.Setting("region"), ".amazonaws.com"
		if region == "" {
			return []External{storeHosts("*" + domain), identity}
		}
		if strings.HasPrefix(region, "cn-") {
			domain += ".cn"
		}
		amazon := "." + region + domain
		return []External{storeHosts(p.Host+".s3"+amazon, "s3"+amazon, "sts"+amazon), identity}
	case "gs":
		return []External{
			storeHosts("storage.googleapis.com", "oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com"),
			metadataHost("metadata.google.internal", "169.254.169.254"),
		}
	case "azblob":
		account := p.Setting("storage_account")
		if account == "" {
			account = "*"
		}
		return []External{storeHosts(account+".blob.core.windows.net", "login.microsoftonline.com")}
	}
	return nil
}

func storeHosts(hosts ...string) External {
	return External{Name: "store", Hosts: hosts, Scheme: "https", Port: schemePorts["https"], Private: true}
}

// identityEntry names the ServiceEntry for the hosts that issue credentials.
const identityEntry = "identity"

// metadataHost opens addresses of the node at which a cloud issues credentials. Envoy recognizes TCP
// hosts by addresses, so the name is only descriptive.
func metadataHost(name string, addresses ...string) External {
	return External{Name: identityEntry, Hosts: []string{name}, Addresses: addresses, Scheme: "tcp", Port: 80, Private: true}
}

// endpointHosts opens an endpoint that is not a Service: an address, or a name and the names of buckets
// below it. A name with two parts may or may not be a Service. With SNI, opening it does no harm. With
// HTTP, the entry would conflict with the Service.
func endpointHosts(d destination, endpoint string) []External {
	scheme, _, _ := strings.Cut(strings.ToLower(endpoint), "://")
	x := External{Name: "store", Hosts: []string{d.host}, Scheme: scheme, Port: d.port, Private: true}
	switch {
	case d.service != "" && (scheme == "http" || strings.Count(d.host, ".") != 1):
		return nil
	case d.isAddress():
		x.Scheme, x.Hosts, x.Addresses = "tcp", []string{"tapedeck-place.internal"}, []string{d.host}
	default:
		x.Hosts = append(x.Hosts, "*."+d.host)
	}
	return []External{x}
}
