package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/recording/read"
)

// conversion is the command with its flags.
type conversion struct {
	selection
	output, format, as string
}

// newConvertCommand converts between recordings and the formats of other tools.
func newConvertCommand() *cobra.Command {
	var c conversion
	var reads, writes []string
	var table strings.Builder
	for _, f := range convert.Formats() {
		does := ""
		if f.Reads {
			reads, does = append(reads, f.Name), "read"
		}
		if f.Writes {
			writes = append(writes, f.Name)
			does = strings.TrimPrefix(does+", written", ", ")
		}
		fmt.Fprintf(&table, "  %-9s %-13s %-14s %s\n", f.Name, strings.Join(f.Extensions, " "), does, strings.ReplaceAll(f.Doc, "`", ""))
	}
	cmd := &cobra.Command{
		Use:   "convert PLACE|FILE... -o FILE|DIRECTORY",
		Short: "Convert between recordings and the formats of other tools",
		Long: `Reads recordings, snapshots and files of other tools, and writes the selected exchanges in another format, in the
order of their start. It recognises the format of the input by its content, and that of the output by its name or
--format.

` + table.String() + `
Convert names each loss on standard error. It redacts nothing: use tapedeck redact on files of other tools.

Exit codes: 0 if each exchange was written; 2 if it could not run; 6 if the input is damaged (without
--allow-damaged, nothing is written) or if some exchanges don't fit the format (the others are written).`,
		Example: `  tapedeck convert recording.har -o rrpairs.jsonl
  tapedeck convert s3://recordings/prod --namespace shop --since 1h -o shop.har
  tapedeck convert requests_0.gor -o pairs --format markdown
  tapedeck convert recordings --direction in --format vegeta | vegeta attack -format=json -rate 50`,
		Annotations: map[string]string{onSignal: cleansUp},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return coded(errors.New("want a place or a file: tapedeck convert PLACE|FILE... -o FILE|DIRECTORY"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return coded(c.run(cmd, args)) },
	}
	cmd.SetFlagErrorFunc(flagError)
	flags := cmd.Flags()
	flags.StringVarP(&c.output, "output", "o", "", "`file` to write, or for markdown a directory; .gz and .zst compress it. The default, -, is standard output")
	flags.StringVarP(&c.format, "format", "f", "", "format to write: "+strings.Join(writes, ", "))
	flags.StringVar(&c.as, "as", "", "give all exchanges this direction: in (a client sent them) or out (a dependency answered them)")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(writes, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("as", cobra.FixedCompletions([]string{"in", "out"}, cobra.ShellCompDirectiveNoFileComp))
	c.selection.register(cmd)
	return cmd
}

// target is where and how exchanges are written.
type target struct {
	*convert.Format
	name        string // "": standard output
	compression string
}

// target reads from the flags where and how to write.
func (c *conversion) target() (t target, err error) {
	t.name = c.output
	if t.name == "-" {
		t.name = ""
	}
	t.Format, t.compression = convert.ByName(t.name)
	info, statErr := os.Stat(t.name)
	isDir := statErr == nil && info.IsDir() || strings.HasSuffix(t.name, "/")
	if c.format != "" {
		if t.Format, err = convert.Find(c.format); err != nil {
			return t, fmt.Errorf("--%w", err)
		}
	} else if t.Format == nil && isDir {
		t.Format, err = convert.Find("markdown")
	}
	switch {
	case err != nil:
		return t, err
	case t.Format == nil:
		return t, fmt.Errorf("output %q: its name doesn't say which format; want --format, or one of %s", c.output, extensions())
	case !t.Writes:
		return t, fmt.Errorf("format %s: it can be read, but not written", t.Name)
	case strings.Contains(t.name, "://"):
		return t, fmt.Errorf("output %q: want a file or a directory, not the URL of a place", c.output)
	case t.Marshal != nil && t.name == "":
		return t, fmt.Errorf("format %s: it has a file for each exchange; want --output DIRECTORY", t.Name)
	case t.Marshal != nil && statErr == nil && !info.IsDir():
		return t, fmt.Errorf("output %q: format %s has a file for each exchange; want a directory", c.output, t.Name)
	case t.Marshal == nil && isDir:
		return t, fmt.Errorf("output %q: it is a directory, and format %s is one file", c.output, t.Name)
	case t.Marshal != nil && strings.HasSuffix(t.name, ".md"):
		return t, fmt.Errorf("output %q: format %s has a file for each exchange; want the name of a directory", c.output, t.Name)
	case t.compression == ".zst" && t.Name != "rrpair":
		return t, fmt.Errorf("output %q: other tools don't read format %s with .zst; want .gz, or no compression", c.output, t.Name)
	}
	return t, nil
}

func extensions() string {
	var all []string
	for _, f := range convert.Formats() {
		if f.Writes {
			all = append(all, f.Extensions[0])
		}
	}
	return strings.Join(all, ", ")
}

func (c *conversion) run(cmd *cobra.Command, places []string) error {
	t, err := c.target()
	if err != nil {
		return err
	}
	if c.as = strings.ToUpper(c.as); c.as != "" && c.as != recording.In && c.as != recording.Out {
		return fmt.Errorf("--as %q: want in or out", strings.ToLower(c.as))
	}
	sel, err := c.parse(time.Now())
	if err != nil {
		return err
	}
	var stores []read.Store
	for _, place := range places {
		if t.name != "" && sameFile(place, t.name) {
			return fmt.Errorf("output %q: it is the input, too; name another file", c.output)
		}
		s, err := openToRead(cmd.Context(), place)
		if err != nil {
			return err
		}
		stores = append(stores, s)
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.clear()
	run := &converting{conversion: c, target: t, match: sel.Match, progress: p}
	foreign := convert.Files{Opened: func(f *convert.Format) {
		if f.Name != "markdown" { // markdown is also a form of recordings
			run.foreign.Store(true)
		}
	}}
	o := read.Options{Order: read.Sorted, Recycle: true, Foreign: foreign, Progress: func(done, all int) { p.show("read %d of %d files", done, all) }}
	if run.reader, err = read.Open(cmd.Context(), sel.Query, o, stores...); err != nil {
		return err
	}
	if err := run.write(cmd.Context(), cmd.OutOrStdout()); err != nil {
		return err
	}
	p.clear()
	return run.report(cmd.ErrOrStderr())
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// converting is one run.
type converting struct {
	*conversion
	target
	match    func(*recording.Exchange) bool
	reader   *read.Reader
	progress *progress
	foreign  atomic.Bool // a file of another tool was read

	written, left uint64
	notes         []note
	more          uint64 // losses that are in no note
}

// note is a kind of loss, and how often it occurred.
type note struct {
	text, first, how string
	count            uint64
}

// write writes everything, or nothing.
func (c *converting) write(ctx context.Context, stdout io.Writer) error {
	switch {
	case c.Marshal != nil:
		return c.folder()
	case c.name == "":
		return c.stream(stdout)
	}
	return writeWhole(c.name, 0o600, c.stream) // the mode of recordings
}

// stream writes one file.
func (c *converting) stream(to io.Writer) error {
	var closer io.Closer = io.NopCloser(nil)
	switch c.compression {
	case ".gz":
		z := gzip.NewWriter(to)
		to, closer = z, z
	case ".zst":
		z, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
		if err != nil {
			return err
		}
		to, closer = z, z
	}
	w := c.Create(to, buildVersion())
	err := c.each(func(e *recording.Exchange) error {
		losses, err := w.Write(e)
		if err == nil {
			for _, loss := range losses {
				c.note(loss, e.UUID.String(), "written with a loss")
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(w.Close(), closer.Close())
}

// each calls f with each exchange that is selected.
func (c *converting) each(f func(*recording.Exchange) error) error {
	for rec, err := range c.reader.Records() {
		if err == nil && !c.allowDamaged {
			err = c.damaged() // sorting reads everything before the first record
		}
		if err != nil {
			return err
		}
		e := rec.Exchange
		if c.match != nil && !c.match(e) {
			continue
		}
		if c.as != "" {
			e.Direction = c.as
		}
		for _, loss := range rec.Losses {
			c.note(loss, e.UUID.String()+" in "+rec.Key, "read with a loss")
		}
		err := f(e)
		var left *recording.LeftOutError
		switch {
		case errors.As(err, &left):
			c.left++
			c.note(left.What, left.Where, "left out")
		case err != nil:
			return err
		default:
			c.written++
			c.progress.show("wrote %d exchanges", c.written)
		}
	}
	if c.allowDamaged {
		return nil
	}
	return c.damaged()
}

func (c *converting) damaged() error {
	if err := c.reader.Report().Damaged(); err != nil {
		return &codedError{codeIncomplete, fmt.Errorf("%w; --allow-damaged converts the exchanges that can be read", err)}
	}
	return nil
}

// maxLossNotes is how many kinds of losses are reported.
const maxLossNotes = 100

func (c *converting) note(text, first, how string) {
	at := slices.IndexFunc(c.notes, func(n note) bool { return n.text == text && n.how == how })
	if at < 0 {
		if len(c.notes) == maxLossNotes {
			c.more++
			return
		}
		at = len(c.notes)
		c.notes = append(c.notes, note{text: text, first: first, how: how})
	}
	c.notes[at].count++
}

// folder writes a file for each exchange, as HOST/TIME.md: all of them, or none.
func (c *converting) folder() error {
	entries, err := os.ReadDir(c.name)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("output %q: it is not empty; name a new or an empty directory", c.output)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	isNew := err != nil
	if err := os.MkdirAll(c.name, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(c.name, ".tapedeck-*") // readers leave out hidden names
	if err != nil {
		return err
	}
	err = c.files(tmp)
	if entries, err2 := os.ReadDir(tmp); err == nil {
		err = err2
		for _, e := range entries {
			err = errors.Join(err, os.Rename(filepath.Join(tmp, e.Name()), filepath.Join(c.name, e.Name())))
		}
	}
	err = errors.Join(err, os.RemoveAll(tmp))
	if err != nil && isNew {
		_ = os.Remove(c.name)
	}
	return err
}

// files writes the files of the exchanges into a directory.
func (c *converting) files(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var text []byte
	return c.each(func(e *recording.Exchange) error {
		text = c.Marshal(text[:0], e)
		folder := folderName(e.Host())
		if err := root.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		base := filepath.Join(folder, e.TS.UTC().Format("2006-01-02_15-04-05.000000000Z"))
		for n := 0; ; n++ {
			name := base + c.Extensions[0]
			if n > 0 { // another one has the same time
				name = fmt.Sprintf("%s-%s-%d%s", base, e.UUID, n, c.Extensions[0])
			}
			f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, os.ErrExist) {
				continue
			}
			if err != nil {
				return err
			}
			_, err = f.Write(text)
			return errors.Join(err, f.Close())
		}
	})
}

// folderName turns any host into the name of a folder.
func folderName(host string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
			return r
		}
		return '_'
	}, host)
	if name = strings.TrimLeft(name[:min(len(name), 100)], "."); name == "" {
		return "unknown"
	}
	return name
}

// report prints what was written and what was not.
func (c *converting) report(w io.Writer) error {
	b := bufio.NewWriter(w)
	defer b.Flush()
	for _, f := range c.reader.Report().Findings() {
		if f.Kind == read.Lossy { // the notes say more
			continue
		}
		fmt.Fprintf(b, "note: %s\n", clean.Text(f.String()))
	}
	for _, n := range c.notes {
		fmt.Fprintf(b, "note: %d %s: %s; the first is %s\n", n.count, n.how, clean.Text(n.text), clean.Text(n.first))
	}
	if c.more > 0 {
		fmt.Fprintf(b, "note: %d more losses, of other kinds\n", c.more)
	}
	if c.foreign.Load() && c.written > 0 {
		fmt.Fprintln(b, "note: convert redacts nothing, and files of other tools may hold secrets: tapedeck redact removes them")
	}
	where := c.name
	if where == "" {
		where = "standard output"
	}
	fmt.Fprintf(b, "wrote %d exchanges as %s to %s\n", c.written, c.Name, where)
	if c.left > 0 {
		b.Flush()
		return exitError(codeIncomplete)
	}
	return nil
}
