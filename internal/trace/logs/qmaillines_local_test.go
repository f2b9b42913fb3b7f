package logs

import (
	"bytes"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// qmail-send logs who ran qmail-queue, which the reports by user count (zsuids).
func TestQmailLinesNameWhoHandedTheMessageIn(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	q := newQmailLines(&b)
	q.record(&trace.Event{Kind: trace.Accepted, Role: "local", Helo: "uid 1001 pid 77", Message: id.Source{}.New(), From: "joe@mx.test", Size: 5})
	if !strings.HasSuffix(b.String(), " from <joe@mx.test> qp 77 uid 1001\n") {
		t.Errorf("%q", b.String())
	}
}
