package archive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
	recordingread "github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

const (
	folder = "cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20/"
	first  = folder + "20261122T200000.000Z-cart-0-0.jsonl.zst"
	second = folder + "20261122T200500.000Z-cart-0-1.jsonl.zst"
	third  = folder + "20261122T201000.000Z-cart-0-2.jsonl.zst"
)

// put creates files in a directory.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// read reads an archive into a map.
func read(t *testing.T, r io.Reader, limits Limits) (map[string]string, Mark, error) {
	t.Helper()
	got := map[string]string{}
	m, err := Read(t.Context(), r, limits, func(key recording.SegmentKey, size int64, content io.Reader) error {
		text, err := io.ReadAll(content)
		if err == nil && int64(len(text)) != size {
			t.Errorf("%s: %d bytes, %d announced", key, len(text), size)
		}
		got[key.String()] = string(text)
		return err
	})
	return got, m, err
}

func TestAnArchiveHasTheSegmentsAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	want := map[string]string{first: "one", second: "", third + recording.PartSuffix: "three, unfinished"}
	put(t, dir, want)
	put(t, dir, map[string]string{"_duckdb.sql": "columns", ".try-123": "", "notes.txt": "x", folder + "backup/x.jsonl.zst": "y"})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, folder+"20261122T203000.000Z-cart-0-3.jsonl.zst")); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), io.Discard, dir, "v1"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a link instead of a segment: %v", err)
	}
	os.Remove(filepath.Join(dir, folder+"20261122T203000.000Z-cart-0-3.jsonl.zst"))

	var b bytes.Buffer
	sent, err := Write(t.Context(), &b, dir, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if wanted := (Mark{Format: 1, Version: "v1", Segments: 3, Bytes: 20, Parts: 1, Skipped: 2}); sent != wanted {
		t.Errorf("%+v, want %+v", sent, wanted)
	}
	got, mark, err := read(t, &b, DefaultLimits())
	if err != nil || mark != sent {
		t.Errorf("%+v, %v", mark, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestADirectoryWithoutSegmentsIsAnArchive(t *testing.T) {
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, t.TempDir(), "v1"); err != nil {
		t.Fatal(err)
	}
	if got, _, err := read(t, &b, DefaultLimits()); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestADirectoryThatIsMissingIsNamed(t *testing.T) {
	_, err := Write(t.Context(), io.Discard, filepath.Join(t.TempDir(), "nowhere"), "v1")
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "nowhere") {
		t.Error(err)
	}
}

// hook calls a function before the archive's nth write.
type hook struct {
	io.Writer
	calls map[int]func()
	n     int
}

func (h *hook) Write(p []byte) (int, error) {
	h.n++
	if f := h.calls[h.n]; f != nil {
		f()
	}
	return h.Writer.Write(p)
}

// While the archive is written, segments are completed, removed and begun.
func TestSegmentsChangeWhileTheyAreSent(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, dir, map[string]string{first: "one", second + recording.PartSuffix: "tw", third: "three"})
	var b bytes.Buffer
	// The folder has been listed when the header of the first segment is written.
	w := &hook{Writer: &b, calls: map[int]func(){1: func() {
		os.Rename(at(second+recording.PartSuffix), at(second))
		os.WriteFile(at(second), []byte("two"), 0o600)
		os.Remove(at(third))
		put(t, dir, map[string]string{folder + "20261122T203000.000Z-cart-0-3.jsonl.zst": "four"})
	}}}
	sent, err := Write(t.Context(), w, dir, "v1")
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := read(t, &b, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{first: "one", second: "two"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if sent.Removed != 1 || sent.Parts != 0 {
		t.Errorf("%+v", sent)
	}
}

// A segment briefly has both of its names when it is completed.
func TestASegmentWithBothNamesIsSentOnce(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{first: "one", first + recording.PartSuffix: "one", second: "two"})
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, dir, "v1"); err != nil {
		t.Fatal(err)
	}
	got, _, err := read(t, &b, DefaultLimits())
	if diff := cmp.Diff(map[string]string{first: "one", second: "two"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// Bytes that are added to a segment later are not sent. A segment that shrinks breaks the archive,
// and the error says so.
func TestASegmentGrowsOrShrinksWhileItIsSent(t *testing.T) {
	for size, want := range map[int64]error{1 << 20: nil, 300 << 10: nil, 100 << 10: ErrCutBack} {
		dir := t.TempDir()
		part := second + recording.PartSuffix
		put(t, dir, map[string]string{part: strings.Repeat("x", 300<<10)})
		var b bytes.Buffer
		w := &hook{Writer: &b, calls: map[int]func(){2: func() {
			if err := os.Truncate(filepath.Join(dir, part), size); err != nil {
				t.Error(err)
			}
		}}}
		if _, err := Write(t.Context(), w, dir, "v1"); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", size, err, want)
		}
		got, _, err := read(t, &b, DefaultLimits())
		if want != nil && !errors.Is(err, errEarly) || want == nil && (err != nil || got[part] != strings.Repeat("x", 300<<10)) {
			t.Errorf("%d: %d bytes, %v", size, len(got[part]), err)
		}
	}
}

// The archive of a running sidecar contains everything that it has flushed, and can be read.
func TestAnArchiveOfASidecarThatIsRecording(t *testing.T) {
	dir := t.TempDir()
	r, err := spool.Open(dir, spool.Options{SegmentOptions: spool.SegmentOptions{Namespace: "shop", Pod: "cart-0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	for n := range 100 {
		r.Write(&recording.Exchange{MsgType: recording.MsgType, Direction: recording.In, Location: fmt.Sprintf("/%d", n)})
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if m, err := Write(t.Context(), &b, dir, "v1"); err != nil || m.Parts != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	got, _, err := read(t, &b, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	put(t, out, got)
	n := 0
	for e, err := range recordingread.All(t.Context(), recordingread.Options{}, store.Dir(out)) {
		if err != nil || e.Location != fmt.Sprintf("/%d", n) {
			t.Errorf("%d: %v, %v", n, e, err)
		}
		n++
	}
	if n != 100 {
		t.Errorf("%d exchanges", n)
	}
}

// A spool is larger than the memory of the container that it is exported from.
func TestWriteHoldsNoSegmentInMemory(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{first: ""})
	if err := os.Truncate(filepath.Join(dir, first), 64<<20); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Write(t.Context(), io.Discard, dir, "v1"); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("it allocated %d bytes", took)
	}
}

// entry is an entry of a tar archive.
type entry struct {
	tar.Header
	content string
}

func regular(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o600, Format: tar.FormatPAX}, content}
}

func mark(segments, size int) entry {
	text, err := json.Marshal(Mark{Format: format, Segments: segments, Bytes: int64(size)})
	if err != nil {
		panic(err)
	}
	return regular(markName, string(text))
}

// build makes an archive of any entries.
func build(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// with returns an entry whose header is changed.
func with(e entry, change func(*tar.Header)) entry {
	change(&e.Header)
	return e
}

func TestAHostileArchiveIsRefused(t *testing.T) {
	good := regular(first, "one")
	of := func(flag byte, change func(*tar.Header)) entry {
		e := regular(second, "")
		e.Typeflag = flag
		return with(e, change)
	}
	link := func(h *tar.Header) { h.Linkname = "/etc/passwd" }
	nothing := func(*tar.Header) {}
	named := func(name string) []byte { return build(t, good, regular(name, "x"), mark(2, 4)) }
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"absolute path":           {named("/" + second), "folders"},
		"path to above":           {named("../../" + second), "folders"},
		"path over above":         {named(folder + "../hour=20/" + path.Base(second)), "folders"},
		"backslashes":             {named(strings.ReplaceAll(second, "/", `\`)), "folders"},
		"drive":                   {named("C:/" + second), "folders"},
		"hidden file":             {named(folder + ".bashrc"), "no .jsonl.zst"},
		"program":                 {named("cluster=c1/namespace=n/workload=w/date=2026-11-22/hour=20/run.sh"), "no .jsonl.zst"},
		"snapshot":                {named("snapshots/6ba7b810-9dad-41d1-80b4-00c04fd430c8/snapshot.json"), "folders"},
		"columns":                 {named("_duckdb.sql"), "folders"},
		"folder":                  {build(t, of(tar.TypeDir, func(h *tar.Header) { h.Name = folder }), mark(0, 0)), "only regular files"},
		"symbolic link":           {build(t, of(tar.TypeSymlink, link), mark(0, 0)), "only regular files"},
		"hard link":               {build(t, of(tar.TypeLink, link), mark(0, 0)), "only regular files"},
		"regular, with a target":  {build(t, of(tar.TypeReg, link), mark(1, 0)), "only regular files"},
		"character device":        {build(t, of(tar.TypeChar, func(h *tar.Header) { h.Devmajor, h.Devminor = 1, 3 }), mark(0, 0)), "only regular files"},
		"block device":            {build(t, of(tar.TypeBlock, nothing), mark(0, 0)), "only regular files"},
		"pipe":                    {build(t, of(tar.TypeFifo, nothing), mark(0, 0)), "only regular files"},
		"contiguous file":         {build(t, of(tar.TypeCont, nothing), mark(1, 0)), "only regular files"},
		"global header":           {build(t, entry{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": first}}, ""}, good, mark(1, 3)), "only regular files"},
		"setuid":                  {build(t, with(good, func(h *tar.Header) { h.Mode = 0o4755 }), mark(1, 3)), "only permissions"},
		"setgid":                  {build(t, with(good, func(h *tar.Header) { h.Mode = 0o2755 }), mark(1, 3)), "only permissions"},
		"sticky":                  {build(t, with(good, func(h *tar.Header) { h.Mode = 0o1755 }), mark(1, 3)), "only permissions"},
		"negative mode":           {build(t, with(good, func(h *tar.Header) { h.Mode = -1; h.Format = tar.FormatGNU }), mark(1, 3)), "only permissions"},
		"twice":                   {build(t, good, good, mark(2, 6)), "it is in the archive twice"},
		"extended attribute":      {build(t, with(good, func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"} }), mark(1, 3)), "only path is allowed"},
		"sparse, old":             {sparseGNU(), "only regular files"},
		"sparse, new":             {sparsePAX(t), "only path is allowed"},
		"large":                   {build(t, regular(first, strings.Repeat("x", 11)), mark(1, 11)), "a segment may have 10"},
		"announced as large":      {announced(1 << 40), "a segment may have 10"},
		"announced as negative":   {announced(-1), "not a tar archive"},
		"together large":          {build(t, regular(first, "0123456789"), regular(second, "0123456789"), regular(third, "0"), mark(3, 21)), "more than 20 bytes"},
		"many":                    {build(t, regular(first, ""), regular(second, ""), regular(third, ""), regular(third+recording.PartSuffix, ""), mark(4, 0)), "more than 3 segments"},
		"without a mark":          {build(t, good), "ended early"},
		"empty":                   {nil, "it is empty"},
		"not an archive":          {bytes.Repeat([]byte("Error from server (NotFound): pods not found\n"), 30), "not a tar archive"},
		"compressed":              {append([]byte("\x1f\x8b\x08"), make([]byte, 1000)...), "not a tar archive"},
		"mark of another number":  {build(t, good, mark(2, 3)), "1 segments with 3 bytes arrived, but 2 with 3 were sent"},
		"mark of another size":    {build(t, good, mark(1, 4)), "but 1 with 4 were sent"},
		"mark of the future":      {build(t, regular(markName, `{"format":2}`)), "found format 2, but this version reads only 1"},
		"mark that is not JSON":   {build(t, regular(markName, "{")), "read the mark"},
		"mark that is large":      {build(t, regular(markName, strings.Repeat(" ", maxMark+1))), "the mark has"},
		"entry after the mark":    {build(t, mark(0, 0), good), "found data after the mark"},
		"another archive after":   {append(build(t, good, mark(1, 3)), build(t, regular(second, "x"), mark(1, 1))...), "found data after the end"},
		"endless padding":         {append(build(t, good, mark(1, 3)), make([]byte, 1<<20)...), "the end"},
		"endless headers":         {bytes.Repeat(longName(), 100), "longer than the limits allow"},
		"name too long for paths": {named(folder + strings.Repeat("x", 5000) + ".jsonl.zst"), "no time at the start"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := read(t, bytes.NewReader(c.archive), Limits{Segments: 3, Segment: 10, Bytes: 20})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			} else if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
	if _, _, err := read(t, bytes.NewReader(build(t, good, mark(1, 3))), DefaultLimits()); err != nil {
		t.Error(err)
	}
}

// raw is a header in the old format, with a checksum.
func raw(name string, flag byte, size string, change func(block []byte)) []byte {
	block := make([]byte, 512)
	copy(block, name)
	copy(block[100:], "0000600\x000000000\x000000000\x00")
	copy(block[124:], size)
	copy(block[136:], "00000000000\x00        ")
	block[156] = flag
	copy(block[257:], "ustar  \x00")
	if change != nil {
		change(block)
	}
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
	return block
}

// announced returns a header with any size, in the format for large numbers.
func announced(size int64) []byte {
	return raw(first[len("cluster=c1/"):], tar.TypeReg, "", func(block []byte) {
		clear(block[:100])
		copy(block, folder)
		for i := range 12 {
			block[124+i] = byte(size >> 63)
		}
		for i := range 8 {
			block[135-i] = byte(size >> (8 * i))
		}
		block[124] |= 0x80
		copy(block[257:], "ustar\x0000")
		clear(block[:100])
		copy(block, "20261122T200000.000Z-cart-0-0.jsonl.zst")
		copy(block[345:], folder[:len(folder)-1])
	})
}

// sparseGNU returns a file of 1 TiB that takes one block.
func sparseGNU() []byte {
	return raw("a", 'S', "00000000000\x00", func(block []byte) {
		copy(block[483:], "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00") // its size
	})
}

// sparsePAX returns the same in the newer format.
func sparsePAX(t *testing.T) []byte {
	record := func(k, v string) string {
		s := fmt.Sprintf(" %s=%s\n", k, v)
		n := len(s) + 2
		return fmt.Sprintf("%d%s", n+n/101, s) // three digits from 100 on
	}
	records := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", first) + record("GNU.sparse.realsize", "9")
	content := "0\n" + strings.Repeat("\x00", 510)
	pax := func(block []byte) { copy(block[257:], "ustar\x0000") }
	b := raw("PaxHeaders/x", tar.TypeXHeader, fmt.Sprintf("%011o\x00", len(records)), pax)
	b = append(b, records...)
	b = append(b, make([]byte, -len(b)&511)...)
	b = append(b, raw("x", tar.TypeReg, "00000001000\x00", pax)...)
	b = append(b, content...)
	b = append(b, make([]byte, 1024)...)
	if h, err := tar.NewReader(bytes.NewReader(b)).Next(); err != nil || h.Name != first || h.Size != 9 {
		t.Fatalf("not a sparse file: %+v, %v", h, err)
	}
	return b
}

// longName returns a header that announces a name, but no file.
func longName() []byte {
	return append(raw("././@LongLink", tar.TypeGNULongName, "00000001000\x00", nil), bytes.Repeat([]byte("x"), 512)...)
}

// An archive that ends early is never taken for a complete one, wherever it ends.
func TestAnArchiveThatEndsEarlyIsNoWholeOne(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{first: strings.Repeat("1", 700), second: "", third: "3"})
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, dir, "v1"); err != nil {
		t.Fatal(err)
	}
	whole := len(bytes.TrimRight(b.Bytes(), "\x00"))
	for n := range whole {
		got, _, err := read(t, bytes.NewReader(b.Bytes()[:n]), DefaultLimits())
		if err == nil {
			t.Fatalf("%d of %d bytes: %v", n, b.Len(), got)
		}
		if n > 0 && n%512 == 0 && !errors.Is(err, errEarly) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// Read skips content that take doesn't read, and returns the error of take.
func TestTakeMayLeaveContentAndFail(t *testing.T) {
	archive := build(t, regular(first, "one"), regular(second, "two"), mark(2, 6))
	n := 0
	if _, err := Read(t.Context(), bytes.NewReader(archive), DefaultLimits(), func(recording.SegmentKey, int64, io.Reader) error { n++; return nil }); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	full := errors.New("no space left")
	if _, err := Read(t.Context(), bytes.NewReader(archive), DefaultLimits(), func(recording.SegmentKey, int64, io.Reader) error { return full }); !errors.Is(err, full) || !strings.Contains(err.Error(), first) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(build(f, regular(first, "one"), regular(second+recording.PartSuffix, ""), mark(2, 3)))
	f.Add(sparseGNU())
	f.Add(longName())
	f.Add(announced(5))
	f.Fuzz(func(t *testing.T, archive []byte) {
		limits := Limits{Segments: 8, Segment: 1 << 10, Bytes: 2 << 10}
		got, m, err := read(t, bytes.NewReader(archive), limits)
		var size int64
		for _, name := range slices.Sorted(maps.Keys(got)) {
			size += int64(len(got[name]))
			if _, err := recording.ParseSegmentKey(name); err != nil || len(got[name]) > 1<<10 {
				t.Errorf("%q of %d bytes was taken", name, len(got[name]))
			}
		}
		if len(got) > limits.Segments || size > limits.Bytes {
			t.Errorf("%d segments of %d bytes", len(got), size)
		}
		if err == nil && (m.Segments != len(got) || m.Bytes != size) {
			t.Errorf("%+v, %d of %d bytes", m, len(got), size)
		}
	})
}
