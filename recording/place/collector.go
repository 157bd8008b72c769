package place

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cenkalti/backoff/v5"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// collectorDriver reads objects from a collector's read port.
type collectorDriver struct {
	client *http.Client
	base   url.URL
}

func openCollector(_ context.Context, p contract.Place) (driver, error) {
	transport, err := newTransport()
	if err != nil {
		return nil, err
	}
	return &collectorDriver{
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base:   url.URL{Scheme: p.Scheme, Host: p.Host},
	}, nil
}

// collectorError is an error answer.
type collectorError struct {
	status       int
	code, detail string
}

func (e *collectorError) Error() string {
	if e.detail != "" {
		return e.detail
	}
	return strings.TrimSpace(strconv.Itoa(e.status) + " " + http.StatusText(e.status))
}

var (
	errReadOnly     = errors.New("a collector takes no writes from commands: name the directory or the bucket that it stores in")
	errNoCollector  = errors.New("the answer does not come from a collector's read port: use `kubectl port-forward` to reach it; the default is 4311")
	errCutList      = errors.New("the list broke off")
	errForeignEntry = errors.New("the collector lists an entry that is invalid or was not requested")
)

// ask makes a request, with retries.
func (d *collectorDriver) ask(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	at := d.base
	at.Path, at.RawQuery = path, query.Encode()
	return retried(ctx, func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return nil, backoff.Permanent(err)
		}
		resp, err := d.client.Do(req)
		switch {
		case err != nil:
			return nil, err
		case resp.Header.Get(contract.HeaderContract) == "":
			resp.Body.Close()
			return nil, backoff.Permanent(errNoCollector)
		case resp.StatusCode == http.StatusOK:
			return resp, nil
		}
		failed := readProblem(resp)
		if resp.StatusCode >= 500 {
			return nil, failed
		}
		return nil, backoff.Permanent(failed)
	})
}

// readProblem returns the error of an answer, and closes the answer.
func readProblem(resp *http.Response) error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // a truncated body isn't JSON
	p, _ := contract.ParseProblem(resp.Header.Get("Content-Type"), body)
	return &collectorError{status: resp.StatusCode, code: p.Code, detail: p.Detail}
}

func (d *collectorDriver) put(context.Context, string, io.ReadSeeker, int64) error {
	return errReadOnly
}

func (d *collectorDriver) delete(context.Context, string) error { return errReadOnly }

// get implements driver. Objects are never overwritten, so each has one version.
func (d *collectorDriver) get(ctx context.Context, key string, offset int64, _ string) (io.ReadCloser, string, error) {
	query := url.Values{}
	if offset > 0 {
		query.Set("from", strconv.FormatInt(offset, 10))
	}
	resp, err := d.ask(ctx, contract.ObjectsPath+key, query)
	if err != nil {
		return nil, "", err
	}
	return resp.Body, "the only one", nil
}

// pages implements driver. The collector sends a list in one answer. The entries that have arrived
// form a page. If the answer breaks off, pages requests the rest.
func (d *collectorDriver) pages(ctx context.Context, prefix, delimiter string) iter.Seq2[page, error] {
	path := contract.ObjectsPath
	if delimiter != "" {
		path = contract.FoldersPath
	}
	return func(yield func(page, error) bool) {
		after, failures := "", 0
		for {
			query := url.Values{"prefix": {prefix}}
			if after != "" {
				query.Set("after", after)
			}
			resp, err := d.ask(ctx, path, query)
			if err != nil {
				yield(page{}, err)
				return
			}
			last, err := readList(resp.Body, prefix, yield)
			resp.Body.Close()
			if err == nil {
				return
			}
			if failures++; last != "" {
				after, failures = last, 0
			}
			if !errors.Is(err, errCutList) || failures > maxResumes || ctx.Err() != nil {
				yield(page{}, err)
				return
			}
		}
	}
}

// maxEntry limits the length of a line of a list: a key of 1024 bytes with JSON escapes.
const maxEntry = 16 << 10

// maxPage is how many entries a page may have.
const maxPage = 1000

// readList reads a list to its end, or until the caller stops. It returns the last key or folder.
func readList(in io.Reader, prefix string, yield func(page, error) bool) (last string, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxEntry)
	var p page
	pass := func() bool {
		all := p
		p = page{}
		return len(all.objects)+len(all.folders) == 0 || yield(all, nil)
	}
	for lines.Scan() {
		var e contract.Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			if !lines.Scan() { // the last line is incomplete
				break
			}
			return last, fmt.Errorf("read the collector's list: %w", err)
		}
		if e.End {
			pass()
			return last, nil
		}
		if e.Error != "" {
			if !pass() || !yield(page{}, &collectorError{code: e.Code, detail: e.Error}) {
				return last, nil
			}
			continue
		}
		name := e.Key + e.Folder
		if !strings.HasPrefix(name, prefix) || name == "" || e.Key != "" && e.Folder != "" || e.Size < 0 {
			return last, errForeignEntry
		}
		if last = name; e.Folder != "" {
			p.folders = append(p.folders, e.Folder)
		} else {
			p.objects = append(p.objects, store.Object{Key: e.Key, Size: e.Size, Modified: e.Modified})
		}
		if len(p.objects)+len(p.folders) == maxPage && !pass() {
			return last, nil
		}
	}
	if !pass() {
		return last, nil
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return last, err
	} else if err != nil {
		return last, fmt.Errorf("%w: %w", errCutList, err)
	}
	return last, errCutList
}

func (d *collectorDriver) diagnose(_ string, err error) diagnosis {
	if errors.Is(err, errReadOnly) {
		return diagnosis{problem: readOnly, words: err.Error()}
	}
	e, ok := errors.AsType[*collectorError](err)
	if !ok {
		return diagnosis{}
	}
	found := diagnosis{words: e.Error()}
	switch e.code {
	case contract.CodeNotFound:
		found.problem = absent
	case contract.CodeForbidden:
		found.problem = readOnly
	}
	return found
}
