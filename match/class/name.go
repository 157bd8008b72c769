package class

import (
	"slices"
)

// usedOnce are words in the names of values that are made for one request: to trace it, to
// identify it, or to sign it.
var usedOnce = []string{"trace", "traceid", "traceparent", "span", "spanid", "b3", "correlation", "correlationid", "request", "requestid", "req", "reqid",
	"nonce", "cnonce", "idempotency", "idempotence", "dedup", "deduplication", "attempt", "invocation", "rpc",
	"random", "rand", "rnd", "cachebuster", "cachebust", "cb", "bust", "state", "signature", "sig", "hmac", "mac"}

// references are the last words of the names of values that a request refers to.
var references = []string{"id", "ids", "uuid", "uuids", "guid", "guids", "uid", "uids", "ref", "refs", "reference", "key", "keys", "slug", "hash", "digest", "checksum", "sha", "sha1", "sha256", "md5", "etag", "version", "cursor", "token"}

// UsedOnce reports whether the name of a value, such as requestId, says that it is made for one request.
func UsedOnce(name []byte) bool {
	for w := range words(name) {
		if slices.Contains(usedOnce, string(w)) {
			return true
		}
	}
	return false
}

// IsReference reports whether the name of a value, such as userId, says that it refers to something.
// requestId is not a reference.
func IsReference(name []byte) bool {
	refers := false
	for w := range words(name) {
		refers = slices.Contains(references, string(w))
	}
	return refers && !UsedOnce(name)
}

// IsNumber reports whether a name is a number, as in the wire format of protobuf.
func IsNumber(name []byte) bool { return len(name) > 0 && countDigits(name) == len(name) }

// words splits a name before capitals that begin a word, and at characters other than letters and
// digits. It returns the words in lower case.
func words(name []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		var room [32]byte
		word := room[:0]
		for i, c := range name {
			letter := 'a' <= c|0x20 && c|0x20 <= 'z' && c < 0x80
			digit := '0' <= c && c <= '9'
			upper := 'A' <= c && c <= 'Z'
			if !letter && !digit || upper && i > 0 && isLower(name[i-1]) {
				if len(word) > 0 && !yield(word) {
					return
				}
				word = word[:0]
			}
			if letter || digit {
				word = append(word, c|0x20) // leaves digits unchanged
			}
		}
		if len(word) > 0 {
			yield(word)
		}
	}
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// readingVerbs begin the names of gRPC methods that read (AIP-130 and common usage).
var readingVerbs = []string{"get", "list", "search", "find", "read", "fetch", "lookup", "look", "query", "check", "count", "describe", "watch", "exists", "is", "has", "resolve", "validate", "estimate", "preview"}

// Reads reports whether the name of an operation, such as ListOrders or BatchGetOrders, says that it
// only reads.
func Reads(operation []byte) bool {
	for w := range words(operation) {
		if string(w) != "batch" {
			return slices.Contains(readingVerbs, string(w))
		}
	}
	return false
}
