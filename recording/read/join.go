package read

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// joiner takes records in order, joins conversations, drops duplicates, and passes the rest on.
type joiner struct {
	r     *Reader
	yield func(*Record, error) bool

	last  time.Time         // start of the last record
	first identity          // identity of the first record with that start
	seen  map[identity]bool // identities of the other records with that start
	parts []*Record         // parts of one conversation, to be joined
	group identity          // identity of that conversation
	size  int64             // size of parts

	newest time.Time // start of the last record that was passed on
	// pieces has the conversations that were passed on in part, by the identity of their first
	// part.
	pieces map[identity]piece
}

// identity is equal for duplicates, and for parts of one conversation. It includes the namespace.
// Otherwise, a writer in one namespace that knows a UUID from another namespace could suppress that
// record as a duplicate, or add to its conversation.
type identity struct {
	cluster, namespace string
	recording.UUID
}

func identityOf(rec *Record, id recording.UUID) identity {
	return identity{rec.Cluster, rec.Namespace, id}
}

// piece is the state of a conversation in pieces.
type piece struct {
	next    int // number of the next part
	counted bool
}

// maxRemembered limits how many conversations in pieces are remembered, and how many
// records with the same start.
const maxRemembered = 10_000

// add takes the next record.
func (j *joiner) add(rec *Record) error {
	again, id := rec.TS.Equal(j.last), identityOf(rec, rec.UUID)
	switch {
	case !again:
		clear(j.seen)
		j.last, j.first = rec.TS, id
	case rec.UUID == (recording.UUID{}):
	case id == j.first || j.seen[id]:
		j.r.report.add(Duplicate, fmt.Sprintf("%s in %s", rec.UUID, rec.Key))
		return nil
	case len(j.seen) < maxRemembered:
		if j.seen == nil {
			j.seen = map[identity]bool{}
		}
		j.seen[id] = true
	}
	if len(j.parts) > 0 && !(again && groupOf(rec) == j.group && j.size+rec.Size <= maxConversation) {
		if err := j.flush(); err != nil {
			return err
		}
	}
	if !j.r.joins(rec.Exchange) {
		return j.hand(rec)
	}
	j.parts, j.group = append(j.parts, rec), groupOf(rec)
	j.size += rec.Size
	return nil
}

// groupOf returns the identity of the first part of the record's conversation.
func groupOf(rec *Record) identity {
	if id, ok := rec.ConversationID(); ok {
		return identityOf(rec, id)
	}
	return identityOf(rec, rec.UUID)
}

// flush passes the conversation on.
func (j *joiner) flush() error {
	if len(j.parts) == 0 {
		return nil
	}
	group := j.group
	before, continues := j.pieces[group]
	rec, missing := join(j.parts, max(1, before.next))
	last := j.parts[len(j.parts)-1].Conversation()
	j.parts, j.size = nil, 0
	switch {
	case last.Last:
		delete(j.pieces, group)
	case len(j.pieces) < maxRemembered:
		if j.pieces == nil {
			j.pieces = map[identity]piece{}
		}
		j.pieces[group] = piece{last.Part + 1, continues}
	}
	light := *rec.Exchange
	if light.Lighten(); !j.r.fits(&light) {
		return nil
	}
	if missing > 0 {
		j.r.report.add(MissingPart, fmt.Sprintf("%s in %s: %d parts", group, rec.Key, missing))
	}
	if continues && !before.counted {
		j.r.report.add(Divided, group.String())
	}
	return j.hand(rec)
}

// hand passes a record on.
func (j *joiner) hand(rec *Record) error {
	if rec.TS.Before(j.newest) {
		rec.Late = true
		j.r.report.add(Late, fmt.Sprintf("%s in %s", rec.UUID, rec.Key))
	} else {
		j.newest = rec.TS
	}
	j.r.report.Records++
	if !j.yield(rec, nil) {
		return errEnough
	}
	if rec.Parts == 1 { // a joined record shares memory with its parts
		j.r.recycle(rec)
	}
	return nil
}

// join joins the parts of a conversation, which are in order. want is the expected number of the
// first one. It returns how many parts are known to be missing.
//
// Every part has the headers, and the last part has the end of the server's answer.
func join(parts []*Record, want int) (rec *Record, missing int) {
	for _, p := range parts {
		part := p.Conversation().Part
		missing += max(0, part-want)
		want = part + 1
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 && missing == 0 {
		return first, 0
	}
	rec = &Record{Exchange: new(recording.Exchange), Store: first.Store, Key: first.Key, Offset: first.Offset, Size: first.Size, Parts: len(parts), Losses: first.Losses}
	*rec.Exchange = *last.Exchange
	e := rec.Exchange
	e.UUID, e.Tags = first.UUID, slices.Clone(last.Tags)

	c := *last.Conversation()
	c.Part, c.Messages = first.Conversation().Part, nil
	for i, p := range parts {
		c.Messages = append(c.Messages, p.Conversation().Messages...)
		for _, tag := range []string{recording.TagTruncated, recording.TagIncomplete} {
			if v := p.Tags.Get(tag); v != "" {
				e.Tags.Set(tag, v)
			}
		}
		if i > 0 {
			rec.Losses = append(rec.Losses, p.Losses...)
		}
	}
	switch {
	case e.GRPC != nil:
		e.GRPC = &c
	case e.WebSocket != nil:
		e.WebSocket = &c
	default:
		e.TCP = &c
	}
	if number, ok := first.Sequence(); ok {
		e.Tags.Set(recording.TagSequence, strconv.FormatUint(number, 10))
	}
	switch {
	case missing > 0 && e.Incomplete() == "":
		e.Tags.Set(recording.TagIncomplete, recording.PartsMissing)
	case missing == 0 && c.Part == 1 && c.Last:
		e.Tags = slices.DeleteFunc(e.Tags, func(t recording.Tag) bool { return t.Name == recording.TagConversation })
	}
	return rec, missing
}
