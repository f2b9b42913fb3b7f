package pebblestore

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/id"
)

// Memory for bodies and for recipients is bounded, whatever comes and goes: the oldest bodies go first, then the
// oldest messages that nobody uses, and each body is given back once.
func TestHotMessagesStayWithinTheirBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const most = 10
		released := map[*buffer]int{}
		var l hotList
		l.init(most, func(b *buffer) { released[b]++ })
		var added []*hot // in the order they came
		bodies := map[*hot]*buffer{}
		for n := range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				if len(added) > 0 {
					l.drop(rapid.SampledFrom(added).Draw(t, "message").id)
				}
			case 1:
				if len(added) > 0 {
					h := rapid.SampledFrom(added).Draw(t, "used")
					h.users = 1 - h.users
				}
			default:
				h := &hot{id: id.ID{byte(n) + 1}, state: make([]uint8, rapid.SampledFrom([]int{1, 2, hotMax / 3}).Draw(t, "recipients"))}
				if size := rapid.IntRange(0, 6).Draw(t, "body"); size > 0 {
					h.body = &buffer{data: make([]byte, size)}
					bodies[h] = h.body
				}
				l.add(h)
				added = append(added, h)
				if l.byID[h.id] != h || h.body != bodies[h] {
					t.Fatal("the newest message does not stay whole")
				}
				for other := l.root.next; other != h && l.recipients > hotMax; other = other.next {
					if other.users == 0 {
						t.Fatalf("%d recipients are kept, and of a message that nobody uses", l.recipients)
					}
				}
			}
			var bytes int64
			recipients, bodied := 0, false
			for h := l.root.next; h != &l.root; h = h.next {
				if l.byID[h.id] != h {
					t.Fatal("the ring has what the map has not")
				}
				if bodied = bodied || h == l.bodied; h.body != nil && !bodied {
					t.Fatal("a body is older than the oldest")
				}
				if bytes += h.room(); h.body == nil && bodies[h] != nil && bytes > 0 {
					t.Fatal("a body went before an older one")
				}
				recipients += len(h.state)
			}
			if bytes != l.bytes || recipients != l.recipients {
				t.Fatalf("%d bytes and %d recipients are counted of %d and %d", l.bytes, l.recipients, bytes, recipients)
			}
			if last := l.root.prev; bytes > most && bytes != last.room() {
				t.Fatalf("%d bytes of bodies are kept, and %d may be", bytes, most)
			}
			for h, b := range bodies {
				if gone := h.body == nil; gone != (released[b] == 1) || released[b] > 1 {
					t.Fatalf("a body that is gone %v was released %d times", gone, released[b])
				}
			}
		}
	})
}
