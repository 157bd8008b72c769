package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/view"
	"github.com/tapedeck/tapedeck/view/index"
)

// viewer opens the arguments of the command line.
type viewer struct {
	cmd      *cobra.Command
	query    read.Query
	forget   bool
	progress *progress
}

// item opens what a name stands for. It recognises reports and receipts by the content of the file.
func (v *viewer) item(name string) (view.Item, error) {
	single, err := isSingleFile(name)
	if err != nil {
		return view.Item{}, err
	}
	if !single {
		return v.recording(name), nil
	}
	f, err := reader(v.cmd, name)
	if err != nil {
		return view.Item{}, err
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, maxStart))
	if err != nil {
		return view.Item{}, fmt.Errorf("read %s: %w", name, err)
	}
	whole := io.MultiReader(bytes.NewReader(start), f)
	switch kindOf(start) {
	case isReport:
		r, err := report.Read(whole)
		if err != nil {
			return view.Item{}, fmt.Errorf("%s: %w", name, err)
		}
		return view.Item{Name: name, Report: r}, nil
	case isReceipt:
		r, err := readReceipt(whole)
		if err != nil {
			return view.Item{}, fmt.Errorf("%s: %w", name, err)
		}
		return view.Item{Name: name, Receipt: r}, nil
	}
	return v.recording(name), nil
}

// isSingleFile reports whether a name stands, or may stand, for a single file. In a bucket or at
// a collector, a name that ends in .json may be that of a report.
func isSingleFile(name string) (bool, error) {
	if !strings.Contains(name, "://") {
		if strings.Contains(name, "@") { // as in the pin of a snapshot
			if _, err := os.Stat(name); err != nil {
				return false, nil
			}
		}
		info, err := os.Stat(name)
		if err != nil && strings.Contains(name, "snapshots/") {
			return false, nil // a snapshot in a place
		}
		if err != nil {
			return false, err
		}
		return info.Mode().IsRegular(), nil
	}
	p, err := contract.ParsePlace(name)
	if err != nil {
		return false, err
	}
	if p.IsDir() {
		info, err := os.Stat(p.Path)
		return err == nil && info.Mode().IsRegular(), nil
	}
	return path.Ext(p.Path) == ".json", nil
}

// recording returns the item for a place, a snapshot or a file.
func (v *viewer) recording(name string) view.Item {
	return view.Item{Name: name, Open: func(ctx context.Context, progress func(index.Progress)) (view.Index, error) {
		s, err := openToRead(ctx, name)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		var last index.Progress
		x, err := index.Open(ctx, index.Options{Foreign: convert.Files{}, Forget: v.forget, Progress: func(p index.Progress) {
			last = p
			progress(p)
			v.progress.show("tapedeck: %s: %s", name, p)
		}}, v.query, index.Source{Name: name, Store: s})
		v.progress.clear()
		if errors.Is(err, index.ErrDir) {
			return nil, fmt.Errorf("%w: --forget keeps no index, and XDG_CACHE_HOME can name another cache directory", err)
		}
		if err != nil {
			return nil, err
		}
		notes := v.cmd.ErrOrStderr()
		if last.Exchanges > 0 {
			fmt.Fprintf(notes, "tapedeck: %s: %d exchanges indexed in %s\n", name, last.Exchanges, time.Since(began).Round(time.Millisecond))
		}
		for _, f := range x.Report().Findings() {
			if read.Kinds()[f.Kind].Severity > read.Normal {
				fmt.Fprintf(notes, "tapedeck: %s: %s\n", name, clean.Text(f.String()))
			}
		}
		return x, nil
	}}
}

// fileKind says what a file is if it is not a recording.
type fileKind int

const (
	isOther fileKind = iota
	isReport
	isReceipt
)

// maxStart is how many bytes of a file kindOf looks at, and maxReceiptFile the largest size of a
// receipt, in bytes.
const (
	maxStart       = 1 << 20
	maxReceiptFile = 64 << 20
)

// marks are members that only a report or a receipt has. Files with exchanges have none of them.
var marks = map[string]fileKind{
	"schemaVersion": isReport, "differences": isReport, "generator": isReport, "metrics": isReport, "results": isReport,
	"escaped": isReceipt, "neverUsed": isReceipt, "loaded": isReceipt, "passthrough": isReceipt,
}

// kindOf recognises a file by the members of its first JSON object, as far as start has them.
func kindOf(start []byte) fileKind {
	d := json.NewDecoder(bytes.NewReader(start))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return isOther
	}
	for d.More() {
		t, err := d.Token()
		name, _ := t.(string)
		if err != nil {
			return isOther
		}
		if kind := marks[name]; kind != isOther {
			return kind
		}
		if err := skipValue(d); err != nil {
			return isOther
		}
	}
	return isOther
}

// skipValue skips a value.
func skipValue(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// readReceipt reads the receipt of a mock, which may come from anywhere.
func readReceipt(from io.Reader) (*mock.Receipt, error) {
	b, err := io.ReadAll(io.LimitReader(from, maxReceiptFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxReceiptFile {
		return nil, fmt.Errorf("receipt of more than %d MiB", maxReceiptFile>>20)
	}
	r := new(mock.Receipt)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("parse receipt: %w", err)
	}
	return r, nil
}
