package decode

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// talker plays an HTTP/2 connection to a reader, and loses the bytes that a test selects. Every
// header's value begins with the header's name, and every answer names its request, so that a
// record shows whether anything was mixed up.
type talker struct {
	t      *testing.T
	reader tap.Reader
	sides  [2]*framer
	at     time.Time
	id     uint32
	losing bool
	cut    func(p []byte) [][]byte // into chunks
}

func newTalker(t *testing.T, d *Decoders) *talker {
	k := &talker{t: t, reader: d.Open(typicalFlow()), at: epoch, cut: whole}
	k.sides = [2]*framer{newFramer(), newFramer()}
	k.say(tap.FromClient, "PREFACE", "SETTINGS")
	k.say(tap.FromServer, "SETTINGS")
	return k
}

func (k *talker) say(side tap.Side, frames ...string) {
	var p []byte
	for _, f := range frames {
		p = append(p, k.sides[side].frame(k.t, f)...)
	}
	k.send(side, p)
}

func (k *talker) send(side tap.Side, p []byte) {
	k.at = k.at.Add(time.Millisecond)
	for _, chunk := range k.cut(p) {
		if k.losing {
			k.reader.Gap(side, k.at, int64(len(chunk)))
		} else {
			k.reader.Data(side, k.at, chunk)
		}
	}
}

// ask opens a stream, and answer ends it.
func (k *talker) ask(fields string) uint32 {
	k.id += 2
	id := k.id - 1
	k.say(tap.FromClient, fmt.Sprintf("HEADERS %d end :method=GET :scheme=http :path=/%d x-ask=x-ask-%d %s", id, id, id, fields))
	return id
}

func (k *talker) answer(id uint32, fields string) {
	k.say(tap.FromServer, fmt.Sprintf("HEADERS %d :status=200 x-path=x-path-/%d %s", id, id, fields), fmt.Sprintf("DATA %d end /%d", id, id))
}

// check returns how many exchanges are whole, and fails if one is mixed up.
func check(t *testing.T, records []recording.Exchange) (whole int) {
	t.Helper()
	for _, e := range records {
		if e.HTTP == nil {
			continue
		}
		for _, h := range []recording.Headers{e.HTTP.Req.Headers, e.HTTP.Res.Headers} {
			for _, f := range h {
				switch {
				case f.Name == recording.UnknownName && f.Value == "":
				case !strings.HasPrefix(f.Value, strings.ToLower(f.Name)+"-"):
					t.Fatalf("header %s has the value %s", f.Name, f.Value)
				}
			}
		}
		path := string(e.HTTP.Res.Body)
		if path != "" && e.HTTP.Req.URI != "" && path != e.HTTP.Req.URI {
			t.Fatalf("the request to %s is recorded with the answer to %s", e.HTTP.Req.URI, path)
		}
		if path != "" && e.HTTP.Req.URI != "" && e.Status == "200" && (e.Tags.Get("incomplete") == "" || e.Tags.Get("incomplete") == "headers_lost") {
			whole++
		}
	}
	return whole
}

const secret = "authorization=authorization-Bearer-4711"

// After a loss of any kind, the connection is decoded again from the second exchange on: the first
// one shows where frames begin.
func TestHTTP2GoesOnAfterALoss(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(k *talker)
	}{
		{"of a request", func(k *talker) { k.losing = true; id := k.ask("x-new=x-new-1"); k.losing = false; k.answer(id, "") }},
		{"of an answer", func(k *talker) { id := k.ask(""); k.losing = true; k.answer(id, "x-new=x-new-1"); k.losing = false }},
		{"of many exchanges", func(k *talker) {
			k.losing = true
			for range 50 {
				k.answer(k.ask("x-lost=x-lost-1"), "")
			}
			k.losing = false
		}},
		{"with streams that go on", func(k *talker) {
			id := k.ask("")
			k.losing = true
			k.ask("")
			k.losing = false
			k.answer(id, "x-new=x-new-1")
		}},
		{"within a frame", func(k *talker) {
			k.cut = func(p []byte) [][]byte { k.losing = true; return [][]byte{p[:len(p)-3]} }
			k.ask("x-new=x-new-1")
			k.losing, k.cut = false, whole
			k.send(tap.FromClient, []byte("abc"))
		}},
		{"before bodies that are larger than what is held", func(k *talker) {
			k.losing = true
			k.answer(k.ask(""), "")
			k.losing = false
			for size := range 20 {
				id := k.ask("")
				k.say(tap.FromServer, fmt.Sprintf("HEADERS %d :status=200", id))
				for range 9 + size {
					k.at = k.at.Add(-time.Millisecond) // in one go: what is held is joined
					k.say(tap.FromServer, fmt.Sprintf("DATA %d %s", id, "\"z\"*9999"))
				}
				k.say(tap.FromServer, fmt.Sprintf("DATA %d end x", id))
			}
		}},
		{"of the settings' answer and a ping", func(k *talker) { k.losing = true; k.say(tap.FromServer, "PING"); k.losing = false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sink memory
			d := New(Config{}, &sink)
			k := newTalker(t, d)
			for range 3 {
				k.answer(k.ask(secret), "x-one=x-one-1")
			}
			c.lose(k)
			before := len(sink.lines)
			for range 200 {
				k.answer(k.ask(secret+" x-plain=x-plain-2"), "x-one=x-one-1")
			}
			k.reader.Close(k.at)
			records := sink.decode(t)[before:]
			if got := check(t, records); got < 198 {
				t.Errorf("%d of 200 exchanges are recorded", got)
			}
			stats := d.Stats()
			if stats.Held != 0 || stats.Failed[Failure{"http2", Lost}].Times == 0 {
				t.Errorf("stats %+v", stats)
			}
			unknown := 0
			for _, e := range records {
				if e.Tags.Get("incomplete") == "headers_lost" {
					unknown++
				}
			}
			if c.name == "of many exchanges" && unknown < 199 {
				t.Errorf("%d records say that names of headers are lost, want 199", unknown)
			}
		})
	}
}

// Bytes may be lost anywhere, any number of times, and the rest may be cut in any way: nothing is
// mixed up, and most exchanges are recorded.
func TestHTTP2MixesNothingUp(t *testing.T) { testMixingUp(t, false, 50) }

// The same is true if other connections take all the memory now and then, even during the search
// for frames.
func TestHTTP2MixesNothingUpWithoutMemory(t *testing.T) { testMixingUp(t, true, 10) }

// testMixingUp fails if anything is mixed up, or if fewer than least percent of the exchanges are
// recorded.
func testMixingUp(t *testing.T, scarce bool, least int) {
	const connections, exchanges = 40, 200
	recorded := 0
	for seed := range uint64(connections) {
		r := rand.New(rand.NewPCG(seed, 5))
		var sink memory
		d := New(Config{}, &sink)
		k := newTalker(t, d)
		losing, taken := 0, 0
		others := framework.NewFlowState(&d.shared, typicalFlow())
		k.cut = func(p []byte) [][]byte {
			if scarce && r.IntN(10) == 0 {
				free := int(d.shared.Limits.Memory - d.shared.Limits.Memory/8 - d.shared.Held())
				if others.Release(taken); taken == 0 && others.Hold(free) {
					taken = free
				} else {
					taken = 0
				}
			}
			if losing == 0 && r.IntN(150) == 0 {
				losing = 1 + r.IntN(12)
			}
			k.losing = losing > 0
			losing = max(0, losing-1)
			if r.IntN(4) == 0 {
				i := r.IntN(len(p) + 1)
				if k.losing {
					k.reader.Gap(tap.FromClient, k.at, 0)
				}
				return [][]byte{p[:i], p[i:]}
			}
			return whole(p)
		}
		var open []uint32
		for n := 0; n < exchanges || len(open) > 0; {
			fields := ""
			for range r.IntN(4) {
				name := fmt.Sprint("x-", r.IntN(30))
				fields += fmt.Sprintf(" %s=%s-%d", name, name, r.IntN(3))
			}
			if r.IntN(20) == 0 { // the table is emptied, or has another size
				k.sides[r.IntN(2)].hpack.SetMaxDynamicTableSize(uint32(r.IntN(3) * 200))
			}
			if n < exchanges && len(open) < 5 && (len(open) == 0 || r.IntN(2) == 0) {
				open = append(open, k.ask(strings.TrimSpace(fields)))
				n++
				continue
			}
			i := r.IntN(len(open))
			k.answer(open[i], strings.TrimSpace(fields))
			open = append(open[:i], open[i+1:]...)
		}
		k.reader.Close(k.at)
		others.Release(taken)
		recorded += check(t, sink.decode(t))
		if held := d.Stats().Held; held != 0 {
			t.Fatalf("%d bytes are held", held)
		}
	}
	if share := recorded * 100 / (connections * exchanges); share < least {
		t.Errorf("%d of a hundred are recorded, want at least %d", share, least)
	}
}

// A body that looks like frames is not read as frames if the head of its own frame is lost,
// however it is cut into chunks.
func TestForgedFrames(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 6))
		var sink memory
		k := newTalker(t, New(Config{}, &sink))
		k.answer(k.ask(secret), "")
		forger := newFramer()
		var body []byte
		for i := range 20 {
			body = append(body, forger.frame(t, fmt.Sprintf("HEADERS %d end :method=GET :scheme=http :path=/forged x-safe=x-safe-1", int(k.id)+1+2*i))...)
		}
		id := k.ask("")
		head := make([]byte, 9)
		binary.BigEndian.PutUint32(head, uint32(len(body))<<8)
		binary.BigEndian.PutUint32(head[5:], id)
		k.losing = true
		k.send(tap.FromClient, head)
		k.losing = false
		if at := r.IntN(len(body)); seed%2 == 0 { // it stalls, and others are answered meanwhile
			k.send(tap.FromClient, body[:at])
			k.answer(id, "")
			k.send(tap.FromClient, body[at:])
		} else {
			k.send(tap.FromClient, body)
		}
		for range 250 {
			k.answer(k.ask(secret), "")
		}
		k.reader.Close(k.at)
		records := sink.decode(t)
		if got := check(t, records); got < 100 {
			t.Errorf("%d of 250 exchanges are recorded", got)
		}
		for _, line := range sink.lines {
			if bytes.Contains(line, []byte("forged")) {
				t.Fatalf("recorded: %s", line)
			}
		}
	}
}

// More bytes arrive at once than the reader holds while it doesn't know where frames begin.
func TestMuchAtOnceAfterALoss(t *testing.T) {
	var sink memory
	d := New(Config{}, &sink)
	k := newTalker(t, d)
	id := k.ask("")
	k.losing = true
	k.answer(id, "")
	k.losing = false
	k.cut = func(p []byte) [][]byte { return slices.Collect(slices.Chunk(p, 4<<10)) }
	id = k.ask("")
	k.say(tap.FromServer, fmt.Sprintf("HEADERS %d :status=200", id))
	var body []string
	for range 20 {
		body = append(body, fmt.Sprintf("DATA %d %s", id, strings.Repeat("x", 10_000)))
	}
	k.say(tap.FromServer, body...)
	k.say(tap.FromServer, fmt.Sprintf("DATA %d end /%d", id, id))
	for range 20 {
		k.answer(k.ask(""), "")
	}
	k.reader.Close(k.at)
	if whole := check(t, sink.decode(t)); whole == 0 {
		t.Error("nothing is recorded after the loss")
	}
	if n := d.Stats().Abandoned; n > 0 {
		t.Errorf("the decoder crashed on %d exchanges", n)
	}
}

// A call's messages are read on a connection that always carried gRPC, although the content type's
// name was lost.
func TestGRPCGoesOnAfterALoss(t *testing.T) {
	var sink memory
	k := newTalker(t, New(Config{}, &sink))
	call := func() {
		id := k.id + 1
		k.id += 2
		k.say(tap.FromClient, fmt.Sprintf("HEADERS %d :method=POST :path=/a.B/C content-type=application/grpc te=trailers", id), fmt.Sprintf("GRPC %d end hello", id))
		k.say(tap.FromServer, fmt.Sprintf("HEADERS %d :status=200 content-type=application/grpc", id), fmt.Sprintf("GRPC %d world", id), fmt.Sprintf("HEADERS %d end grpc-status=0", id))
	}
	call()
	k.losing = true
	call()
	k.losing = false
	before := len(sink.lines)
	for range 10 {
		call()
	}
	k.reader.Close(k.at)
	calls := 0
	for _, e := range sink.decode(t)[before:] {
		if e.GRPC == nil || len(e.GRPC.Messages) == 0 {
			continue
		}
		calls++
		if m := e.GRPC.Messages; len(m) != 2 || string(m[0].Data) != "hello" || string(m[1].Data) != "world" {
			t.Errorf("messages %+v", m)
		}
	}
	if calls < 9 {
		t.Errorf("%d of 10 calls are recorded", calls)
	}
}

// FuzzLosses loses bytes of a conversation where the input says so: each byte of the input says
// whether a chunk is lost, and how it is cut.
func FuzzLosses(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, uint64(1))
	f.Add([]byte{0, 0, 0, 2, 3, 7, 0, 0, 131, 0, 0, 0, 0, 0}, uint64(2))
	f.Fuzz(func(t *testing.T, plan []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 8))
		var sink memory
		d := New(Config{}, &sink)
		k := newTalker(t, d)
		k.cut = func(p []byte) [][]byte {
			if len(plan) == 0 {
				k.losing = false
				return whole(p)
			}
			b := plan[0]
			plan = plan[1:]
			k.losing = b&1 != 0
			if at := int(b >> 2); b&2 != 0 && at < len(p) { // lose only one part
				return [][]byte{p[:at], p[at:]}
			}
			return whole(p)
		}
		for range 40 {
			fields := fmt.Sprintf("x-%d=x-%[1]d-%d", r.IntN(9), r.IntN(3))
			id := k.ask(fields)
			if r.IntN(3) == 0 {
				other := k.ask(fields)
				k.answer(other, fields)
			}
			k.answer(id, fields)
		}
		k.reader.Close(k.at)
		check(t, sink.decode(t))
		if s := d.Stats(); s.Held != 0 {
			t.Fatalf("%d bytes are held", s.Held)
		}
	})
}
