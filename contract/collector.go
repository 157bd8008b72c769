package contract

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"
)

// Ports of the collector. Sidecars send to the first. The second serves recordings. It is bound
// only to loopback: `kubectl port-forward` reaches it, and the cluster's RBAC decides who may
// use that. The third serves /healthz and /metrics.
const (
	CollectorPort      = 4310
	CollectorReadPort  = 4311
	CollectorAdminPort = 4312
)

// LabelCollector is the label of a collector's pods, with the value CollectorName.
// NetworkPolicies that allow the collector select by it.
const (
	LabelCollector = "app.kubernetes.io/name"
	CollectorName  = "tapedeck-collector"
)

// A sidecar sends a segment to a collector with PUT SegmentsPath + key and the segment as the
// body.
//
//	PUT /v1/segments/cluster=c1/namespace=shop/…/20261122T201500.123Z-cart-7d4b-0.9f86d081884c7d65.jsonl.zst
//	Authorization: Bearer TOKEN
//	Content-Type: application/zstd
//	Content-Digest: sha-256=:BASE64:          (RFC 9530)
//	Tapedeck-Contract: 3
//
// The answer is 201 if the collector has stored the segment, 200 if it had it before, or a
// [Refusal]. Each answer also has the header Tapedeck-Contract, with the collector's version.
// Without the header, a sidecar does not trust a 200, which another server may have sent, and
// does not remove the segment.
const (
	SegmentsPath    = "/v1/segments/"
	HeaderContract  = "Tapedeck-Contract"
	HeaderDigest    = "Content-Digest"
	SegmentType     = "application/zstd"
	MaxSegmentBytes = 256 << 20 // compressed; the recorder ends a segment at 64 MiB before compression
)

// Paths that a collector serves to readers with GET.
const (
	// ObjectsPath + KEY is an object; with ?from=N, its bytes from offset N. ObjectsPath with
	// ?prefix=PREFIX lists the objects whose keys begin with it, in the byte order of their
	// keys.
	ObjectsPath = "/v1/objects/"
	// FoldersPath with ?prefix=PREFIX lists the folders below a prefix.
	FoldersPath = "/v1/folders/"
	// EntriesType is the media type of a list: an [Entry] on each line.
	EntriesType = "application/x-ndjson"
	// CodeNotFound is the code of an answer or entry for an object that does not exist, and
	// CodeForbidden for one that the collector may not read. For other errors it is
	// [RefusedStore].
	CodeNotFound  = "not_found"
	CodeForbidden = "forbidden"
)

// Entry is a line of a list: an object, a folder, or an error, after which the list continues.
// The last line has End. A list without it is incomplete.
type Entry struct {
	Key      string    `json:"key,omitempty"`
	Size     int64     `json:"size,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	Folder   string    `json:"folder,omitempty"`
	Error    string    `json:"error,omitempty"`
	Code     string    `json:"code,omitempty"`
	End      bool      `json:"end,omitempty"`
}

// Problem is the JSON of a collector's error (RFC 9457), with the media type [ProblemType].
type Problem struct {
	// Title is the status in words, and Status its number.
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Code is the code of a [Refusal], [CodeNotFound] or [CodeForbidden].
	Code string `json:"code"`
	// Detail says what was found and what is allowed, for people.
	Detail string `json:"detail"`
}

// ProblemType is the media type of a [Problem].
const ProblemType = "application/problem+json"

// ParseProblem parses an answer with this Content-Type header and this body. ok is false if it is not
// a Problem.
func ParseProblem(contentType string, body []byte) (p Problem, ok bool) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil || kind != ProblemType || json.Unmarshal(body, &p) != nil {
		return Problem{}, false
	}
	return p, true
}

// Refusal is a reason why a collector does not accept a segment. The answer is a [Problem] with
// its code.
type Refusal struct {
	// Code is the name of the reason in answers, metrics and logs.
	Code string
	// Status is the HTTP status.
	Status int
	// Fate says what the sidecar does with the segment.
	Fate Fate
	// Doc says what the reason means and what to do.
	Doc string
}

// Fate says what a sidecar does with a segment after a refusal.
type Fate int

const (
	// Retried: the collector may accept the same segment soon.
	Retried Fate = iota
	// Kept: the collector can't accept it until somebody fixes something. The sidecar tries
	// again at long intervals.
	Kept
	// SetAside: the collector will never accept it.
	SetAside
)

func (f Fate) String() string { return [...]string{"retried", "kept", "set aside"}[f] }

// Codes of [Refusals].
const (
	RefusedBusy        = "busy"
	RefusedStore       = "store_failed"
	RefusedFull        = "store_full"
	RefusedToken       = "token"
	RefusedNamespace   = "namespace"
	RefusedPrincipal   = "principal"
	RefusedContract    = "contract"
	RefusedTooLarge    = "too_large"
	RefusedKey         = "key"
	RefusedDigest      = "digest"
	RefusedRecord      = "record"
	RefusedSegment     = "segment"
	RefusedOtherBytes  = "other_bytes"
	RefusedIncomplete  = "incomplete"
	RefusedMethod      = "method"
	RefusedUnsupported = "unsupported"
	RefusedLength      = "length"
)

// Refusals lists the reasons, in the order in which they are documented.
func Refusals() []Refusal {
	return []Refusal{
		{RefusedBusy, 503, Retried, "The collector is receiving as many segments as its memory allows. If this lasts, give it more replicas or more memory."},
		{RefusedStore, 502, Retried, "The store did not answer, or answered with an error. See the collector's log."},
		{RefusedFull, 507, Retried, "The store has no room. Enlarge it, or shorten the retention."},
		{RefusedIncomplete, 400, Retried, "The body was shorter than its Content-Length, or came too slowly."},
		{RefusedDigest, 400, Retried, "The SHA-256 of the body differs from the key or from the header Content-Digest: bytes changed on the way."},
		{RefusedToken, 401, Kept, "The request has no token, or a malformed one. Put the token that `tapedeck collect token` prints into the Secret of the namespace."},
		{RefusedNamespace, 403, Kept, "The token is not valid for the cluster and the namespace in the segment's key, or the collector does not accept that cluster."},
		{RefusedPrincipal, 403, Kept, "The client's identity in the mesh does not belong to the namespace in the segment's key."},
		{RefusedContract, 426, Kept, "The sidecar is newer than the collector, or does not send its version. Upgrade the collector."},
		{RefusedLength, 411, Kept, "The request has no Content-Length. A proxy between the sidecar and the collector has removed it."},
		{RefusedMethod, 405, Kept, "The request is not a PUT to `/v1/segments/`, or went to the port for reading. Remove the path from the sink's URL, or correct its port."},
		{RefusedUnsupported, 415, Kept, "The request has a Content-Encoding, or a Content-Type other than application/zstd. A proxy between the sidecar and the collector has changed it."},
		{RefusedOtherBytes, 409, Kept, "The store has other bytes under the same key."},
		{RefusedTooLarge, 413, SetAside, "The segment, or a part of it, exceeds a limit."},
		{RefusedKey, 400, SetAside, "The path is not a segment's key with a digest."},
		{RefusedRecord, 422, SetAside, "A record in the segment has another cluster, namespace or workload than the key."},
		{RefusedSegment, 422, SetAside, "The segment can't be read: its compression is damaged, its JSON is malformed, or its end is missing."},
	}
}

// RefusalOf returns the Refusal with a code. The second result is false if there is none.
func RefusalOf(code string) (Refusal, bool) {
	for _, r := range Refusals() {
		if r.Code == code {
			return r, true
		}
	}
	return Refusal{}, false
}

// ParseCollectorKey parses the key from which a collector's tokens are derived, in a file or a
// Secret. It has the form of a redaction key ([ParseRedactKey]).
func ParseCollectorKey(text []byte) ([]byte, error) { return ParseRedactKey(text) }

// tokenPrefix begins each token. It names the kind and the version, so that scanners for leaked
// secrets find tokens.
const tokenPrefix = "tdc1_"

// CollectorToken derives the token with which the sidecars of a namespace write to a
// collector: "tdc1_" and the HMAC-SHA256, under the collector's key, of a label, the cluster
// and the namespace, each followed by a zero byte, in unpadded URL-safe base64. Cluster and
// namespace are spelled as in the keys of segments. Nobody can derive the key or the token of
// another namespace from it.
func CollectorToken(key []byte, cluster, namespace string) string {
	h := hmac.New(sha256.New, key)
	for _, part := range []string{"tapedeck collector token", cluster, namespace} {
		h.Write([]byte(part + "\x00"))
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// CheckCollectorToken rejects text that does not have the form of a token. The error does not
// quote the text.
func CheckCollectorToken(token string) error {
	digest, ok := strings.CutPrefix(token, tokenPrefix)
	if b, err := base64.RawURLEncoding.DecodeString(digest); !ok || err != nil || len(b) != sha256.Size {
		return fmt.Errorf("found %d bytes that are not a token, allowed: a token that `tapedeck collect token` prints, which begins with %s", len(token), tokenPrefix)
	}
	return nil
}

// ParseSink parses the place for recordings: a directory, or a collector.
func ParseSink(text string) (Place, error) {
	p, err := ParsePlace(text)
	switch {
	case err != nil:
		return Place{}, err
	case p.IsDir(), p.Kind().kind == collector:
		return p, nil
	}
	return Place{}, errors.New("a pod can't write to a bucket, because its service account would need rights to it: want file:///directory, or the https:// or http:// URL of a collector")
}

// IsCollector reports whether the place is a collector.
func (p Place) IsCollector() bool { return p.Kind().kind == collector && p.Scheme != "" }
