// Package place opens the store of a place: a directory, a bucket on Amazon S3 (or a server with
// the same protocol), Google Cloud Storage or Azure, or the read port of a collector.
//
//	contract.Place ──Open──▶ store.Store ◀── store.Dir
//	                                     ◀── bucket: keys, pages, resumed reads, errors
//	                                            └─ driver: s3 | gcs | azure | collector
//
// It promises:
//
//   - Every store keeps the promises of [store.Store]. A collector's store is read-only. If a
//     store behind an S3 endpoint overwrites objects despite If-None-Match, the first Put
//     detects and rejects it.
//   - Credentials come from the vendors' libraries, so that profiles with SSO, workload
//     identities and instance roles work as in other programs. A place holds no credentials.
//   - An error names the operation, the store's answer, and what to do. It never contains keys,
//     tokens or signed URLs.
//
// The drivers are thin: AWS and Azure use the vendors' libraries, and Google's four calls
// are plain JSON with credentials from golang.org/x/oauth2. A program with all three is
// 7.4 MB larger, and holds 5.4 MiB more after it starts, than one with only net/http. With
// gocloud.dev/blob it would be 47 MB and 34 MiB, because that links gRPC and xDS. Every
// render would start such a program, and every pod would pull it. docs/places.md has the
// figures.
//
// The sidecar links none of this.
package place

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/trust"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Open returns the store of a place. It reads the platform's configuration and may look for
// credentials, but makes no request to the store. If a bucket is missing or forbidden, or a collector
// is down, the first method call fails. The context is used only during Open.
func Open(ctx context.Context, p contract.Place) (store.Store, error) {
	open := map[string]func(context.Context, contract.Place) (driver, error){"s3": openS3, "gs": openGCS, "azblob": openAzure, "http": openCollector, "https": openCollector}[p.Scheme]
	switch {
	case p.IsDir():
		return store.Dir(p.Path), nil
	case open == nil:
		return nil, fmt.Errorf("open %s: unknown kind of store", p)
	}
	d, err := open(ctx, p)
	if err != nil {
		return nil, newBucket(p, nil).failed(ctx, "open", "", err)
	}
	return newBucket(p, d), nil
}

// OpenText is Open for the text form of a place.
func OpenText(ctx context.Context, text string) (store.Store, error) {
	p, err := contract.ParsePlace(text)
	if err != nil {
		return nil, err
	}
	return Open(ctx, p)
}

// answerWithin is the longest time until a store begins to answer a complete request.
const answerWithin = time.Minute

// newTransport returns the transport of all requests. The image has no root certificates, so
// Mozilla's are added to the system's.
func newTransport() (*http.Transport, error) {
	roots, err := trust.Load("")
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots.Pool()}
	t.DisableCompression = true // keeps bytes as they are stored
	t.ResponseHeaderTimeout = answerWithin
	return t, nil
}

// credentialsError is a failure to get credentials, not a store's rejection of them.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// NonRetriable keeps Azure's library from trying again.
func (e *credentialsError) NonRetriable() {}

func asCredentialsError(err error) error {
	if err == nil {
		return nil
	}
	return &credentialsError{err}
}
