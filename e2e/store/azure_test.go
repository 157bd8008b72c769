package store

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

func TestAzureKeepsThePromisesOfAStore(t *testing.T) {
	endpoint, n := frontDoor(t, newAzure("recordings").ServeHTTP), 0
	storetest.Run(t, storetest.Suite{Open: place.OpenText, Place: func(t *testing.T) string {
		return makePlace("azblob://recordings/%s?endpoint="+endpoint, &n)
	}})
}

// azure is a fake of Azure Blob Storage: Put Blob, Get Blob, Delete Blob and List Blobs
// (https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api), with the
// conditions, ranges and error codes that the store uses. A page has 700 names, blobs and
// prefixes together, and never more blobs than asked for.
type azure struct {
	container string
	// denied, if not nil, returns the code with which a request is refused.
	denied func(r *http.Request) (int, string)

	mu    sync.Mutex
	blobs map[string]azureBlob
	etags int
}

type azureBlob struct {
	body     []byte
	etag     string
	modified time.Time
}

func newAzure(container string) *azure {
	return &azure{container: container, blobs: map[string]azureBlob{}}
}

func (a *azure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, code string) {
		w.Header().Set("x-ms-error-code", code)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>in words</Message></Error>", code)
	}
	authorization := r.Header.Get("Authorization")
	signed := strings.HasPrefix(authorization, "SharedKey "+azureAccount+":") || strings.HasPrefix(authorization, "Bearer ") && r.TLS != nil
	if !signed && r.URL.Query().Get("sig") == "" {
		fail(http.StatusUnauthorized, "NoAuthenticationInformation")
		return
	}
	if a.denied != nil {
		if status, code := a.denied(r); status != 0 {
			fail(status, code)
			return
		}
	}
	container, name, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	name, err := url.PathUnescape(name)
	switch {
	case err != nil:
		fail(http.StatusBadRequest, "InvalidUri")
	case container != a.container:
		fail(http.StatusNotFound, "ContainerNotFound")
	case name == "" && r.Method == http.MethodGet && r.URL.Query().Get("comp") == "list":
		a.list(w, r.URL.Query())
	case r.Method == http.MethodPut && r.Header.Get("x-ms-blob-type") == "BlockBlob":
		body, err := io.ReadAll(r.Body)
		if err != nil || int64(len(body)) != r.ContentLength {
			fail(http.StatusBadRequest, "IncompleteBody")
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, exists := a.blobs[name]; exists && r.Header.Get("If-None-Match") == "*" {
			fail(http.StatusConflict, "BlobAlreadyExists")
			return
		}
		a.etags++
		b := azureBlob{body, fmt.Sprintf(`"0x%X"`, a.etags), time.Now()}
		a.blobs[name] = b
		w.Header().Set("ETag", b.etag)
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodGet:
		a.mu.Lock()
		b, exists := a.blobs[name]
		a.mu.Unlock()
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("x-ms-range"), "bytes=%d-", &from); err != nil && r.Header.Get("x-ms-range") != "" {
			fail(http.StatusBadRequest, "InvalidHeaderValue")
			return
		}
		switch match := r.Header.Get("If-Match"); {
		case !exists:
			fail(http.StatusNotFound, "BlobNotFound")
		case match != "" && match != b.etag:
			fail(http.StatusPreconditionFailed, "ConditionNotMet")
		case from > len(b.body):
			fail(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
		default:
			w.Header().Set("ETag", b.etag)
			w.Header().Set("Content-Length", strconv.Itoa(len(b.body)-from))
			if from > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b.body)-1, len(b.body)))
				w.WriteHeader(http.StatusPartialContent)
			}
			w.Write(b.body[from:])
		}
	case r.Method == http.MethodDelete:
		a.mu.Lock()
		_, exists := a.blobs[name]
		delete(a.blobs, name)
		a.mu.Unlock()
		if !exists {
			fail(http.StatusNotFound, "BlobNotFound")
			return
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		fail(http.StatusMethodNotAllowed, "UnsupportedHttpVerb")
	}
}

func (a *azure) list(w http.ResponseWriter, query url.Values) {
	type properties struct {
		Modified string `xml:"Last-Modified"`
		Size     int    `xml:"Content-Length"`
	}
	type blob struct {
		Name       string
		Properties properties
	}
	type prefix struct{ Name string }
	var answer struct {
		XMLName xml.Name `xml:"EnumerationResults"`
		Blobs   struct {
			Blob       []blob
			BlobPrefix []prefix
		}
		NextMarker string
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for name := range a.blobs {
		if strings.HasPrefix(name, query.Get("prefix")) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	last := ""
	for _, name := range names {
		entry, isPrefix := name, false
		if delimiter := query.Get("delimiter"); delimiter != "" {
			if i := strings.Index(name[len(query.Get("prefix")):], delimiter); i >= 0 {
				entry, isPrefix = name[:len(query.Get("prefix"))+i+1], true
			}
		}
		if entry == last || entry < query.Get("marker") {
			continue
		}
		if len(answer.Blobs.Blob)+len(answer.Blobs.BlobPrefix) == 700 {
			answer.NextMarker = entry
			break
		}
		last = entry
		if isPrefix {
			answer.Blobs.BlobPrefix = append(answer.Blobs.BlobPrefix, prefix{entry})
			continue
		}
		b := a.blobs[name]
		answer.Blobs.Blob = append(answer.Blobs.Blob, blob{name, properties{b.modified.UTC().Format(http.TimeFormat), len(b.body)}})
	}
	w.Header().Set("Content-Type", "application/xml")
	io.WriteString(w, xml.Header)
	xml.NewEncoder(w).Encode(answer)
}
