package ship

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// newClient returns the client for the collector. It uses one connection, HTTP/1.1, and no proxy.
func newClient(o Options) *http.Client {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	dial := o.dial
	if dial == nil {
		dial = dialer.DialContext
	}
	t := &http.Transport{
		Proxy:                  nil, // the variables in the environment are the application's
		DialContext:            dial,
		MaxConnsPerHost:        1,
		IdleConnTimeout:        10 * time.Second, // a segment comes every five minutes
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			raw.Close()
			return nil, err
		}
		cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
		if o.Roots != nil {
			cfg.RootCAs = o.Roots()
		}
		c := tls.Client(raw, cfg)
		if err := c.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return c, nil
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// timeFor bounds the time of an attempt: a grace period, because a collector may wait two minutes
// for its store, plus a second for every `bytes` bytes of the segment.
type timeFor struct {
	grace time.Duration
	bytes int64
}

var (
	patience     = timeFor{3 * time.Minute, 64 << 10}
	lastPatience = timeFor{5 * time.Second, 256 << 10} // while the pod ends
)

func (t timeFor) of(size int64) time.Duration {
	return t.grace + time.Duration(size)*time.Second/time.Duration(t.bytes)
}

// errSlow ends an attempt that takes too long.
var errSlow = errors.New("no answer in time")

// try makes one attempt at sending a segment.
func (s *Shipper) try(seg spool.Segment, t timeFor) verdict {
	key, err := recording.ParseSegmentKey(seg.Name)
	if err != nil {
		return verdict{fate: fateSetAside, reason: contract.RefusedKey, err: fmt.Errorf("%s: %w", seg.Name, err)}
	}
	f, err := os.Open(s.o.Dir.Path(seg.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return verdict{fate: fateGone}
	}
	if err != nil {
		return verdict{fate: fateHeld, reason: reasonSpool, err: err}
	}
	defer f.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	if err != nil {
		return verdict{fate: fateHeld, reason: reasonSpool, err: err}
	}
	digest := hash.Sum(nil)
	key.Digest = hex.EncodeToString(digest)[:recording.DigestDigits]

	ctx, cancel := context.WithCancelCause(s.work)
	defer cancel(nil)
	timer := time.AfterFunc(t.of(size), func() { cancel(errSlow) })
	defer timer.Stop()
	defer context.AfterFunc(s.closing, func() { timer.Reset(lastPatience.of(size)) })()
	v := s.put(ctx, key.String(), io.NewSectionReader(f, 0, size), digest)
	if v.err != nil && errors.Is(context.Cause(ctx), errSlow) {
		v = verdict{fate: fateRetried, reason: reasonSlow, err: errSlow}
	}
	return v
}

// put sends a segment under its key, and reads the answer.
func (s *Shipper) put(ctx context.Context, key string, body *io.SectionReader, digest []byte) verdict {
	token := ""
	if s.o.Token != nil {
		var err error
		if token, err = s.o.Token(); err != nil {
			return verdict{fate: fateKept, reason: contract.RefusedToken, err: err}
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.url+key, io.NopCloser(body))
	if err != nil {
		return verdict{fate: fateRetried, reason: reasonUnreachable, err: err}
	}
	req.ContentLength = body.Size()
	req.GetBody = func() (io.ReadCloser, error) { // on another connection, if the server has just closed this one
		return io.NopCloser(io.NewSectionReader(body, 0, body.Size())), nil
	}
	req.Header.Set("Content-Type", contract.SegmentType)
	req.Header.Set("Expect", "100-continue") // so that a collector can reject a segment before it is sent
	req.Header.Set("User-Agent", contract.Container)
	req.Header.Set(contract.HeaderContract, strconv.Itoa(contract.Version))
	req.Header.Set(contract.HeaderDigest, "sha-256=:"+base64.StdEncoding.EncodeToString(digest)+":")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return verdict{fate: fateRetried, reason: reasonUnreachable, err: err}
	}
	defer resp.Body.Close()
	return read(resp)
}

// read reads the collector's answer.
func read(resp *http.Response) verdict {
	// The rest of a short answer is read, so that the connection can be used again.
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	isCollector := resp.Header.Get(contract.HeaderContract) != "" // other servers may answer 200 to everything
	if isCollector && (resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusOK) {
		return verdict{fate: fateStored}
	}
	after := retryAfter(resp.Header.Get("Retry-After"), time.Now())
	if problem, ok := contract.ParseProblem(resp.Header.Get("Content-Type"), text); ok && err == nil {
		if r, ok := contract.RefusalOf(problem.Code); ok && r.Status == resp.StatusCode {
			return verdict{fateOf(r), r.Code, fmt.Errorf("the collector answered %d: %.300q", r.Status, problem.Detail), after}
		}
	}
	server := cmp.Or(resp.Header.Get("Server"), "a server without a name")
	return verdict{fateRetried, reasonAnswer, fmt.Errorf("%.100q answered %.100q", server, resp.Status), after}
}

// retryAfter parses a Retry-After header, in seconds or as a date (RFC 9110, section 10.2.3). It
// returns 0 if there is none.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(min(n, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
