package recording

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a record that is read.
const (
	// MaxTags is how many tags it may have.
	MaxTags = 1000
	// MaxHeaders is how many fields each of its messages may have, trailers included.
	MaxHeaders = 4000
	// MaxMembers is how many members each of its objects may have, including members that Exchange
	// has no field for. It also bounds the values of its signature.
	MaxMembers = 1000
	// MaxMessages is how many messages of a conversation it may have, unless Encoder wrote it.
	// A few bytes of JSON make a message, which takes a hundred bytes in memory.
	MaxMessages = 100_000
)

// Member is a member of a record that Exchange has no field for, such as one of a protocol that
// only other tools decode.
type Member struct {
	Name string
	// Value is JSON without white space.
	Value json.RawMessage
}

// foreign reads records in any JSON form, such as those of other tools.
func (d *Decoder) foreign(text []byte, e *Exchange) error {
	*e = Exchange{}
	if err := checkJSON(text); err != nil {
		return err
	}
	if err := d.object(text, reflect.ValueOf(e).Elem(), ""); err != nil {
		return err
	}
	if h := e.HTTP; h != nil {
		useText(&h.Req.Body, &h.Req.Extra)
		useText(&h.Res.Body, &h.Res.Extra)
	}
	if d.Light {
		e.Lighten()
	}
	return nil
}

// useText handles the member `body`, which holds the body as text. It uses the text if bodyBase64 is
// missing, and drops it if both are equal.
func useText(body *[]byte, extra *[]Member) {
	at := slices.IndexFunc(*extra, func(m Member) bool { return m.Name == "body" })
	if at < 0 {
		return
	}
	var text string
	if json.Unmarshal((*extra)[at].Value, &text) != nil {
		return
	}
	if *body == nil {
		*body = []byte(text)
	}
	if string(*body) == text {
		*extra = slices.Delete(*extra, at, at+1)
		if len(*extra) == 0 {
			*extra = nil
		}
	}
}

// Lighten removes the parts that [Decoder.Light] leaves out. It replaces memory that e shares
// with other exchanges instead of changing it.
func (e *Exchange) Lighten() {
	if h := e.HTTP; h != nil {
		e.HTTP = &HTTP{
			HTTPRequest{URL: h.Req.URL, URI: h.Req.URI, Version: h.Req.Version, Method: h.Req.Method, Host: h.Req.Host, BodyLeft: h.Req.BodyLeft + int64(len(h.Req.Body))},
			HTTPResponse{ContentType: h.Res.ContentType, StatusCode: h.Res.StatusCode, StatusMessage: h.Res.StatusMessage, BodyLeft: h.Res.BodyLeft + int64(len(h.Res.Body))},
		}
	}
	for _, c := range []**Conversation{&e.GRPC, &e.WebSocket, &e.TCP} {
		if *c != nil {
			light := **c
			light.Messages = nil
			*c = &light
		}
	}
	e.Signature, e.NetInfo, e.Extra = nil, nil, nil
}

// object reads the members of an object into the fields of a struct with the same
// names. Other members go into its field Extra or, if it has none, into the losses.
func (d *Decoder) object(text []byte, to reflect.Value, path string) error {
	seen := map[string]bool{}
	return EachMember(text, MaxMembers, func(name string, raw []byte) error {
		path := path + name
		if seen[name] {
			d.lose(path, "occurs more than once; the last one is kept")
		}
		seen[name] = true
		field, quoted, ok := fieldOf(to, name)
		if !ok {
			d.extra(to, name, raw, path)
			return nil
		}
		field.SetZero()
		if bytes.Equal(raw, []byte("null")) {
			return nil
		}
		err := d.value(raw, field, quoted, path)
		if err != nil && !strings.HasPrefix(err.Error(), path) {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return err
	})
}

// value reads one member's value.
func (d *Decoder) value(raw []byte, to reflect.Value, quoted bool, path string) error {
	switch v := to.Addr().Interface().(type) {
	case **HTTP:
		*v = new(HTTP)
		return d.object(raw, to.Elem(), path+".")
	case **Conversation:
		*v = new(Conversation)
		return d.object(raw, to.Elem(), path+".")
	case **NetInfo:
		*v = new(NetInfo)
		return d.object(raw, to.Elem(), path+".")
	case *HTTPRequest, *HTTPResponse, *Endpoint:
		return d.object(raw, to, path+".")
	case *[]Message:
		all := []Message{}
		err := EachElement(raw, MaxMessages, func(one []byte) error {
			all = append(all, Message{})
			return d.object(one, reflect.ValueOf(&all[len(all)-1]).Elem(), path+"[].")
		})
		*v = all
		return err
	case *map[string][]byte:
		all := map[string][]byte{}
		err := EachMember(raw, MaxMembers, func(name string, text []byte) error {
			var value []byte
			err := json.Unmarshal(text, &value)
			all[name] = value
			return err
		})
		*v = all
		return err
	case *time.Time:
		if err := json.Unmarshal(raw, v); err != nil {
			return err
		}
		if year := v.UTC().Year(); year < 0 || year > 9999 { // an offset in RFC 3339 can lead to such a year, which can't be encoded in UTC
			return fmt.Errorf("the year is %d, want 0 to 9999", year)
		}
		return nil
	case *int64:
		if quoted {
			var text string
			err := json.Unmarshal(raw, &text)
			if err == nil {
				*v, err = strconv.ParseInt(text, 10, 64)
			}
			return err
		}
	}
	return json.Unmarshal(raw, to.Addr().Interface())
}

// fieldOf finds the field with the JSON name, and reports whether its number is quoted.
func fieldOf(of reflect.Value, name string) (field reflect.Value, quoted, ok bool) {
	for i := range of.NumField() {
		f := of.Type().Field(i)
		have, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if have == name && have != "-" && have != "" {
			return of.Field(i), strings.Contains(options, "string"), true
		}
	}
	return reflect.Value{}, false, false
}

func (d *Decoder) extra(of reflect.Value, name string, raw []byte, path string) {
	field := of.FieldByName("Extra")
	if !field.IsValid() {
		d.lose(path, "not kept")
		return
	}
	var compact bytes.Buffer
	compact.Grow(len(raw))
	_ = json.Compact(&compact, raw) // raw was already parsed as JSON
	value := compact.Bytes()
	if !utf8.Valid(value) {
		value = bytes.ToValidUTF8(value, []byte("\ufffd"))
	}
	all := field.Addr().Interface().(*[]Member)
	for i := range *all {
		if (*all)[i].Name == name {
			(*all)[i].Value = value
			return
		}
	}
	*all = append(*all, Member{name, value})
}

// maxLosses is how many losses are listed for one record.
const maxLosses = 100

func (d *Decoder) lose(path, what string) {
	if loss := path + ": " + what; len(d.losses) < maxLosses && !slices.Contains(d.losses, loss) {
		d.losses = append(d.losses, loss)
	}
}
