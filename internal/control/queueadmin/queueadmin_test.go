package queueadmin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One message with many or long recipients must not keep operators from seeing the queue.
func TestAnyQueueFitsIntoReplies(t *testing.T) {
	t.Parallel()
	message := func(n int, to string) dispatch.Info {
		m := dispatch.Info{ID: id.ID{byte(n)}, From: to}
		for i := range n {
			m.Recipients = append(m.Recipients, dispatch.Recipient{N: i, To: to, Error: to, State: "waiting"})
		}
		return m
	}
	for name, c := range map[string]struct {
		list []dispatch.Info
		told int // messages in the first reply
		more bool
	}{
		"few":             {[]dispatch.Info{message(1, "a@x.example"), message(2, "b@x.example")}, 2, false},
		"many recipients": {[]dispatch.Info{message(90_000, "a@x.example"), message(5, "b@x.example")}, 1, true},
		"a long address":  {[]dispatch.Info{message(1, strings.Repeat("a", 1<<20))}, 1, false},
		"escaped bytes":   {[]dispatch.Info{message(100, strings.Repeat("\x01<", 500))}, 1, true},
		"many messages":   {[]dispatch.Info{message(100, "a@x.example"), message(2500, "a@x.example"), message(900, "a@x.example")}, 2, false},
	} {
		whole := len(c.list[0].Recipients)
		r := fitFrame(ListReply{List: slices.Clone(c.list)})
		p, err := json.Marshal(r)
		if err != nil || len(p) > rpc.MaxFrame {
			t.Errorf("%s: %d bytes, %v", name, len(p), err)
		}
		if len(r.List) != c.told || (r.Next != "") != (c.told < len(c.list)) || (r.List[0].More > 0) != c.more {
			t.Errorf("%s: have %d messages, next %q, %d more recipients", name, len(r.List), r.Next, r.List[0].More)
		}
		if have := len(r.List[0].Recipients) + r.List[0].More; have != whole {
			t.Errorf("%s: %d recipients are told of or counted", name, have)
		}
	}
	if s := fmt.Sprint(fitInfo(message(1, "a@x.example"))); s != fmt.Sprint(message(1, "a@x.example")) {
		t.Errorf("have %s", s)
	}
}
