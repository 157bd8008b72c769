package mock

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// pass forwards a request to its host, which is on the list.
func (q *ask) pass(why reason) {
	if len(q.body) > 0 { // the body was read already
		q.r.Body = io.NopCloser(bytes.NewReader(q.body))
	}
	q.out.why = why.text
	q.Passthrough.ServeHTTP(q.w, q.r, q.scheme, q.address(), func(res *http.Response) {
		q.out.begun, q.out.status, q.out.header = time.Now(), res.StatusCode, res.Header.Clone()
		if q.Sink != nil && res.Body != nil && res.StatusCode != http.StatusSwitchingProtocols {
			res.Body = &kept{res.Body, q}
		}
	})
	q.finish(Passed)
}

// kept is a body whose beginning is kept for the record.
type kept struct {
	io.ReadCloser
	q *ask
}

func (k *kept) Read(p []byte) (int, error) {
	n, err := k.ReadCloser.Read(p)
	k.q.out.size += int64(n)
	_, _ = (&keeper{k.q}).Write(p[:n])
	return n, err
}
