package carry

import (
	"hash/maphash"
	"strings"
)

// objects is the tree of the objects that paths name.
type objects struct {
	ids     map[uint64]uint32
	parents []uint32
	seed    maphash.Seed
}

// maxObjectDepth is the number of segments of a path that count.
const maxObjectDepth = 16

// of returns the object of a path; 0 is the root. The object of a gRPC call is its service.
func (o *objects) of(path string, grpc bool) uint32 {
	if o.seed == (maphash.Seed{}) {
		o.seed = maphash.MakeSeed()
	}
	id := uint32(0)
	depth := 0
	for s := range strings.SplitSeq(path, "/") {
		if s == "" {
			continue
		}
		if depth++; depth > maxObjectDepth {
			break
		}
		var h maphash.Hash
		h.SetSeed(o.seed)
		maphash.WriteComparable(&h, id)
		h.WriteString(s)
		key := h.Sum64()
		below, ok := o.ids[key]
		if !ok {
			below = uint32(len(o.parents))
			o.parents = append(o.parents, id)
			o.ids[key] = below
		}
		if id = below; grpc {
			break
		}
	}
	return id
}
