package decode

import (
	"testing"

	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// The decoder counts the bytes that follow a failure, until decoding begins again.
func TestUndecodedBytesAreCounted(t *testing.T) {
	d := New(Config{}, recording.Discard{})
	r := d.Open(&tap.Flow{Started: epoch})
	r.Gap(tap.FromClient, epoch, 1000) // the tap has counted these
	r.Data(tap.FromServer, epoch, answer)
	r.Data(tap.FromClient, epoch, asks(""))
	r.Data(tap.FromServer, epoch, []byte("HTTP/9 200 OK\r\n\r\n"))
	r.Data(tap.FromServer, epoch, []byte("and more"))
	r.Close(epoch)
	got := d.Stats().Failed
	if want := (Undecoded{1, uint64(len(answer))}); got[Failure{"opaque", Lost}] != want {
		t.Errorf("after the loss %+v, want %+v", got, want)
	}
	if want := (Undecoded{1, 25}); got[Failure{"http1", Malformed}] != want {
		t.Errorf("after malformed bytes %+v, want %+v", got, want)
	}
}

// panicky is a sink with a bug, reached from within a decoder.
type panicky struct{ recording.Discard }

func (panicky) Write(*recording.Exchange) error { panic("bug") }

// The tap reports the panic. The flow gives back the memory that it held.
func TestPanicLosesOneFlow(t *testing.T) {
	d := New(Config{}, panicky{})
	r := d.Open(&tap.Flow{Started: epoch})
	r.Data(tap.FromClient, epoch, []byte("PUT / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"))
	func() {
		defer func() {
			if v := recover(); v != "bug" {
				t.Errorf("the tap gets %v", v)
			}
		}()
		r.Data(tap.FromServer, epoch, answer)
	}()
	if s := d.Stats(); s.Failed[Failure{"http1", Panic}].Times != 1 || s.Held != 0 || s.Abandoned != 1 {
		t.Errorf("stats %+v", s)
	}
}
