package decode

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// TestBeginningAnew plays a connection on which something is lost. Letters show the traffic: a
// request to its path and the answer that names it, each in a separate chunk, as `a A b B`;
// several in one chunk as `ab AB`. Brackets enclose the lost parts. A number is a pause, in
// milliseconds.
func TestBeginningAnew(t *testing.T) {
	for _, c := range []struct{ name, said, recorded string }{
		{"after a lost answer", "a A b [B] c C d D e E", "aA b_ dD eE"},
		{"after a lost request", "a A [b] B c C d D", "aA cC dD"},
		{"after a lost pair", "a A [b] [B] c C d D", "aA dD"},
		{"after the first bytes of a connection", "[a] A b B c C", "bB cC"},
		{"after what can't be parsed", "a BAD b B c C", "a_ cC"},
		{"again and again", "a [A] b B c C [d] D e E f F", "a_ cC eE fF"},
		{"not in a request of which a part was lost", "a A [b] POST B c C", "aA"},
		{"not in a body that the server asked for", "a A [b] 100 2000 c C d D", "aA dD"},
		{"not while the answer to a lost request may still come", "a A [b] c B d C D", "aA"},
		{"not if the client pipelines", "ab [AB] c A d B e C D E", "a_ b_"},
		{"not if it pipelined before the loss", "a b A B [c] d C e D f E F", "aA bB"},
		{"not after a rest if it pipelined", "ab AB [c] d C 2000 D e E f F", "aA bB"},
		{"not after a rest in which an answer is slow", "a A [b] c B 2000 d C D", "aA"},
		{"and then it may pipeline", "a A [b] B 2000 cd C e D f E F", "aA cC dD eE fF"},
		{"not if it pipelines between two losses", "a [A] [B] cd C e D f E F", "a_"},
		{"after a long silence, although it pipelined", "ab AB [c] d C D 40000 e E f F", "aA bB eE fF"},
		{"after rounds with long pauses, although it pipelined", "ab AB [c] d C D" + strings.Repeat(" 90 x X", 9) + " 90 e E f F", "aA bB xX eE fF"},
		{"not after rounds without pauses if it pipelined", "ab AB [c] d C" + strings.Repeat(" x D 90 y X z Y d Z", 9) + " e D", "aA bB"},
		{"not after rounds in which an answer is owed", "ab AB [c] d C" + strings.Repeat(" x 90 D y 90 X z 90 Y d 90 Z", 9) + " e D", "aA bB"},
		{"after more rounds if a request follows what was lost, and it always waited", strings.Repeat("x X ", 8) + "[b] z B" + strings.Repeat(" y Y", 8) + " e E", strings.TrimSpace(strings.Repeat("xX ", 8)) + " eE"},
		{"after rounds, if a part of a request was lost", "a A [b] POST B c C d D e E f F", "aA fF"},
		{"not after rounds if a request follows what was lost", "a A [b] c B d C e D f E g F", "aA"},
		{"not after a rest in which it is owed an answer", "ab AB [c] d 2000 e C D E", "aA bB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sink memory
			d := New(Config{}, &sink)
			r := d.Open(&tap.Flow{Started: epoch})
			at := epoch
			for word := range strings.FieldsSeq(c.said) {
				at = at.Add(time.Millisecond)
				text, side := "", tap.FromClient
				name := strings.Trim(word, "[]")
				switch ms, err := strconv.Atoi(name); {
				case name == "POST":
					text = "the rest of a body"
				case name == "BAD":
					text, side = "HTTP/9 really\r\n\r\n", tap.FromServer
				case name == "100":
					text, side = "HTTP/1.1 100 Continue\r\n\r\n", tap.FromServer
				case err == nil:
					at = at.Add(time.Duration(ms) * time.Millisecond)
					continue
				default:
					for _, letter := range name {
						if letter >= 'a' {
							text += "GET /" + string(letter) + " HTTP/1.1\r\nHost: a\r\n\r\n"
						} else {
							text, side = text+"HTTP/1.1 200 "+string(letter)+"\r\nContent-Length: 0\r\n\r\n", tap.FromServer
						}
					}
				}
				if word != name {
					r.Gap(side, at, int64(len(text)))
				} else {
					r.Data(side, at, []byte(text))
				}
			}
			r.Close(at)
			var recorded []string
			for _, e := range sink.decode(t) {
				if e.HTTP != nil {
					_, answer, _ := strings.Cut(e.HTTP.Res.StatusMessage+" _", " ")
					recorded = append(recorded, strings.TrimPrefix(cmp.Or(e.Location, "?"), "/")+answer[:1])
				}
			}
			if got := strings.Join(recorded, " "); got != c.recorded {
				t.Errorf("recorded %s, want %s", got, c.recorded)
			}
		})
	}
}

// Bytes are lost anywhere, from clients that wait for their answers and from clients that were seen
// not to wait. No request is recorded with another's answer, and clients that wait are recorded
// again.
func TestNoRequestGetsAnothersAnswer(t *testing.T) {
	for _, c := range []struct {
		name     string
		ahead    int  // requests that the client makes before it is answered
		keeps    bool // as many in flight, always
		recorded int  // of a hundred requests, on average
	}{
		{"a client that waits", 1, true, 40},
		{"one that pipelines", 2, false, 0},
		{"one that pipelines more", 5, false, 0},
		{"one that keeps two requests in flight", 2, true, 0},
		{"one that keeps three requests in flight", 3, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			const connections, requests = 50, 50
			recorded := 0
			for seed := range uint64(connections) {
				rnd := rand.New(rand.NewPCG(seed, 0))
				var sink memory
				r := New(Config{}, &sink).Open(&tap.Flow{Started: epoch})
				at := epoch
				asked, answered, losing := 0, 0, 0
				say := func(side tap.Side, text string) {
					for p := []byte(text); len(p) > 0; {
						n := len(p)
						if rnd.IntN(3) == 0 {
							n = 1 + rnd.IntN(n)
						}
						at = at.Add(time.Millisecond)
						if rnd.IntN(10) == 0 { // a slow answer, or a client that rests
							at = at.Add(1500 * time.Millisecond)
						}
						if losing == 0 && answered > 10 && rnd.IntN(20) == 0 {
							losing = 1 + rnd.IntN(4)
						}
						if losing > 0 {
							losing--
							r.Gap(side, at, int64(n))
						} else {
							r.Data(side, at, p[:n])
						}
						p = p[n:]
					}
				}
				for answered < requests {
					if asked < requests && asked-answered < c.ahead && (asked == answered || c.keeps || rnd.IntN(2) == 0) {
						body := fmt.Sprint("body ", asked)
						say(tap.FromClient, fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", asked, len(body), body))
						asked++
					} else {
						say(tap.FromServer, fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Path: /%d\r\nContent-Length: 2\r\n\r\nok", answered))
						answered++
					}
				}
				r.Close(at)
				for _, e := range sink.decode(t) {
					if e.HTTP == nil || e.Location == "" || e.Status == "" {
						continue
					}
					if path := e.HTTP.Res.Headers.Get("X-Path"); path != e.Location {
						t.Fatalf("connection %d: the request to %s is recorded with the answer to %s", seed, e.Location, path)
					}
					recorded++
				}
			}
			if share := recorded * 100 / (connections * requests); share < c.recorded {
				t.Errorf("%d of a hundred are recorded, want %d", share, c.recorded)
			}
		})
	}
}
