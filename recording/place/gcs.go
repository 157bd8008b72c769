package place

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// gcsDriver speaks the JSON protocol of Google Cloud Storage
// (https://cloud.google.com/storage/docs/json_api/v1).
type gcsDriver struct {
	client   *http.Client
	endpoint string
	bucket   string
}

const gcsScope = "https://www.googleapis.com/auth/devstorage.read_write"

func openGCS(ctx context.Context, p contract.Place) (driver, error) {
	endpoint := cmp.Or(p.Setting("endpoint"), os.Getenv("STORAGE_EMULATOR_HOST"), "https://storage.googleapis.com")
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	transport, err := newTransport()
	if err != nil {
		return nil, err
	}
	d := &gcsDriver{client: &http.Client{Transport: transport}, endpoint: strings.TrimSuffix(endpoint, "/"), bucket: p.Host}
	if !strings.HasPrefix(endpoint, "https://") {
		return d, nil // an emulator; no credentials, because others could read a token without TLS
	}
	// The context must outlive Open, because tokens are also fetched later.
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: transport})
	found, err := google.FindDefaultCredentials(ctx, gcsScope)
	if err != nil {
		return nil, asCredentialsError(err)
	}
	d.client.Transport = &oauth2.Transport{Base: transport, Source: googleCredentials{found.TokenSource}}
	return d, nil
}

type googleCredentials struct{ oauth2.TokenSource }

func (c googleCredentials) Token() (*oauth2.Token, error) {
	token, err := c.TokenSource.Token()
	return token, asCredentialsError(err)
}

// gcsError is an error answer.
type gcsError struct {
	status          int
	reason, message string
}

func (e *gcsError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s: %s", e.status, cmp.Or(e.reason, http.StatusText(e.status)), e.message))
}

// do makes a request, with retries, and returns a successful answer. All requests are safe to repeat,
// because put is conditional. body returns the request's body from its start; it is nil if there is none.
func (d *gcsDriver) do(ctx context.Context, method, path string, query url.Values, header http.Header, body func() io.Reader, size int64) (*http.Response, error) {
	target := d.endpoint + path + "?" + query.Encode()
	return retried(ctx, func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, target, nil)
		if err != nil {
			return nil, backoff.Permanent(err)
		}
		if header != nil {
			req.Header = header
		}
		if body != nil && size > 0 {
			req.Body, req.ContentLength = io.NopCloser(body()), size
		}
		resp, err := d.client.Do(req)
		if err != nil {
			if _, ok := errors.AsType[*credentialsError](err); ok || ctx.Err() != nil {
				return nil, backoff.Permanent(err)
			}
			return nil, err
		}
		if resp.StatusCode < 300 {
			return resp, nil
		}
		failed := readGCSError(resp)
		if s := resp.StatusCode; s == http.StatusRequestTimeout || s == http.StatusTooManyRequests || s >= 500 && s != http.StatusNotImplemented {
			return nil, failed
		}
		return nil, backoff.Permanent(failed)
	})
}

func readGCSError(resp *http.Response) error {
	defer resp.Body.Close()
	failed := &gcsError{status: resp.StatusCode}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var answer struct {
		Error struct {
			Message string
			Errors  []struct{ Reason string }
		}
	}
	if json.Unmarshal(text, &answer) == nil {
		failed.message = answer.Error.Message
		if len(answer.Error.Errors) > 0 {
			failed.reason = answer.Error.Errors[0].Reason
		}
	} else if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		failed.message = string(text)
	}
	return failed
}

func (d *gcsDriver) object(key string) string {
	return "/storage/v1/b/" + d.bucket + "/o/" + url.PathEscape(key)
}

func (d *gcsDriver) put(ctx context.Context, key string, body io.ReadSeeker, size int64) error {
	// Each attempt takes the body from the previous one, which may still be reading it.
	var attempt *loan
	start := func() io.Reader {
		if attempt != nil {
			attempt.end()
		}
		attempt = &loan{body: body, failed: func(error) {}}
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			attempt.end()
		}
		return attempt
	}
	query := url.Values{"uploadType": {"media"}, "name": {key}, "ifGenerationMatch": {"0"}}
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	resp, err := d.do(ctx, http.MethodPost, "/upload/storage/v1/b/"+d.bucket+"/o", query, header, start, size)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (d *gcsDriver) get(ctx context.Context, key string, offset int64, version string) (io.ReadCloser, string, error) {
	query := url.Values{"alt": {"media"}}
	if version != "" {
		query.Set("generation", version)
	}
	header := http.Header{"Accept-Encoding": {"gzip"}} // otherwise Google may decompress the object
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := d.do(ctx, http.MethodGet, d.object(key), query, header, nil, 0)
	if err != nil {
		return nil, "", err
	}
	if offset > 0 && resp.StatusCode != http.StatusPartialContent {
		resp.Body.Close()
		return nil, "", errNoRange
	}
	return resp.Body, resp.Header.Get("X-Goog-Generation"), nil
}

func (d *gcsDriver) pages(ctx context.Context, prefix, delimiter string) iter.Seq2[page, error] {
	return paged(func(token string) (page, error) { return d.list(ctx, prefix, delimiter, token) })
}

func (d *gcsDriver) list(ctx context.Context, prefix, delimiter, token string) (page, error) {
	query := url.Values{"prefix": {prefix}, "maxResults": {"1000"}, "fields": {"items(name,size,updated),prefixes,nextPageToken"}}
	if delimiter != "" {
		query.Set("delimiter", delimiter)
	}
	if token != "" {
		query.Set("pageToken", token)
	}
	resp, err := d.do(ctx, http.MethodGet, "/storage/v1/b/"+d.bucket+"/o", query, nil, nil, 0)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	var answer struct {
		Items []struct {
			Name, Size string
			Updated    time.Time
		}
		Prefixes      []string
		NextPageToken string
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&answer); err != nil {
		return page{}, fmt.Errorf("read the store's answer: %w", err)
	}
	p := page{folders: answer.Prefixes, next: answer.NextPageToken}
	for _, o := range answer.Items {
		size, err := strconv.ParseInt(o.Size, 10, 64)
		if err != nil {
			return page{}, fmt.Errorf("read the store's answer: size of %q: %w", o.Name, err)
		}
		p.objects = append(p.objects, store.Object{Key: o.Name, Size: size, Modified: o.Updated})
	}
	return p, nil
}

func (d *gcsDriver) delete(ctx context.Context, key string) error {
	resp, err := d.do(ctx, http.MethodDelete, d.object(key), nil, nil, nil, 0)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (d *gcsDriver) diagnose(op string, err error) diagnosis {
	e, ok := errors.AsType[*gcsError](err)
	if !ok {
		return diagnosis{}
	}
	found := diagnosis{words: e.Error()}
	switch e.status {
	case http.StatusPreconditionFailed:
		found.problem = inUse
	case http.StatusUnauthorized:
		found.problem = badCredentials
	case http.StatusForbidden:
		found.problem = denied
	case http.StatusNotFound:
		found.problem = absent
		if op == "put" || op == "list" || strings.Contains(e.message, "bucket does not exist") {
			found.problem = noBucket
		}
	}
	return found
}
