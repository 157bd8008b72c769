package mock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock/front"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/mock/tape"
	"github.com/tapedeck/tapedeck/recording"
)

// Library is a loaded recording: an index in memory, and answers on disk. It is safe for
// concurrent use.
type Library struct {
	matcher *match.Matcher
	redact  func(*recording.Exchange)
	index   *match.Index
	tape    *tape.Tape
	entries []entry // by match.Ref
	peers   map[address]*peer
	shapes  sync.Map // properties of sequences, by match.Result.Sequence
}

// entry is the part of an answer that is kept in memory, besides the index.
type entry struct {
	offset int64 // on the tape
	id     order.Identity
	began  int64 // in nanoseconds
	took   int32 // in milliseconds
	asks   uint8 // messages of the client in a conversation, at most maxAsks
	talks  bool  // the server sends before the client has sent everything
	// foreign means that its tokens were made under an unknown key.
	foreign bool
	shared  order.Shared
}

const maxAsks = 255

// address is a host in lower case, and a port.
type address struct {
	host string
	port string
}

// peer is what the recording says about a server.
type peer struct {
	http, stream, serverFirst bool
	alpn                      []string // negotiated protocols, in recorded order
}

// LoadOptions say how to load a recording.
type LoadOptions struct {
	// Matcher compares requests. Redact is the function with which it redacts exchanges, or nil if
	// it redacts nothing.
	Matcher *match.Matcher
	Redact  func(*recording.Exchange)
	// Inbound loads inbound exchanges instead, so that the mock replaces the workload.
	Inbound bool
	// Dir is the directory for the tape. The default is the system's directory for temporary
	// files. Limit bounds the tape, in bytes. 0 means no limit.
	Dir   string
	Limit int64
	// Foreign reports whether the tokens of an exchange were made under a key that the matcher does
	// not have. If nil, none were.
	Foreign func(*recording.Exchange) bool
	// Progress, if not nil, is called from time to time with the number of loaded exchanges.
	Progress func(n int)
}

// ErrEmpty is returned for a recording without an exchange to answer from.
var ErrEmpty = errors.New("there is nothing to answer with")

// batch is the number of exchanges that a goroutine gets at a time.
const batch = 64

// Load loads the exchanges, which must not be used afterwards. The library answers from outbound
// exchanges; inbound ones show which values the workload got from its callers. Load stops at the
// first error of the sequence.
func Load(ctx context.Context, exchanges iter.Seq2[*recording.Exchange, error], o LoadOptions) (*Library, error) {
	w, err := tape.Create(o.Dir, o.Limit)
	if err != nil {
		return nil, err
	}
	l := &loader{LoadOptions: o, builder: o.Matcher.NewBuilder(), tape: w, peers: map[address]*peer{}}
	if err := l.load(ctx, exchanges); err != nil {
		w.Abandon()
		return nil, err
	}
	index, err := l.builder.Build(ctx)
	if err != nil {
		w.Abandon()
		return nil, fmt.Errorf("index the recording: %w", err)
	}
	t, err := w.Finish()
	if err != nil {
		return nil, err
	}
	entries := slices.Concat(l.entries...)
	order.Share(len(entries), func(i int) *order.Identity { return &entries[i].id }, func(i int, s order.Shared) { entries[i].shared = s })
	return &Library{matcher: o.Matcher, redact: o.Redact, index: index, tape: t, entries: entries, peers: l.peers}, nil
}

// Len returns the number of answers.
func (l *Library) Len() int { return len(l.entries) }

// Close removes the tape.
func (l *Library) Close() error { return l.tape.Close() }

// loader fills a library from several goroutines.
type loader struct {
	LoadOptions
	builder *match.Builder
	tape    *tape.Writer
	entries [][]entry // by batch

	mu    sync.Mutex
	peers map[address]*peer
}

func (l *loader) load(ctx context.Context, exchanges iter.Seq2[*recording.Exchange, error]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type job struct {
		exchanges []*recording.Exchange
		first     match.Ref
		to        []entry
	}
	jobs := make(chan job, runtime.GOMAXPROCS(0))
	var working sync.WaitGroup
	var done atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		working.Go(func() {
			var r tape.Record
			for j := range jobs {
				for i, e := range j.exchanges {
					if ctx.Err() != nil {
						break
					}
					if err := l.add(e, j.first+match.Ref(i), &j.to[i], &r); err != nil {
						cancel(err)
					}
				}
				if n := done.Add(int64(len(j.exchanges))); l.Progress != nil {
					l.Progress(int(n))
				}
			}
		})
	}
	var next []*recording.Exchange
	n := 0
	send := func() {
		if len(next) == 0 {
			return
		}
		to := make([]entry, len(next))
		l.entries = append(l.entries, to)
		select {
		case jobs <- job{next, match.Ref(n), to}:
		case <-ctx.Done():
		}
		n += len(next)
		next = make([]*recording.Exchange, 0, batch)
	}
	for e, err := range exchanges {
		if err != nil {
			cancel(err)
		}
		if ctx.Err() != nil {
			break
		}
		if (e.Direction == recording.In) != l.Inbound {
			l.builder.Witness(e)
			continue
		}
		if e.HTTP != nil && e.HTTP.Req.Method == http.MethodConnect && e.Conversation() == nil {
			continue // a tunnel; its content is in other exchanges
		}
		if unneeded(e) {
			continue
		}
		if next = append(next, e); len(next) == batch {
			send()
		}
	}
	send()
	close(jobs)
	working.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if n == 0 {
		return ErrEmpty
	}
	return nil
}

// unneeded reports whether the client closed a connection without sending anything. Clients open
// several connections at once, and close those that they don't need. An HTTP/2 server may have sent
// its settings by then.
func unneeded(e *recording.Exchange) bool {
	c := e.TCP
	return c != nil && c.ClientBytes == 0 && (c.ServerBytes == 0 || e.ALPN == "h2") &&
		!slices.ContainsFunc(c.Messages, func(m recording.Message) bool { return m.From == recording.Client })
}

// mayHaveTokens reports whether redaction may have replaced something in the request. If not, a
// value that looks like a token, such as a number, is an ordinary value.
func mayHaveTokens(e *recording.Exchange) bool {
	if e.Conversation() != nil {
		return true // each part lists its redactions separately
	}
	for path := range strings.SplitSeq(e.Tags.Get(recording.TagRedacted), ",") {
		if strings.HasPrefix(path, "req.") || path == "**" {
			return true
		}
	}
	return false
}

// add adds an exchange.
func (l *loader) add(e *recording.Exchange, ref match.Ref, to *entry, r *tape.Record) error {
	l.meet(e)
	foreign := l.Foreign != nil && mayHaveTokens(e) && l.Foreign(e)
	r.SetAnswer(tape.Of(e))
	*to = entry{began: e.TS.UnixNano(), took: int32(min(e.Duration, 1<<31-1)), foreign: foreign}
	if c := e.Conversation(); c != nil {
		to.asks, to.talks = opening(c)
	}
	l.builder.Add(match.Recorded{Exchange: e, Ref: ref, ForeignTokens: foreign})
	if e.HTTP != nil { // as in comparisons, with tokens for secrets
		to.id = order.Identify(e.HTTP.Req.Headers, connection(e))
	}
	r.SetRequest(func(dst []byte) []byte { return appendRequest(dst, e) })
	var err error
	to.offset, err = l.tape.Add(r)
	return err
}

// opening counts the client's messages, and reports whether the server sends before the last of
// them.
func opening(c *recording.Conversation) (asks uint8, talks bool) {
	spoke := false
	for i := range c.Messages {
		if c.Messages[i].From == recording.Server {
			spoke = true
			continue
		}
		talks = talks || spoke
		if asks < maxAsks {
			asks++
		}
	}
	return asks, talks
}

// connection identifies the connection of an exchange. It returns 0 for HTTP/2, where several
// callers may share a connection.
func connection(e *recording.Exchange) uint64 {
	if e.NetInfo == nil || e.NetInfo.ID == "" || e.HTTP == nil || strings.HasPrefix(e.HTTP.Req.Version, "2") {
		return 0
	}
	return order.Hash(e.Pod(), e.NetInfo.ID, strconv.FormatInt(e.NetInfo.StartTime.UnixNano(), 36))
}

// maxKeptRequest bounds the part of a request's body that is kept to explain misses.
const maxKeptRequest = 1 << 20

// appendRequest appends the request's part of an exchange.
func appendRequest(dst []byte, e *recording.Exchange) []byte {
	request := *e
	request.NetInfo, request.Signature = nil, nil
	if e.HTTP != nil {
		h := *e.HTTP
		h.Res = recording.HTTPResponse{StatusCode: h.Res.StatusCode}
		if len(h.Req.Body) > maxKeptRequest {
			h.Req.Body = h.Req.Body[:maxKeptRequest]
			request.Tags = append(slices.Clone(request.Tags), recording.Tag{Name: recording.TagRequestBodySize, Value: fmt.Sprint(len(e.HTTP.Req.Body))})
		}
		request.HTTP = &h
	}
	for _, c := range [...]**recording.Conversation{&request.GRPC, &request.WebSocket, &request.TCP} {
		if *c == nil {
			continue
		}
		asked := **c
		asked.Messages = nil
		for i, m := range (*c).Messages {
			if m.From == recording.Server || i > 0 && len(asked.Messages) == maxAsks {
				break // the identifying part comes before the server's first message
			}
			asked.Messages = append(asked.Messages, m)
		}
		*c = &asked
	}
	return request.AppendJSON(dst)
}

// request reads the request's part of an exchange from the tape.
func (l *Library) request(ref match.Ref) (*recording.Exchange, error) {
	text, err := l.tape.Request(l.entries[ref].offset)
	if err != nil {
		return nil, err
	}
	var d recording.Decoder
	e := new(recording.Exchange)
	if err := d.Decode(text, e); err != nil {
		return nil, fmt.Errorf("read a recorded request: %w", err)
	}
	return e, nil
}

// recorded returns what the chooser needs to know about an answer.
func (l *Library) recorded(n uint32) order.Recorded {
	e := &l.entries[l.index.Ref(match.Entry(n))]
	began := time.Unix(0, e.began)
	return order.Recorded{Identity: e.id, Shared: e.shared, Start: began, End: began.Add(time.Duration(e.took) * time.Millisecond)}
}

// meet records which protocols a server speaks.
func (l *loader) meet(e *recording.Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range addresses(e) {
		p := l.peers[a]
		if p == nil {
			p = new(peer)
			l.peers[a] = p
		}
		p.http = p.http || e.TCP == nil
		if e.ALPN != "" && !slices.Contains(p.alpn, e.ALPN) && len(p.alpn) < 8 {
			p.alpn = append(p.alpn, e.ALPN)
		}
		if e.TCP == nil {
			continue
		}
		p.stream = true
		p.serverFirst = p.serverFirst || len(e.TCP.Messages) > 0 && e.TCP.Messages[0].From == recording.Server
	}
}

// addresses returns the addresses that a client may use for the server of an exchange.
func addresses(e *recording.Exchange) (all []address) {
	add := func(hostport string) {
		if a := addressOf(hostport); a.host != "" && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	add(e.NetworkAddress)
	if e.HTTP != nil {
		add(e.HTTP.Req.Host)
	}
	return all
}

// addressOf splits a host and a port. The port is "" if there is none.
func addressOf(hostport string) address {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = strings.Trim(hostport, "[]"), ""
	}
	return address{strings.ToLower(strings.TrimSuffix(host, ".")), port}
}

// expect returns the protocol that a connection is likely to speak.
func (l *Library) expect(o front.Origin) front.Expectation {
	host := address{strings.ToLower(strings.TrimSuffix(cmp.Or(o.Host, o.SNI), ".")), fmt.Sprint(o.Port)}
	p := l.peers[host]
	if p == nil {
		p = l.peers[address{host.host, ""}]
	}
	if p == nil {
		return front.Expectation{}
	}
	e := front.Expectation{ServerFirst: p.serverFirst, ALPN: p.alpn}
	if p.stream && !p.http {
		e.Speaks = front.TCP
	}
	return e
}
