package convert

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/tapedeck/tapedeck/convert/curl"
	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// targets writes vegeta's targets, one on each line.
type targets struct {
	w   *bufio.Writer
	buf []byte
}

func newTargets(w io.Writer, _ string) Writer { return &targets{w: bufio.NewWriterSize(w, 64<<10)} }

func (t *targets) Write(e *recording.Exchange) (losses recording.LossList, err error) {
	q, err := web.NewRequest(e, &losses)
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(q.URL); err != nil { // vegeta would count an attack's request as failed
		return nil, &recording.LeftOutError{Where: e.UUID.String(), What: "a URL that vegeta can't parse"}
	}
	b := append(t.buf[:0], `{"method":`...)
	b = append(recording.AppendString(b, q.Method), `,"url":`...)
	b = recording.AppendString(b, q.URL)
	if len(q.Body) > 0 {
		b = append(b, `,"body":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, q.Body), '"')
	}
	if len(q.Headers) > 0 {
		text, err := q.Headers.MarshalJSON()
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"header":`...), text...)
	}
	t.buf = append(b, "}\n"...)
	_, err = t.w.Write(t.buf)
	return losses, err
}

func (t *targets) Close() error { return t.w.Flush() }

// script writes a shell script that calls curl.
type script struct{ w *bufio.Writer }

func newScript(w io.Writer, _ string) Writer {
	s := &script{bufio.NewWriterSize(w, 64<<10)}
	_, _ = s.w.WriteString("#!/bin/sh\n") // Close has the error
	return s
}

func (s *script) Write(e *recording.Exchange) (recording.LossList, error) {
	c, losses, err := curl.New(e)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(s.w, "\n# %s %s\n%s\n", e.TS.UTC().Format(time.RFC3339Nano), e.UUID, c.Line())
	return losses, err
}

func (s *script) Close() error { return s.w.Flush() }
