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

// Ports of the collector. Sidecars send to the first. The second, from which recordings are
// read, is bound to loopback alone: `kubectl port-forward` reaches it, and the cluster's own
// RBAC says who may do that. The third serves /healthz and /metrics.
const (
	CollectorPort      = 4310
	CollectorReadPort  = 4311
	CollectorAdminPort = 4312
)

// LabelCollector marks a collector's pods, with CollectorName as its value: NetworkPolicies
// that allow the collector select by it.
const (
	LabelCollector = "app.kubernetes.io/name"
	CollectorName  = "tapedeck-collector"
)

// What a sidecar sends to a collector: PUT SegmentsPath + key, with the segment as the body.
//
//	PUT /v1/segments/cluster=c1/namespace=shop/…/20261122T201500.123Z-cart-7d4b-0.9f86d081884c7d65.jsonl.zst
//	Authorization: Bearer TOKEN
//	Content-Type: application/zstd
//	Content-Digest: sha-256=:BASE64:          (RFC 9530)
//	Tapedeck-Contract: 3
//
// The answer is 201 if the segment was stored, 200 if it was there before, or a [Refusal].
// Each has the header Tapedeck-Contract, too, with the collector's version: a sidecar removes
// nothing because some other server, at the address of a collector, says 200.
const (
	SegmentsPath    = "/v1/segments/"
	HeaderContract  = "Tapedeck-Contract"
	HeaderDigest    = "Content-Digest"
	SegmentType     = "application/zstd"
	MaxSegmentBytes = 256 << 20 // compressed; the recorder's have 64 MiB before that
)

// What a collector serves to readers, all by GET.
const (
	// ObjectsPath + KEY is an object; with ?from=N, from byte N on. ObjectsPath with
	// ?prefix=PREFIX lists the objects whose keys begin with it, in the order of the keys'
	// bytes.
	ObjectsPath = "/v1/objects/"
	// FoldersPath with ?prefix=PREFIX lists the folders below a prefix.
	FoldersPath = "/v1/folders/"
	// EntriesType is the media type of a list: an [Entry] on each line.
	EntriesType = "application/x-ndjson"
	// CodeNotFound and CodeForbidden are the codes of answers and entries for an object
	// that is not there, and for one that the collector may not read. For the rest it is
	// [RefusedStore].
	CodeNotFound  = "not_found"
	CodeForbidden = "forbidden"
)

// Entry is a line of a list: an object, a folder, or an error behind which the list goes on.
// The last line says that it is the end; without it the list is cut.
type Entry struct {
	Key      string    `json:"key,omitempty"`
	Size     int64     `json:"size,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	Folder   string    `json:"folder,omitempty"`
	Error    string    `json:"error,omitempty"`
	Code     string    `json:"code,omitempty"`
	End      bool      `json:"end,omitempty"`
}

// Problem is the JSON of a collector's answer that is not what was asked for (RFC 9457), with
// the media type [ProblemType].
type Problem struct {
	// Title is the status in words, and Status its number.
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Code is that of a [Refusal], or [CodeNotFound] and the like.
	Code string `json:"code"`
	// Detail says for a person what was found and what is allowed.
	Detail string `json:"detail"`
}

// ProblemType is the media type of a [Problem].
const ProblemType = "application/problem+json"

// ParseProblem reads an answer by its header Content-Type and its body. The second result is
// false if it is no Problem.
func ParseProblem(contentType string, body []byte) (p Problem, ok bool) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil || kind != ProblemType || json.Unmarshal(body, &p) != nil {
		return Problem{}, false
	}
	return p, true
}

// Refusal is a reason for which a collector does not take a segment. The answer is a [Problem]
// with its code.
type Refusal struct {
	// Code names the reason, in answers, in metrics and in logs.
	Code string
	// Status is HTTP's.
	Status int
	// Fate says what the sidecar does with the segment.
	Fate Fate
	// Doc says what it means and what to do.
	Doc string
}

// Fate is what becomes of a segment that was refused.
type Fate int

const (
	// Retried: the same segment may be taken soon.
	Retried Fate = iota
	// Kept: it can't be taken until somebody mends something. It is tried again, at long
	// intervals.
	Kept
	// SetAside: it will never be taken.
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
		{RefusedBusy, 503, Retried, "The collector takes as many segments at once as its memory allows. Raise its replicas or its memory if this lasts."},
		{RefusedStore, 502, Retried, "The store did not answer, or answered with an error. The collector's log has it."},
		{RefusedFull, 507, Retried, "The store has no room. Enlarge it, or shorten the retention."},
		{RefusedIncomplete, 400, Retried, "The body ended before its length, or came too slowly."},
		{RefusedDigest, 400, Retried, "The body's SHA-256 is not that of the key or of the header Content-Digest: bytes changed on the way."},
		{RefusedToken, 401, Kept, "No token, or a text that is none by its form. Put what `tapedeck collect token` prints into the Secret of the namespace."},
		{RefusedNamespace, 403, Kept, "The token is not the one that this collector's keys make for the cluster and the namespace of the key, or the collector does not take that cluster."},
		{RefusedPrincipal, 403, Kept, "The mesh says that the client is of another namespace than the key's."},
		{RefusedContract, 426, Kept, "The sidecar is newer than the collector, or does not say how old it is. Upgrade the collector."},
		{RefusedLength, 411, Kept, "The request has no Content-Length. Something between the sidecar and the collector took it away."},
		{RefusedMethod, 405, Kept, "No PUT to `/v1/segments/`, or sent to the port for reading. Take the path out of the sink, or correct its port."},
		{RefusedUnsupported, 415, Kept, "A Content-Encoding, or a Content-Type other than application/zstd. Something between the sidecar and the collector changed it."},
		{RefusedOtherBytes, 409, Kept, "The key is in use, with other bytes."},
		{RefusedTooLarge, 413, SetAside, "The segment, or something in it, is beyond a limit."},
		{RefusedKey, 400, SetAside, "The path is no key of a segment with a digest."},
		{RefusedRecord, 422, SetAside, "A record in the segment says that it is of another cluster, namespace or workload than the key."},
		{RefusedSegment, 422, SetAside, "The segment can't be read: damaged compression, malformed JSON, a torn end."},
	}
}

// RefusalOf returns the row of a code. The second result is false if there is none.
func RefusalOf(code string) (Refusal, bool) {
	for _, r := range Refusals() {
		if r.Code == code {
			return r, true
		}
	}
	return Refusal{}, false
}

// ParseCollectorKey returns the key from which a collector's tokens are derived, as a file or
// a Secret has it. It takes the form of a key for redaction ([ParseRedactKey]).
func ParseCollectorKey(text []byte) ([]byte, error) { return ParseRedactKey(text) }

// tokenPrefix names the kind of a token and its version, so that scanners for leaked secrets
// find it.
const tokenPrefix = "tdc1_"

// CollectorToken derives the token with which the sidecars of a namespace write to a
// collector: "tdc1_" and the HMAC-SHA256, under the collector's key, of a label, the cluster
// and the namespace, each followed by a zero byte, in unpadded URL-safe base64. Cluster and
// namespace are as they stand in the keys of segments. Nobody can derive the token of another
// namespace from it, nor the key.
func CollectorToken(key []byte, cluster, namespace string) string {
	h := hmac.New(sha256.New, key)
	for _, part := range []string{"tapedeck collector token", cluster, namespace} {
		h.Write([]byte(part + "\x00"))
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// CheckCollectorToken refuses a text that is no token by its form. The error does not quote
// it.
func CheckCollectorToken(token string) error {
	digest, ok := strings.CutPrefix(token, tokenPrefix)
	if b, err := base64.RawURLEncoding.DecodeString(digest); !ok || err != nil || len(b) != sha256.Size {
		return fmt.Errorf("found %d bytes that are no token, allowed: what `tapedeck collect token` prints, which begins with %s", len(token), tokenPrefix)
	}
	return nil
}

// ParseSink reads where recordings go: a directory, or a collector to which segments are
// sent.
func ParseSink(text string) (Place, error) {
	p, err := ParsePlace(text)
	switch {
	case err != nil:
		return Place{}, err
	case p.IsDir(), p.Kind().kind == collector:
		return p, nil
	}
	return Place{}, errors.New("a pod writes to no bucket, because its service account would need rights to it: want file:///directory, or https:// or http:// of a collector")
}

// IsCollector tells whether the place is a collector.
func (p Place) IsCollector() bool { return p.Kind().kind == collector && p.Scheme != "" }
