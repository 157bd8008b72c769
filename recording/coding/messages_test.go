package coding_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/recording/coding"
)

// deflated returns messages as one side of a WebSocket sends them with permessage-deflate: each
// refers to earlier ones, and lacks the four bytes with which each would end.
func deflated(t *testing.T, plain ...[]byte) (messages [][]byte) {
	t.Helper()
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	for _, p := range plain {
		b.Reset()
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))))
	}
	return messages
}

func TestMessagesReferToThoseBefore(t *testing.T) {
	random := make([]byte, 100<<10)
	_, _ = io.ReadFull(rand.NewChaCha8([32]byte{}), random)
	plain := [][]byte{random[:20<<10], random[:20<<10], random, {}, random[90<<10:], []byte("x")}
	var m coding.Messages
	for i, message := range deflated(t, plain...) {
		got, err := m.Inflate(message, 1<<20)
		if err != nil || !bytes.Equal(got, plain[i]) {
			t.Fatalf("message %d: %d bytes, %v; want %d", i, len(got), err, len(plain[i]))
		}
	}
}

func TestNothingIsReadBehindAMessageThatCannotBe(t *testing.T) {
	messages := deflated(t, bytes.Repeat([]byte("a"), 100), []byte("b"))
	var tooLarge, broken coding.Messages
	for range 2 {
		if _, err := tooLarge.Inflate(messages[0], 99); !errors.Is(err, coding.ErrTooLarge) {
			t.Error(err)
		}
	}
	if _, err := broken.Inflate([]byte("\xff"), 99); err == nil {
		t.Error("no error")
	}
	if got, err := broken.Inflate(messages[0], 100); err == nil {
		t.Errorf("%q", got)
	}
}
