package address

import "net/netip"

// metadataAddrs are the addresses at which clouds serve credentials, identity and start-up
// scripts. Most are link-local. Applications call nothing else there, so all of
// 169.254.0.0/16 counts.
var metadataAddrs = prefixes(
	"169.254.0.0/16",         // AWS, Google, Azure, Oracle, OpenStack and most others; ECS and EKS Pod Identity (.170.2, .170.23); Tencent (.0.23); Scaleway (.42.42)
	"100.100.100.200/32",     // Alibaba
	"168.63.129.16/32",       // Azure's wire server
	"192.0.0.192/32",         // Oracle's classic cloud
	"192.80.8.124/32",        // Equinix Metal
	"fd00:ec2::254/128",      // AWS
	"fd00:ec2::23/128",       // EKS Pod Identity
	"fd20:ce::254/128",       // Google
	"fd00:42::42/128",        // Scaleway
	"fd00:a9fe:a9fe::/64",    // Akamai
	"fd00:c1::a9fe:a9fe/128", // Oracle
	"fe80::a9fe:a9fe/128",    // OpenStack
)

// metadataNames are the names of metadata servers.
var metadataNames = map[string]bool{
	"metadata.google.internal":     true,
	"metadata.goog":                true,
	"instance-data.ec2.internal":   true,
	"metadata.azure.internal":      true,
	"metadata.tencentyun.com":      true,
	"metadata.platformequinix.com": true,
	"metadata.packet.net":          true,
	"api.metadata.cloud.ibm.com":   true,
}

// bareNames are names of metadata servers in some clouds, but may also be names of Services.
// Only the address that a name resolves to decides.
var bareNames = map[string]bool{"metadata": true, "instance-data": true}

// MayBeMetadata reports whether a name may be that of a cloud's metadata server, so that it
// must be looked up.
func MayBeMetadata(name string) bool { return bareNames[Name(name)] }

// IsMetadata reports whether a host, which is a name or an address, is a cloud's
// metadata server.
func IsMetadata(host string) bool {
	if a, ok := Parse(host); ok {
		return IsMetadataAddr(a)
	}
	return metadataNames[Name(host)]
}

// IsMetadataAddr reports whether an address is a cloud's metadata server.
func IsMetadataAddr(a netip.Addr) bool {
	return within(metadataAddrs, a.Unmap().WithZone("")) || within(metadataAddrs, Plain(a))
}

func prefixes(all ...string) (parsed []netip.Prefix) {
	for _, p := range all {
		parsed = append(parsed, netip.MustParsePrefix(p))
	}
	return parsed
}
