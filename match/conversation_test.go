package match_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
)

// call is a gRPC call with the messages of both sides.
func call(method string, at time.Time, messages ...recording.Message) *recording.Exchange {
	return &recording.Exchange{
		TS: at, L7Protocol: recording.GRPC, Status: "0",
		HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{Method: "POST", Host: "users:50051", URL: method, URI: method, Headers: recording.Headers{{Name: "Content-Type", Value: "application/grpc"}}},
			Res: recording.HTTPResponse{StatusCode: 200},
		},
		GRPC: &recording.Conversation{Part: 1, Last: true, Messages: messages},
	}
}

func client(data []byte) recording.Message {
	return recording.Message{From: recording.Client, Data: data}
}
func server(data []byte) recording.Message {
	return recording.Message{From: recording.Server, Data: data}
}

// fields encodes a message of strings and numbers, by field number.
func fields(values ...any) (b []byte) {
	for i := 0; i < len(values); i += 2 {
		num := protowire.Number(values[i].(int))
		switch v := values[i+1].(type) {
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
		}
	}
	return b
}

func indexOf(t *testing.T, o match.Options, all ...*recording.Exchange) (*match.Matcher, *match.Index) {
	t.Helper()
	m, err := match.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b := m.NewBuilder()
	for i, e := range all {
		b.Add(match.Recorded{Exchange: e, Ref: match.Ref(i)})
	}
	x, err := b.Build(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return m, x
}

func refs(x *match.Index, res match.Result) (all []match.Ref) {
	for _, e := range res.Entries {
		all = append(all, x.Ref(e))
	}
	return all
}

func TestGRPC(t *testing.T) {
	const get, create = "/users.v1.Users/GetUser", "/users.v1.Users/CreateUser"
	stamp := func(at time.Time) []byte { return fields(1, int(at.Unix()), 2, at.Nanosecond()) }
	const id, other = "6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", "00000000-1c9d-4b49-b5ab-7ac4db2f4a0e"
	m, x := indexOf(t, match.Options{},
		call(get, captured, client(fields(1, id)), server(fields(1, "Alice"))),
		call(create, captured.Add(time.Second), client(fields(1, "Bob", 2, other, 3, stamp(captured.Add(1234567890)))), server(nil)),
		call("/users.v1.Users/Watch", captured, server(fields(1, "hello"))),
		call("/users.v1.Users/Chat", captured, client(fields(1, "a")), client(fields(1, "b")), server(fields(1, "c"))),
	)
	for _, c := range []struct {
		name, method string
		message      []byte
		want         match.How
	}{
		{"the same", get, fields(1, id), match.Exact},
		{"another user", get, fields(1, other), match.None},
		{"another method", "/users.v1.Users/DeleteUser", fields(1, id), match.None},
		{"a new id and a new time, in another order", create, fields(3, stamp(replayed), 2, "11111111-1c9d-4b49-b5ab-7ac4db2f4a0e", 1, "Bob"), match.Masked},
		{"another name", create, fields(1, "Eve", 2, other, 3, stamp(replayed)), match.None},
		{"without a time", create, fields(1, "Bob", 2, other), match.None},
		{"an opening", "/users.v1.Users/Chat", fields(1, "a"), match.Exact},
	} {
		if res := x.Lookup(m.Request(call(c.method, replayed, client(c.message))), nil); res.How != c.want {
			t.Errorf("%s: %v, want %v", c.name, res.How, c.want)
		}
	}
	watch := m.Request(call("/users.v1.Users/Watch", replayed))
	if o := x.Openings(watch); !o.Server || o.Client {
		t.Errorf("the server spoke first: %+v", o)
	}
	if res := x.Lookup(watch, nil); res.How != match.Exact {
		t.Errorf("the server spoke first: %v", res.How)
	}
	if o := x.Openings(m.Request(call(get, replayed))); o.Server || !o.Client {
		t.Errorf("the client spoke first: %+v", o)
	}
}

// TestDescriptors compares messages whose equality the wire format alone can't show.
func TestDescriptors(t *testing.T) {
	str, i32, msg := descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_INT32, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	one, many := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	field := func(name string, n int32, typ descriptorpb.FieldDescriptorProto_Type, label descriptorpb.FieldDescriptorProto_Label) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: proto.String(name), Number: proto.Int32(n), Type: &typ, Label: &label}
	}
	inner := field("inner", 3, msg, one)
	inner.TypeName = proto.String(".t.Req")
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Name: proto.String("t.proto"), Package: proto.String("t"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Req"), Field: []*descriptorpb.FieldDescriptorProto{
			field("name", 1, str, one), field("counts", 2, i32, many), inner,
		}}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Do"), InputType: proto.String(".t.Req"), OutputType: proto.String(".t.Req")},
		}}},
	}}}
	if _, err := protodesc.NewFiles(set); err != nil {
		t.Fatal(err)
	}
	descriptors, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	packed := fields(1, "a", 2, []byte{1, 2})
	unpacked := fields(2, 1, 1, "a", 2, 2, 3, []byte{})
	m, x := indexOf(t, match.Options{Descriptors: descriptors},
		call("/t.S/Do", captured, client(append(packed, fields(3, []byte{})...))), call("/t.S/Other", captured, client(packed)))
	if res := x.Lookup(m.Request(call("/t.S/Do", replayed, client(unpacked))), nil); res.How != match.Exact {
		t.Errorf("unpacked: %v", res.How)
	}
	if res := x.Lookup(m.Request(call("/t.S/Other", replayed, client(fields(2, 1, 1, "a", 2, 2)))), nil); res.How != match.None {
		t.Errorf("unpacked, without descriptor: %v", res.How)
	}
	if _, err := match.New(match.Options{Descriptors: []byte("x")}); err == nil {
		t.Error("malformed descriptors: no error")
	}
}

func TestTCP(t *testing.T) {
	stream := func(at time.Time, address string, messages ...recording.Message) *recording.Exchange {
		return &recording.Exchange{TS: at, L7Protocol: recording.TCP, NetworkAddress: address, TCP: &recording.Conversation{Part: 1, Messages: messages}}
	}
	m, x := indexOf(t, match.Options{},
		stream(captured, "redis:6379", client([]byte("PI")), client([]byte("NG\r\n")), server([]byte("+PONG\r\n"))),
		stream(captured.Add(1), "redis:6379", client([]byte("GET a\r\n")), server([]byte("$1\r\n1\r\n"))),
		stream(captured.Add(2), "mysql:3306", server([]byte("hello"))),
	)
	head := m.Request(stream(replayed, "redis:6379"))
	if o := x.Openings(head); !slices.Equal(o.Lengths, []int{6, 7}) || o.Server {
		t.Errorf("openings: %+v", o)
	}
	if o := x.Openings(m.Request(stream(replayed, "mysql:3306"))); !o.Server || len(o.Lengths) > 0 {
		t.Errorf("openings: %+v", o)
	}
	for text, want := range map[string][]match.Ref{"PING\r\n": {0}, "GET a\r\n": {1}, "GET b\r\n": nil, "PING": nil, "": nil} {
		if res := x.Lookup(m.Request(stream(replayed, "redis:6379", client([]byte(text)))), nil); !slices.Equal(refs(x, res), want) {
			t.Errorf("%q: %v %v, want %v", text, res.How, refs(x, res), want)
		}
	}
	if res := x.Lookup(m.Request(stream(replayed, "redis:6380", client([]byte("PING\r\n")))), nil); res.How != match.None {
		t.Errorf("another port: %v", res.How)
	}
}

func TestMessages(t *testing.T) {
	set, err := rules.Parse("f", []byte("apiVersion: tapedeck.dev/v1alpha1\nkind: MatchRules\nrules:\n- {name: n, path: /ws, mask: 'body:$.n'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := match.New(match.Options{Rules: set})
	if err != nil {
		t.Fatal(err)
	}
	ws := func(at time.Time, text string) match.Side {
		e := &recording.Exchange{TS: at, HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: "GET", Host: "h", URL: "/ws"}}, WebSocket: &recording.Conversation{}}
		return match.Side{Exchange: e, Message: &recording.Message{From: recording.Client, Type: "text", Data: []byte(text)}}
	}
	after := func(s match.Side, d time.Duration) match.Side { s.Message.At = d.Microseconds(); return s }
	binary := ws(replayed, `{"a":1}`)
	binary.Message.Type = "binary"
	foreign := ws(captured, `{"key":"REDACTED-0123456789abcdef","pin":8000123456789012}`)
	foreign.Foreign = true
	for _, c := range []struct {
		name           string
		recorded, live match.Side
		want           match.How
	}{
		{"spelled differently", ws(captured, `{"a":1,"b":2}`), ws(replayed, `{"b": 2, "a": 1}`), match.Exact},
		{"a new time", ws(captured, `{"at":"2026-06-12T15:04:05Z"}`), ws(replayed, `{"at":"2026-11-20T09:30:00Z"}`), match.Masked},
		{"a new time, later in the conversation", after(ws(captured, `{"at":"2026-06-12T17:04:05Z"}`), 2*time.Hour), after(ws(replayed, `{"at":"2026-11-20T10:00:00Z"}`), time.Hour/2), match.Masked},
		{"another time, later in the conversation", after(ws(captured, `{"at":"2026-06-12T17:04:05Z"}`), 2*time.Hour), ws(replayed, `{"at":"2026-11-20T11:30:00Z"}`), match.None},
		{"another time", ws(captured, `{"at":"2026-06-12T15:04:05Z"}`), ws(replayed, `{"at":"2026-11-19T09:30:00Z"}`), match.None},
		{"a rule", ws(captured, `{"n":1}`), ws(replayed, `{"n":2}`), match.Masked},
		{"another value", ws(captured, `{"a":1}`), ws(replayed, `{"a":2}`), match.None},
		{"text and binary", ws(captured, `{"a":1}`), binary, match.None},
		{"redacted", foreign, ws(replayed, `{"key":"hunter2","pin":1234}`), match.Masked},
		{"redacted, and more", foreign, ws(replayed, `{"key":"hunter2","pin":1234,"a":1}`), match.None},
	} {
		if got := m.SameMessage(c.recorded, c.live); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if len(set.Unfired()) > 0 {
		t.Error("the rule never fired")
	}
}

// TestRepeatsOfMessages: a field without a name is masked in a call that reads once the
// recording shows that answers do not depend on it.
func TestRepeatsOfMessages(t *testing.T) {
	const price = "/shop.Prices/GetPrice"
	id := func(n int) string { return strings.Repeat(strconv.Itoa(n), 8) + "-1c9d-4b49-b5ab-7ac4db2f4a0e" }
	one := call(price, captured, client(fields(1, "tea", 2, id(1))), server(fields(1, 250)))
	m, x := indexOf(t, match.Options{}, one)
	live := func() *match.Request { return m.Request(call(price, replayed, client(fields(1, "tea", 2, id(9))))) }
	if res := x.Lookup(live(), nil); res.How != match.None {
		t.Errorf("one call: %v", res.How)
	}
	m, x = indexOf(t, match.Options{},
		one,
		call(price, captured.Add(1), client(fields(1, "tea", 2, id(2))), server(fields(1, 250))),
		call(price, captured.Add(2), client(fields(1, "tea", 2, id(3))), server(fields(1, 250))),
	)
	if res := x.Lookup(live(), nil); res.How != match.Masked || res.Masks[0].Why != match.ByRepeats {
		t.Errorf("three calls: %v %v", res.How, res.Masks)
	}
	for name, change := range map[string]func(e *recording.Exchange, i int){
		"answers differ": func(e *recording.Exchange, i int) { e.GRPC.Messages[1].Data = fields(1, 250+i) },
		"the last answer differs": func(e *recording.Exchange, i int) {
			e.GRPC.Messages = append(e.GRPC.Messages, server(fields(1, 1)), server(fields(1, i)))
		},
		"answers are in another order": func(e *recording.Exchange, i int) {
			e.GRPC.Messages = append(e.GRPC.Messages[:1], server(fields(1, 1+i%2)), server(fields(1, 2-i%2)))
		},
		"calls failed": func(e *recording.Exchange, i int) { e.Status = "5" },
	} {
		var all []*recording.Exchange
		for i := range 3 {
			e := call(price, captured.Add(time.Duration(i)), client(fields(1, "tea", 2, id(1+i))), server(fields(1, 250)))
			change(e, i)
			all = append(all, e)
		}
		m, x = indexOf(t, match.Options{}, all...)
		if res := x.Lookup(live(), nil); res.How != match.None {
			t.Errorf("%s: %v %v", name, res.How, res.Masks)
		}
	}
}
