package collector

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// headerXFCC is the header in which Envoy passes the client's identity from its certificate.
const headerXFCC = "X-Forwarded-Client-Cert"

// bearer returns the token of a request (RFC 6750).
func bearer(h http.Header) (string, error) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", fmt.Errorf("found %d Authorization headers, want one", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errors.New("found another scheme in the header Authorization, want Bearer")
	}
	token = strings.TrimSpace(token)
	return token, contract.CheckCollectorToken(token)
}

// isTokenOf reports whether one of the keys made the token for the cluster and the namespace. The
// comparison takes constant time.
func isTokenOf(token string, keys [][]byte, cluster, namespace string) bool {
	found := false
	for _, key := range keys {
		if hmac.Equal([]byte(token), []byte(contract.CollectorToken(key, cluster, namespace))) {
			found = true
		}
	}
	return found
}

// checkPrincipal compares the client's identity in the mesh, if there is one, with a namespace.
//
// Each Envoy on the path appends an element to the header, so only the last element comes from the
// Envoy in front of this process. A client may have forged the others. If the header is repeated,
// the last line counts.
func checkPrincipal(h http.Header, namespace string) error {
	lines := h.Values(headerXFCC)
	if len(lines) == 0 {
		return nil // no mesh
	}
	uris, err := lastURIs(lines[len(lines)-1])
	if err != nil {
		return fmt.Errorf("the header %s: %w", headerXFCC, err)
	}
	found := false
	for _, uri := range uris {
		ns, ok := spiffeNamespace(uri)
		if !ok {
			continue
		}
		if recording.KeyPart(ns) != namespace {
			return fmt.Errorf("the client is in the namespace %.64q, but the key names %.64q", ns, namespace)
		}
		found = true
	}
	if !found {
		return fmt.Errorf("the last element of the header %s has no URI such as spiffe://cluster.local/ns/NAMESPACE/sa/ACCOUNT", headerXFCC)
	}
	return nil
}

// spiffeNamespace returns the namespace of an identity as Istio writes it:
// spiffe://TRUSTDOMAIN/ns/NAMESPACE/sa/ACCOUNT.
func spiffeNamespace(uri string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, "spiffe://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 5 || parts[1] != "ns" || parts[3] != "sa" || parts[0] == "" || parts[2] == "" || parts[4] == "" {
		return "", false
	}
	return parts[2], true
}

// lastURIs returns the URIs of the last element of a header X-Forwarded-Client-Cert. Commas divide
// elements, and semicolons divide the pairs NAME=VALUE of an element. A value that contains one of
// ,;= is quoted, with a backslash before each quote in it (Envoy, HTTP connection manager:
// x-forwarded-client-cert). Anything else is an error, because it could be read in two ways.
func lastURIs(header string) (uris []string, err error) {
	for rest := header; ; {
		name, after, ok := strings.Cut(rest, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.ContainsAny(name, `",;\ `) {
			return nil, errors.New("want pairs such as URI=VALUE")
		}
		var value string
		if value, rest, err = xfccValue(after); err != nil {
			return nil, err
		}
		if strings.EqualFold(name, "URI") && value != "" {
			uris = append(uris, value)
		}
		switch {
		case rest == "":
			return uris, nil
		case rest[0] == ',':
			uris = nil
		}
		rest = rest[1:]
	}
}

// xfccValue reads a value; rest is empty, or begins with a comma or a semicolon.
func xfccValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		i := strings.IndexAny(text, ",;")
		if i < 0 {
			i = len(text)
		}
		value = strings.TrimSpace(text[:i])
		if strings.ContainsAny(value, `"\`) {
			return "", "", errors.New("found a quote in an unquoted value")
		}
		return value, text[i:], nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == '"':
			rest = strings.TrimLeft(text[i+1:], " ")
			if rest != "" && rest[0] != ',' && rest[0] != ';' {
				return "", "", errors.New("found text after a quoted value")
			}
			return b.String(), rest, nil
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("found a quote that isn't closed")
}
