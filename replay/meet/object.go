package meet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/replay/report"
)

// Names of objects, below the run's folder.
const (
	startName = "start.json"
	// ReportName is the report of the run. The run is over once it is stored.
	ReportName = "report.json"
)

// forms lists the forms of the report and the names of their objects.
var forms = []struct{ name, form string }{{"report.html", "html"}, {"junit.xml", "junit"}, {"summary.md", "markdown"}}

const (
	// maxNote bounds an object other than a report.
	maxNote = 4 << 20
	// maxReason bounds the reason why nobody sends a part.
	maxReason = 4 << 10
	// maxReport bounds a report.
	maxReport = 256 << 20
	// maxObjects bounds how many objects a run may have.
	maxObjects = 200_000
)

// marker says that a process is ready to send a part.
type marker struct {
	Run     string `json:"run"`
	Index   int    `json:"index"`
	Of      int    `json:"of"`
	Process string `json:"process"`
	// Written is the time by the process's clock.
	Written time.Time `json:"written"`
	// Report has the fields that are known before anything is sent. A replacement copies them into its
	// report.
	Report *report.Report `json:"report"`
}

// begin is the content of start.json.
type begin struct {
	Run string `json:"run"`
	Of  int    `json:"of"`
	// At is when the run begins. With one shard, that is when start.json was written.
	At time.Time `json:"at"`
	// SHA256 is the hash of the recording. All results must have the same one.
	SHA256 string `json:"sha256,omitempty"`
	// Shards are the processes that send, by index.
	Shards map[int]named `json:"shards"`
	// Notes are notes for the report.
	Notes []string `json:"notes,omitempty"`
	// Prepared is the result of preparing the run.
	Prepared string `json:"prepared,omitempty"`
}

// named is a process that sends a part, and the object with its marker.
type named struct {
	Process string `json:"process"`
	Marker  string `json:"marker"`
}

// failure says why nobody sends a part.
type failure struct {
	Run    string `json:"run"`
	Index  int    `json:"index"`
	Of     int    `json:"of"`
	Reason string `json:"reason"`
}

func markerName(index, attempt int) string {
	if attempt == 0 {
		return fmt.Sprintf("shard-%d.json", index)
	}
	return fmt.Sprintf("shard-%d-%d.json", index, attempt)
}

func progressName(index, n int) string { return fmt.Sprintf("progress-%d-%d", index, n) }

func resultName(index int) string { return fmt.Sprintf("result-%d.json", index) }

func failureName(index int) string { return fmt.Sprintf("failed-%d.json", index) }

// parseName parses the name of an object of one of four kinds: shard, progress, result or failed. n
// is the attempt or the number.
func parseName(name string) (kind string, index, n int, ok bool) {
	parts := strings.Split(strings.TrimSuffix(name, ".json"), "-")
	if len(parts) < 2 || len(parts) > 3 {
		return "", 0, 0, false
	}
	var numbers [2]int
	for i, text := range parts[1:] {
		number, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return "", 0, 0, false
		}
		numbers[i] = int(number)
	}
	kind, index, n = parts[0], numbers[0], numbers[1]
	canonical := map[string]string{"shard": markerName(index, n), "progress": progressName(index, n), "result": resultName(index), "failed": failureName(index)}[kind]
	return kind, index, n, canonical == name
}

// errForeign is wrapped by errors about objects that do not belong to the run.
var errForeign = errors.New("it does not belong to this run")

// get reads an object. It returns an error if the object has more than most bytes.
func (m *Meeting) get(ctx context.Context, name string, most int64) ([]byte, error) {
	r, err := m.o.Store.Get(ctx, m.key(name))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: %w: it has more than %d bytes", m.key(name), errForeign, most)
	}
	return b, err
}

// note reads an object into v, and checks it.
func (m *Meeting) note(ctx context.Context, name string, v any, check func() error) error {
	b, err := m.get(ctx, name, maxNote)
	if err != nil {
		return err
	}
	if err = json.Unmarshal(b, v); err == nil {
		err = check()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", m.key(name), errForeign, err)
	}
	return nil
}

func (m *Meeting) marker(ctx context.Context, name string) (*marker, error) {
	k := new(marker)
	return k, m.note(ctx, name, k, func() error {
		_, index, _, _ := parseName(name)
		if k.Run != m.o.Run || k.Index != index || k.Of != m.o.Of || k.Process == "" || k.Report == nil {
			return fmt.Errorf("it is for part %d of %d of %q", k.Index, k.Of, k.Run)
		}
		return nil
	})
}

// report reads the report of a part, or the report of the run if part is negative.
func (m *Meeting) report(ctx context.Context, name string, part int) (*report.Report, error) {
	b, err := m.get(ctx, name, maxReport)
	if err != nil {
		return nil, err
	}
	r, err := report.Parse(b)
	switch {
	case err != nil:
	case r.Run != m.o.Run:
		err = fmt.Errorf("it belongs to run %q; another run uses this ID, so give this one a different ID", r.Run)
	case r.Settings != m.o.Settings:
		err = errors.New("it is from a replay with other flags; use the same flags, or another ID")
	case m.begun != nil && r.Source.SHA256 != m.begun.SHA256:
		err = fmt.Errorf("its recording has the hash %q, and the run's has %q", r.Source.SHA256, m.begun.SHA256)
	case part < 0 && (r.ExitCode < 0 || r.ExitCode > report.Incomplete):
		err = fmt.Errorf("its exit code is %d", r.ExitCode)
	case part >= 0 && (r.Shard == nil || r.Shard.Index != part || r.Shard.Of != m.o.Of):
		err = fmt.Errorf("it is not the report of part %d of %d", part, m.o.Of)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", m.key(name), errForeign, err)
	}
	return r, nil
}

// stored is report with retries, because a place may fail.
func (m *Meeting) stored(ctx context.Context, name string, part int) (r *report.Report, err error) {
	err = m.retried(ctx, "read", name, func(ctx context.Context) (err error) {
		r, err = m.report(ctx, name, part)
		return err
	})
	return r, err
}

// result checks the result of this process's part. A result of another run is an error: results
// are stored once, so the part can't get another one.
func (m *Meeting) result(ctx context.Context) error {
	_, err := m.stored(ctx, resultName(m.o.Index), m.o.Index)
	if errors.Is(err, errForeign) {
		return fmt.Errorf("%w: %w", ErrNoResult, err)
	}
	return err
}

// put stores an object, unless it is stored already. It is an error if its name holds other bytes.
func (m *Meeting) put(ctx context.Context, name string, body []byte) error {
	return m.retried(ctx, "store", name, func(ctx context.Context) error {
		return store.PutOnce(ctx, m.o.Store, m.key(name), bytes.NewReader(body))
	})
}

// Keep stores an object for this process's replacement, unless an earlier process stored one.
func (m *Meeting) Keep(ctx context.Context, name string, body []byte) error {
	err := m.put(ctx, name, body)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Kept returns the bytes that Keep stored under a name, or nil if there are none.
func (m *Meeting) Kept(ctx context.Context, name string) (body []byte, err error) {
	err = m.retried(ctx, "read", name, func(ctx context.Context) error {
		body, err = m.get(ctx, name, maxNote)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return body, err
}

func encode(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

func encodeReport(r *report.Report) ([]byte, error) {
	var b bytes.Buffer
	err := write(&b, "json", r)
	return b.Bytes(), err
}

func write(to io.Writer, form string, r *report.Report) error {
	f, err := report.FormNamed(form)
	if err != nil {
		return err
	}
	return f.Write(to, r)
}
