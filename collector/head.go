package collector

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// firstContract is the first version of the contract whose sidecars send segments. The collector
// accepts versions from it up to [contract.Version].
const firstContract = 3

// admit checks the request's head.
func (c *Collector) admit(r *http.Request, u *upload) error {
	if r.Method != http.MethodPut || !strings.HasPrefix(r.URL.Path, contract.SegmentsPath) || r.URL.RawQuery != "" {
		return refuse(contract.RefusedMethod, "found %.20q for %.60q, want PUT %sKEY; readers must use the other port, on loopback", r.Method, r.URL.RequestURI(), contract.SegmentsPath)
	}
	token, err := bearer(r.Header)
	if err != nil {
		return refuse(contract.RefusedToken, "%v", err)
	}
	key, err := c.keyOf(r, u)
	if err != nil {
		return refuse(contract.RefusedKey, "%v", err)
	}
	if !isTokenOf(token, c.o.Keys(), key.Cluster, key.Namespace) {
		return refuse(contract.RefusedNamespace, "the token is not the one for cluster %.64q and namespace %.64q; print it with `tapedeck collect token --cluster %[1]s --namespace %[2]s --key-file FILE`", key.Cluster, key.Namespace)
	}
	u.key = key
	if len(c.o.Clusters) > 0 && !slices.Contains(c.o.Clusters, key.Cluster) {
		return refuse(contract.RefusedNamespace, "this collector does not accept the cluster %.64q; allow it with --cluster", key.Cluster)
	}
	if err := checkPrincipal(r.Header, key.Namespace); err != nil {
		return refuse(contract.RefusedPrincipal, "%v", err)
	}
	return c.checkHead(r, u)
}

// keyOf reads the segment's key from the request.
func (c *Collector) keyOf(r *http.Request, u *upload) (recording.SegmentKey, error) {
	name := strings.TrimPrefix(r.URL.Path, contract.SegmentsPath)
	u.name = name
	if len(name) > contract.MaxObjectKey {
		return recording.SegmentKey{}, fmt.Errorf("the key has %d bytes; at most %d are allowed", len(name), contract.MaxObjectKey)
	}
	key, err := recording.ParseSegmentKey(name)
	switch {
	case err != nil:
		return key, err
	case key.Part:
		return key, errors.New("found the key of an incomplete segment, want that of a complete one")
	case key.Digest == "":
		return key, errors.New("the key has no digest after the number")
	case key.Pod == recording.MergedPod:
		return key, fmt.Errorf("found the pod name %s, which is reserved for compacted segments", recording.MergedPod)
	}
	return key, store.CheckKey(name)
}

// checkHead checks the headers that describe the body.
func (c *Collector) checkHead(r *http.Request, u *upload) error {
	versions := r.Header.Values(contract.HeaderContract)
	version := -1
	if len(versions) == 1 {
		if n, err := strconv.Atoi(versions[0]); err == nil {
			version = n
		}
	}
	if version < firstContract || version > contract.Version {
		return refuse(contract.RefusedContract, "found the version %.40q in the header %s; this collector accepts %d to %d", versions, contract.HeaderContract, firstContract, contract.Version)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != contract.SegmentType {
		return refuse(contract.RefusedUnsupported, "found the Content-Type %.60q, want %s", r.Header.Get("Content-Type"), contract.SegmentType)
	}
	if coding := r.Header.Values("Content-Encoding"); len(coding) > 0 {
		return refuse(contract.RefusedUnsupported, "found the Content-Encoding %.60q, want none, because the segment is already compressed", coding)
	}
	switch u.size = r.ContentLength; {
	case u.size < 0:
		return refuse(contract.RefusedLength, "the request has no Content-Length")
	case u.size > min(contract.MaxSegmentBytes, c.room.largest()):
		return refuse(contract.RefusedTooLarge, "the segment has %d bytes; at most %d are allowed", u.size, min(contract.MaxSegmentBytes, c.room.largest()))
	}
	digest, err := contentDigest(r.Header.Values(contract.HeaderDigest))
	if err != nil {
		return refuse(contract.RefusedDigest, "the header %s: %v", contract.HeaderDigest, err)
	}
	u.digest = digest
	return nil
}

// contentDigest returns the SHA-256 in the header Content-Digest (RFC 9530).
func contentDigest(lines []string) (sum [sha256.Size]byte, err error) {
	found := 0
	for _, one := range strings.Split(strings.Join(lines, ","), ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(one), "sha-256=")
		if !ok {
			continue // the header may also have other algorithms
		}
		found++
		text, ok := strings.CutPrefix(value, ":")
		text, ok2 := strings.CutSuffix(text, ":")
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		if !ok || !ok2 || err != nil || copy(sum[:], b) != len(b) || len(b) != len(sum) {
			return sum, errors.New("malformed; want sha-256=:BASE64:")
		}
	}
	if found != 1 {
		return sum, fmt.Errorf("found %d SHA-256 digests, want one", found)
	}
	return sum, nil
}
