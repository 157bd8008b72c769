package collector

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"
)

// A namespace whose pods send slowly leaves half of the room to others.
func TestANamespaceTakesHalfOfTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { shareRoom(t) })
}

func shareRoom(t *testing.T) {
	r := &room{bytes: 1000, all: semaphore.NewWeighted(1000)}
	enter := func(namespace string, size int64) (func(), bool) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return r.enter(ctx, namespace, size)
	}
	var leave []func()
	for n := range 6 {
		l, ok := enter("shop", 100)
		if ok != (n < 5) {
			t.Errorf("upload %d of shop: %t", n+1, ok)
		}
		if ok {
			leave = append(leave, l)
		}
	}
	if _, ok := enter("bank", r.largest()); !ok {
		t.Error("bank found no room")
	}
	leave[0]()
	if _, ok := enter("shop", 100); !ok {
		t.Error("shop found no room after an upload had left")
	}
}
