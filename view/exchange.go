package view

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/convert/curl"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/show"
	"github.com/tapedeck/tapedeck/view/index"
)

// shownExchange is the data of exchange.html.
type shownExchange struct {
	Item *item
	Row  *index.Row
	*show.Exchange
	// List is the URL of the table that led here. Previous and Next are the URLs of the exchanges
	// before and after this one in it; "" for none.
	List, Previous, Next string
	Similar              string // URL of the table of exchanges with the same endpoint
	Curl                 *curlCommand
	Messages             *messages // nil unless it is a conversation
}

// curlCommand is the curl command that sends the request again.
type curlCommand struct {
	Command string
	Rows    int      // lines to show
	Losses  []string // parts of the request that it does not send
	Why     string   // why there is no command
}

// messages is a page of a conversation's messages.
type messages struct {
	Said                  []show.Said
	First, Last           int // numbers, from 1
	Previous, Next, Start string
}

// messagesPerPage is the number of messages on a page.
const messagesPerPage = 50

// exchange shows one exchange in full.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, it *item) error {
	row, e, err := it.exchange(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	data := shownExchange{Item: it, Row: row, Exchange: show.New(e, show.Options{}), Curl: curlOf(e)}
	trail, err := it.trail(r.Context(), q, row.ID)
	if err != nil {
		return err
	}
	data.List, data.Previous, data.Next = trail.list, trail.previous, trail.next
	if row.Endpoint != "" {
		f := index.Filter{Endpoint: row.Endpoint, Direction: row.Direction, Workload: row.Workload}
		if row.Direction == recording.Out {
			f.Host = row.Host
		}
		data.Similar = it.Exchanges(f)
	}
	if c := data.Conversation; c != nil {
		if data.Messages, err = messagesOf(c, r.URL.Path, q); err != nil {
			return err
		}
	}
	return s.render(w, r, "exchange.html", data)
}

// exchange reads the exchange that the path names.
func (it *item) exchange(r *http.Request) (*index.Row, *recording.Exchange, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, nil, notFound("there is no exchange %q", r.PathValue("id"))
	}
	row, err := it.index.Row(r.Context(), id)
	if err != nil {
		return nil, nil, err
	}
	e, err := it.index.Exchange(r.Context(), id)
	return row, e, err
}

func curlOf(e *recording.Exchange) *curlCommand {
	c, losses, err := curl.New(e)
	var left *recording.LeftOutError
	switch {
	case errors.As(err, &left):
		return &curlCommand{Why: left.What}
	case err != nil:
		return &curlCommand{Why: err.Error()}
	}
	text := c.Lines()
	return &curlCommand{Command: text, Rows: min(strings.Count(text, "\n")+1, 20), Losses: losses}
}

// messagesOf returns the page of a conversation that the query names.
func messagesOf(c *show.Conversation, path string, q url.Values) (*messages, error) {
	from := 0
	if text := q.Get("message"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, badRequest("message: found %.40q, want a number from 1", text)
		}
		from = n - 1
	}
	m := &messages{Said: c.Messages(from, messagesPerPage), First: from + 1}
	m.Last = from + len(m.Said)
	to := func(from int) string {
		q := withoutEmpty(q)
		q.Set("message", strconv.Itoa(from+1))
		return withQuery(path, q) + "#conversation"
	}
	if from > 0 {
		m.Start, m.Previous = to(0), to(max(0, min(from, c.Total)-messagesPerPage))
	}
	if m.Last < c.Total {
		m.Next = to(m.Last)
	}
	return m, nil
}

// trail has the URLs of the table that led to an exchange, and of the exchanges before and after it.
type trail struct{ list, previous, next string }

// trail finds the exchanges before and after one in the table. The query is that of the table. An
// exchange that isn't in the table has neither.
func (it *item) trail(ctx context.Context, q url.Values, id int64) (t trail, err error) {
	f, wrong := parseFilter(q)
	order, err := parseSort(q)
	if err != nil || len(wrong) > 0 {
		return trail{list: it.URL("")}, nil
	}
	kept := sortQuery(filterQuery(f), order)
	to := func(id int64, cursor string) string {
		return withQuery(it.Exchange(id), withCursor(kept, cursor))
	}
	cursor := q.Get("cursor")
	t.list = withQuery(it.URL(""), withCursor(kept, cursor))
	if len(kept) == 0 { // numbers are in the order of the table
		if id > 1 {
			t.previous = to(id-1, cursor)
		}
		switch _, err := it.index.Row(ctx, id+1); {
		case err == nil:
			t.next = to(id+1, cursor)
		case !errors.Is(err, index.ErrNotFound):
			return t, err
		}
		return t, nil
	}
	page, err := it.index.List(ctx, f, order, cursor, rowsPerPage)
	if errors.Is(err, index.ErrCursor) || errors.Is(err, index.ErrFilter) {
		return trail{list: it.URL("")}, nil
	}
	if err != nil {
		return t, err
	}
	at := slices.IndexFunc(page.Rows, func(r index.Row) bool { return r.ID == id })
	if at < 0 {
		return t, nil
	}
	beside := func(at int, other string, last bool) (string, error) {
		switch {
		case at >= 0 && at < len(page.Rows):
			return to(page.Rows[at].ID, cursor), nil
		case other == "":
			return "", nil
		}
		p, err := it.index.List(ctx, f, order, other, rowsPerPage)
		if err != nil || len(p.Rows) == 0 {
			return "", err
		}
		row := p.Rows[0]
		if last {
			row = p.Rows[len(p.Rows)-1]
		}
		return to(row.ID, other), nil
	}
	if t.previous, err = beside(at-1, page.Previous, true); err == nil {
		t.next, err = beside(at+1, page.Next, false)
	}
	return t, err
}

// withCursor returns a copy of a query with a cursor, unless that is "".
func withCursor(q url.Values, cursor string) url.Values {
	all := url.Values{}
	for name, values := range q {
		all[name] = values
	}
	if cursor != "" {
		all.Set("cursor", cursor)
	}
	return all
}

// byUUID redirects to the exchange with a UUID.
func (s *Server) byUUID(w http.ResponseWriter, r *http.Request, it *item) error {
	id, err := recording.ParseUUID(r.PathValue("uuid"))
	if err != nil {
		return badRequest("%v", err)
	}
	row, err := it.index.Find(r.Context(), id)
	if err != nil {
		return err
	}
	http.Redirect(w, r, it.Exchange(row.ID), http.StatusSeeOther)
	return nil
}

// body answers with the recorded bytes of a body, which are not decoded.
func (s *Server) body(w http.ResponseWriter, r *http.Request, it *item) error {
	side := r.PathValue("side")
	half, ok := map[string]func(*recording.Exchange) recording.Half{"request": (*recording.Exchange).Request, "response": (*recording.Exchange).Response}[side]
	if !ok {
		return notFound("body: found %q, want request or response", side)
	}
	row, e, err := it.exchange(r)
	if err != nil {
		return err
	}
	return attach(w, fmt.Sprintf("exchange-%d-%s.bin", row.ID, side), half(e).Body)
}

// message answers with one message of a conversation.
func (s *Server) message(w http.ResponseWriter, r *http.Request, it *item) error {
	row, e, err := it.exchange(r)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(r.PathValue("number"))
	c := show.New(e, show.Options{}).Conversation
	if err != nil || c == nil || n < 1 || n > c.Total {
		return notFound("the exchange has no message %q", r.PathValue("number"))
	}
	return attach(w, fmt.Sprintf("exchange-%d-message-%d.bin", row.ID, n), c.Data(n))
}

// asJSON answers with the exchange in the format of a recording.
func (s *Server) asJSON(w http.ResponseWriter, r *http.Request, it *item) error {
	row, e, err := it.exchange(r)
	if err != nil {
		return err
	}
	return attach(w, fmt.Sprintf("exchange-%d.jsonl", row.ID), append(e.AppendJSON(nil), '\n'))
}

// attach answers with a file that browsers download and don't show.
func attach(w http.ResponseWriter, name string, content []byte) error {
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	send(w, http.StatusOK, "application/octet-stream", content)
	return nil
}
