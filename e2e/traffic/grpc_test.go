package traffic

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	compressor "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/tapedeck/tapedeck/recording"
)

// calls are the calls of a client, each with its name in the metadata. They check that the traffic
// works. The ear records what they send and receive, to compare it with the recording.
var calls = []struct {
	name    string
	do      func(context.Context, pb.TestServiceClient) error
	givenUp bool // by one side, before there is a status
}{
	{name: "unary", do: func(ctx context.Context, c pb.TestServiceClient) error {
		var header, trailer metadata.MD
		ctx = metadata.AppendToOutgoingContext(ctx, "x-list", "one", "x-list", "two", "x-raw-bin", "\x00\xff")
		got, err := c.UnaryCall(ctx, &pb.SimpleRequest{Payload: payload("hello")}, grpc.Header(&header), grpc.Trailer(&trailer))
		return errors.Join(err, want("hello", string(got.GetPayload().GetBody())),
			want("[one two]", fmt.Sprint(header["x-list"])), want("\x00\xff", strings.Join(trailer["x-raw-bin"], "")))
	}},
	{name: "unary, empty", do: func(ctx context.Context, c pb.TestServiceClient) error {
		_, err := c.EmptyCall(ctx, &pb.Empty{})
		return err
	}},
	{name: "unary, failing", do: func(ctx context.Context, c pb.TestServiceClient) error {
		_, err := c.UnaryCall(ctx, &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: int32(codes.NotFound), Message: "no such täpe"}})
		return want("rpc error: code = NotFound desc = no such täpe", fmt.Sprint(err))
	}},
	{name: "unary, of no such method", do: func(ctx context.Context, c pb.TestServiceClient) error {
		_, err := c.UnimplementedCall(ctx, &pb.Empty{})
		return want(codes.Unimplemented.String(), status.Code(err).String())
	}},
	{name: "unary, large", do: func(ctx context.Context, c pb.TestServiceClient) error {
		large := strings.Repeat("0123456789abcdef", 3<<16) // 3 MiB
		got, err := c.UnaryCall(ctx, &pb.SimpleRequest{Payload: payload(large)})
		return errors.Join(err, want(large, string(got.GetPayload().GetBody())))
	}},
	{name: "unary, in gzip", do: func(ctx context.Context, c pb.TestServiceClient) error {
		text := strings.Repeat("again and ", 1000)
		got, err := c.UnaryCall(ctx, &pb.SimpleRequest{Payload: payload(text)}, grpc.UseCompressor(compressor.Name))
		return errors.Join(err, want(text, string(got.GetPayload().GetBody())))
	}},
	{name: "client streaming", do: func(ctx context.Context, c pb.TestServiceClient) error {
		s, err := c.StreamingInputCall(ctx)
		if err != nil {
			return err
		}
		for i := range 600 { // more than fit into one part of the recording
			if err := s.Send(&pb.StreamingInputCallRequest{Payload: payload(strings.Repeat("x", i))}); err != nil {
				return err
			}
		}
		got, err := s.CloseAndRecv()
		return errors.Join(err, want("179700", fmt.Sprint(got.GetAggregatedPayloadSize())))
	}},
	{name: "server streaming", do: func(ctx context.Context, c pb.TestServiceClient) error {
		s, err := c.StreamingOutputCall(ctx, ask(3, 0, 70_000))
		if err != nil {
			return err
		}
		return errors.Join(hear(s, 3), hear(s, 0), hear(s, 70_000), want("EOF", fmt.Sprint(hear(s, 0))))
	}},
	{name: "bidirectional", do: func(ctx context.Context, c pb.TestServiceClient) error {
		s, err := c.FullDuplexCall(ctx)
		if err != nil {
			return err
		}
		for i := range 20 {
			if err := errors.Join(s.Send(ask(i, 2*i)), hear(s, i), hear(s, 2*i)); err != nil {
				return err
			}
		}
		return errors.Join(s.CloseSend(), want("EOF", fmt.Sprint(hear(s, 0))))
	}},
	{name: "canceled", givenUp: true, do: func(ctx context.Context, c pb.TestServiceClient) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s, err := c.FullDuplexCall(ctx)
		if err != nil {
			return err
		}
		if err := errors.Join(s.Send(ask(5)), hear(s, 5)); err != nil {
			return err
		}
		cancel()
		return want(codes.Canceled.String(), status.Code(hear(s, 0)).String())
	}},
	{name: "out of time", givenUp: true, do: func(ctx context.Context, c pb.TestServiceClient) error {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		s, err := c.FullDuplexCall(ctx)
		if err != nil {
			return err
		}
		return want(codes.DeadlineExceeded.String(), status.Code(hear(s, 0)).String())
	}},
}

func payload(text string) *pb.Payload { return &pb.Payload{Body: []byte(text)} }

// ask makes a request for answers of the given sizes.
func ask(sizes ...int) *pb.StreamingOutputCallRequest {
	r := &pb.StreamingOutputCallRequest{}
	for _, n := range sizes {
		r.ResponseParameters = append(r.ResponseParameters, &pb.ResponseParameters{Size: int32(n)})
	}
	return r
}

// hear reads one answer of a stream.
func hear(s interface {
	Recv() (*pb.StreamingOutputCallResponse, error)
}, size int) error {
	m, err := s.Recv()
	if err != nil {
		return err
	}
	return want(fmt.Sprint(size), fmt.Sprint(len(m.GetPayload().GetBody())))
}

func want(want, got string) error {
	if got != want {
		return fmt.Errorf("%.60q, want %.60q", got, want)
	}
	return nil
}

// service is gRPC's own test service: it echoes requests.
type service struct {
	pb.UnimplementedTestServiceServer
	unary func(context.Context, *pb.SimpleRequest) // runs in UnaryCall
}

func (s *service) EmptyCall(context.Context, *pb.Empty) (*pb.Empty, error) { return &pb.Empty{}, nil }

func (s *service) UnaryCall(ctx context.Context, r *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if s.unary != nil {
		s.unary(ctx, r)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.MD{"x-list": md["x-list"]})
	_ = grpc.SetTrailer(ctx, metadata.MD{"x-raw-bin": md["x-raw-bin"]})
	if st := r.GetResponseStatus(); st != nil {
		return nil, status.Error(codes.Code(st.Code), st.Message)
	}
	return &pb.SimpleResponse{Payload: r.Payload}, nil
}

func (*service) StreamingInputCall(s grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error {
	sum := 0
	for {
		r, err := s.Recv()
		if err == io.EOF {
			return s.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		}
		if err != nil {
			return err
		}
		sum += len(r.GetPayload().GetBody())
	}
}

func (*service) StreamingOutputCall(r *pb.StreamingOutputCallRequest, s grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
	for _, p := range r.ResponseParameters {
		if err := s.Send(&pb.StreamingOutputCallResponse{Payload: payload(strings.Repeat("y", int(p.Size)))}); err != nil {
			return err
		}
	}
	return nil
}

func (service *service) FullDuplexCall(s grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) error {
	for {
		r, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = service.StreamingOutputCall(r, s)
		}
		if err != nil {
			return err
		}
	}
}

// serveGRPC runs the service, with TLS if tls isn't nil.
func serveGRPC(t *testing.T, s *service, tls *tls.Config) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var options []grpc.ServerOption
	if tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(tls)))
	}
	server := grpc.NewServer(options...)
	pb.RegisterTestServiceServer(server, s)
	go server.Serve(ln)
	t.Cleanup(server.Stop)
	return ln.Addr().String()
}

// ear records what the client sends and receives in each call, as grpc-go reports it.
type ear struct {
	mu    sync.Mutex
	calls map[string]*heard
}

type heard struct {
	said, answered  []proto.Message
	header, trailer metadata.MD // the server's
	sent            metadata.MD
	status          codes.Code
}

type callName struct{}

func (e *ear) TagRPC(ctx context.Context, i *stats.RPCTagInfo) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	return context.WithValue(ctx, callName{}, strings.Join(md["x-call"], ""))
}

func (e *ear) HandleRPC(ctx context.Context, s stats.RPCStats) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := ctx.Value(callName{}).(string)
	h := e.calls[name]
	if h == nil {
		h = &heard{}
		e.calls[name] = h
	}
	switch s := s.(type) {
	case *stats.OutHeader:
		h.sent = s.Header
	case *stats.OutPayload:
		h.said = append(h.said, s.Payload.(proto.Message))
	case *stats.InHeader:
		h.header = s.Header
	case *stats.InPayload:
		h.answered = append(h.answered, s.Payload.(proto.Message))
	case *stats.InTrailer:
		h.trailer = s.Trailer
	case *stats.End:
		h.status = status.Code(s.Error)
	}
}

func (e *ear) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (e *ear) HandleConn(context.Context, stats.ConnStats)                       {}

// Every kind of call works on every way through the sidecar, and is recorded
// as the client saw it.
func TestGRPC(t *testing.T) {
	throughSOCKS := grpc.WithContextDialer(func(_ context.Context, target string) (net.Conn, error) { return socks5(target) })
	for _, way := range []struct {
		name      string
		direction string
		via       string
		tls       bool              // which the sidecar intercepts
		options   []grpc.DialOption // without any, grpc-go heeds HTTPS_PROXY
	}{
		{name: "reverse", direction: recording.In, via: "tcp"},
		{name: "reverse, with TLS", direction: recording.In, via: "tcp", tls: true},
		{name: "CONNECT", direction: recording.Out, via: "connect"},
		{name: "SOCKS5", direction: recording.Out, via: "socks5", options: []grpc.DialOption{throughSOCKS}},
		{name: "CONNECT, intercepted", direction: recording.Out, via: "connect", tls: true},
		{name: "SOCKS5, intercepted", direction: recording.Out, via: "socks5", tls: true, options: []grpc.DialOption{throughSOCKS}},
	} {
		t.Run(way.name, func(t *testing.T) {
			a := newAuthority(t)
			var env []string
			var serverTLS *tls.Config
			trusted := a.file
			switch in := way.direction == recording.In; {
			case way.tls && in:
				env = a.terminating()
			case way.tls:
				env, serverTLS = a.intercepting(), a.server("h2")
			}
			app := serveGRPC(t, &service{}, serverTLS)
			s := start(t, app, env...)
			target := s.reverse()
			if way.direction == recording.Out {
				target, trusted = s.to(app), s.bundle()
			}
			creds := insecure.NewCredentials()
			if s.understood = way.tls; way.tls {
				creds = credentials.NewTLS(&tls.Config{ServerName: serverName, RootCAs: pool(t, trusted)})
			}
			ear := &ear{calls: map[string]*heard{}}
			conn, err := grpc.NewClient("passthrough:///"+target, append(way.options, grpc.WithTransportCredentials(creds), grpc.WithStatsHandler(ear))...)
			if err != nil {
				t.Fatal(err)
			}
			client := pb.NewTestServiceClient(conn)
			for _, c := range calls {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				if err := c.do(metadata.AppendToOutgoingContext(ctx, "x-call", c.name), client); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				cancel()
			}
			conn.Close()
			recorded := conversations(t, s.stop(), ofGRPC)
			for _, c := range calls {
				t.Run(c.name, func(t *testing.T) {
					var of []*conversation
					for _, r := range recorded {
						if r.HTTP.Req.Headers.Get("X-Call") == c.name {
							of = append(of, r)
						}
					}
					if len(of) != 1 {
						t.Fatalf("recorded %d times", len(of))
					}
					r, h := of[0], ear.calls[c.name]
					if r.Direction != way.direction || r.Tags.Get(recording.TagVia) != way.via || r.L7Protocol != recording.GRPC ||
						r.IsTLS != way.tls || r.HTTP.Req.Version != "2.0" || r.Command != "POST" || !strings.HasPrefix(r.Location, "/grpc.testing.TestService/") {
						t.Errorf("%s via %s: %s %s %s, HTTP %s, TLS %v", r.Direction, r.Tags.Get(recording.TagVia), r.L7Protocol, r.Command, r.Location, r.HTTP.Req.Version, r.IsTLS)
					}
					// At a deadline, either side may give up first, and the server may report it.
					reset, incomplete := r.Tags.Get(recording.TagReset), r.Tags.Get(recording.TagIncomplete)
					settled := incomplete == "" && reset == "" && r.Status == fmt.Sprint(int(h.status))
					givenUp := incomplete == "reset" && strings.HasSuffix(reset, ": CANCEL")
					if !settled && !(c.givenUp && givenUp) {
						t.Errorf("status %q, incomplete %q, reset %q, want status %d", r.Status, incomplete, reset, h.status)
					}
					sameMetadata(t, r.HTTP.Req.Headers, h.sent)
					sameMetadata(t, r.HTTP.Res.Headers, h.header)
					sameMetadata(t, r.HTTP.Res.Headers, h.trailer)
					sameMessages(t, r, recording.Client, h.said)
					sameMessages(t, r, recording.Server, h.answered)
				})
			}
			if len(recorded) != len(calls) {
				t.Errorf("%d calls are recorded as %d", len(calls), len(recorded))
			}
		})
	}
}

// Without interception, TLS passes untouched: only the size of the content is known.
func TestGRPCInsideTLS(t *testing.T) {
	a := newAuthority(t)
	s := start(t, "")
	target := s.to(serveGRPC(t, &service{}, a.server("h2")))
	creds := credentials.NewTLS(&tls.Config{ServerName: serverName, RootCAs: pool(t, a.file)})
	conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		if err := c.do(t.Context(), pb.NewTestServiceClient(conn)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	conn.Close()
	recorded := conversations(t, s.stop(), ofTCP)
	if len(recorded) != 1 {
		t.Fatalf("%d records", len(recorded))
	}
	passed := s.beyond[0].conns[0]
	if r := recorded[0]; !r.IsTLS && r.Tech != "TLS" || len(r.messages) > 0 ||
		r.TCP.ClientBytes != int64(passed.client.Len()) || r.TCP.ServerBytes != int64(passed.server.Len()) {
		t.Errorf("%d and %d bytes, %d messages, tech %q; the wire had %d and %d bytes", r.TCP.ClientBytes, r.TCP.ServerBytes, len(r.messages), r.Tech, passed.client.Len(), passed.server.Len())
	}
}

// A call of the application names the call that caused it, by the trace that the application
// passes on.
func TestGRPCLink(t *testing.T) {
	const (
		parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		child  = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
	)
	var dependency *grpc.ClientConn
	app := serveGRPC(t, &service{unary: func(ctx context.Context, r *pb.SimpleRequest) {
		ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", child)
		if _, err := pb.NewTestServiceClient(dependency).UnaryCall(ctx, r); err != nil {
			t.Error(err)
		}
	}}, nil)
	s := start(t, app)
	dial := func(target string) *grpc.ClientConn {
		conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	dependency = dial(s.to(serveGRPC(t, &service{}, nil)))
	conn := dial(s.reverse())
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", parent)
	if _, err := pb.NewTestServiceClient(conn).UnaryCall(ctx, &pb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	dependency.Close()
	var in, out *conversation
	for _, r := range conversations(t, s.stop(), ofGRPC) {
		if r.Direction == recording.In {
			in = r
		} else {
			out = r
		}
	}
	if in == nil || out == nil || out.Tags.Get(recording.TagParent) != in.UUID.String() || out.Tags.Get(recording.TagParentBy) != "traceparent" {
		t.Errorf("recorded: %+v and %+v", in, out)
	}
}

// sameMetadata checks that the recording has the metadata that the client sent or got.
func sameMetadata(t *testing.T, recorded recording.Headers, md metadata.MD) {
	t.Helper()
	for name, values := range md {
		if strings.HasSuffix(name, "-bin") || name == "user-agent" || name == "content-type" {
			continue // coded, or grpc-go's own
		}
		var got []string
		for _, h := range recorded {
			if strings.EqualFold(h.Name, name) {
				got = append(got, h.Value)
			}
		}
		if !slices.Equal(got, values) {
			t.Errorf("metadata %s: %q, want %q", name, got, values)
		}
	}
}

// sameMessages checks that the recording has the messages of one side, completely or up to the
// body limit.
func sameMessages(t *testing.T, r *conversation, from string, want []proto.Message) {
	t.Helper()
	var got []recording.Message
	for _, m := range r.messages {
		if m.From == from {
			got = append(got, m)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d messages of the %s, want %d", len(got), from, len(want))
	}
	for i, m := range got {
		data := m.Data
		if m.Compressed {
			z, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		whole, err := proto.Marshal(want[i])
		if err != nil {
			t.Fatal(err)
		}
		size := int64(len(whole))
		switch {
		case m.Size == 0 && bytes.Equal(data, whole):
		case m.Size == size && size > bodyLimit && bytes.Equal(data, whole[:bodyLimit]):
		default:
			t.Errorf("message %d of the %s: %d bytes of %d, %.60q, want %d, %.60q", i, from, len(data), m.Size, data, size, whole)
		}
		if gzipped := r.HTTP.Req.Headers.Get("Grpc-Encoding") == "gzip"; m.Compressed != gzipped {
			t.Errorf("message %d of the %s: compressed is %v", i, from, m.Compressed)
		}
	}
}

// bodyLimit is the default of TAPEDECK_BODY_LIMIT.
const bodyLimit = 1 << 20
