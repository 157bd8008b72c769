package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
)

// packRows is the number of rows in a compressed pack, and pathRows the number of rows whose paths
// are in one part.
const (
	packRows = 64
	pathRows = 4 << 10
	// maxPack bounds a pack: each of its rows has at most a dozen texts.
	maxPack = packRows * 16 * maxText
)

// place is the place of an exchange in the recording.
type place struct {
	store  int
	key    string
	offset int64
	parts  int
}

// entry has the values of an exchange in the index.
type entry struct {
	Row
	place
	shared   string // the part of the trace's ID that is the same in all pods
	answered bool
}

// append writes an entry.
func (e *entry) append(dst []byte) []byte {
	dst = append(dst, e.UUID[:]...)
	dst = append(dst, e.Parent[:]...)
	dst = binary.AppendVarint(dst, e.Start.Unix())
	dst = binary.AppendUvarint(dst, uint64(e.Start.Nanosecond()))
	flags := uint64(0)
	for i, set := range [...]bool{e.Failed, e.Truncated, e.answered} {
		if set {
			flags |= 1 << i
		}
	}
	for _, n := range [...]int64{int64(e.Duration), int64(flags), int64(e.Status), int64(e.GRPCStatus), e.RequestSize, e.ResponseSize, int64(e.Messages),
		int64(e.store), e.offset, int64(e.parts)} {
		dst = binary.AppendVarint(dst, n)
	}
	for _, s := range e.texts() {
		dst = append(binary.AppendUvarint(dst, uint64(len(*s))), *s...)
	}
	return dst
}

// texts returns pointers to the texts of an entry, in their stored order.
func (e *entry) texts() [16]*string {
	return [...]*string{&e.Direction, &e.Protocol, &e.Cluster, &e.Namespace, &e.Workload, &e.Pod, &e.Peer, &e.Method, &e.Host, &e.Path, &e.Endpoint,
		&e.ContentType, &e.Incomplete, &e.Trace, &e.shared, &e.key}
}

// read reads an entry.
func (e *entry) read(r *bytesReader) {
	copy(e.UUID[:], r.take(uint64(len(e.UUID))))
	copy(e.Parent[:], r.take(uint64(len(e.Parent))))
	seconds := r.varint()
	e.Start = time.Unix(seconds, int64(r.uvarint())).UTC()
	n := [10]int64{}
	for i := range n {
		n[i] = r.varint()
	}
	e.Duration, e.Status, e.GRPCStatus, e.RequestSize, e.ResponseSize, e.Messages = time.Duration(n[0]), int(n[2]), int(n[3]), n[4], n[5], int(n[6])
	e.Failed, e.Truncated, e.answered = n[1]&1 != 0, n[1]&2 != 0, n[1]&4 != 0
	e.store, e.offset, e.parts = int(n[7]), n[8], int(n[9])
	for _, s := range e.texts() {
		*s = r.text()
	}
}

// entries returns the entries of some rows, in the same order.
func (x *Index) entries(ctx context.Context, rows []int) ([]entry, error) {
	all := make([]entry, len(rows))
	packs := map[int][]int{} // indexes in all
	for i, row := range rows {
		packs[row/packRows] = append(packs[row/packRows], i)
	}
	for n, wanted := range packs {
		data, err := x.file.part(ctx, kindRows, n)
		if err != nil {
			return nil, err
		}
		if data, err = x.unpack(data); err != nil {
			return nil, err
		}
		r := bytesReader{data: data}
		pack := make([]entry, min(packRows, x.rows-n*packRows))
		for i := range pack {
			pack[i].read(&r)
			pack[i].ID = int64(n*packRows + i + 1)
		}
		if err := r.end(); err != nil {
			return nil, err
		}
		for _, i := range wanted {
			all[i] = pack[rows[i]%packRows]
			if all[i].Other, err = x.value(ctx, colOther, rows[i]); err != nil {
				return nil, err
			}
			if all[i].Other < 0 || all[i].Other > int64(x.rows) {
				return nil, fmt.Errorf("%w: the other side of row %d is %d of %d", errDamaged, rows[i]+1, all[i].Other, x.rows)
			}
		}
	}
	return all, nil
}

// value returns the value of one row.
func (x *Index) value(ctx context.Context, c column, row int) (int64, error) {
	data, err := x.file.part(ctx, kindValue+kind(c), row/chunkRows)
	if err != nil {
		return 0, err
	}
	first := row / chunkRows * chunkRows
	return valueAt(data, min(chunkRows, x.rows-first), row-first)
}

func (x *Index) unpack(data []byte) ([]byte, error) {
	data, err := x.zstd.DecodeAll(data, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return data, nil
}

func newUnpacker() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxPack))
}
