package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

func TestTheLoadSendsEveryMessageOnce(t *testing.T) {
	t.Parallel()
	s, err := newSink("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, fresh := range []bool{false, true} {
		s.messages.Store(0)
		l := load{addr: s.addr(), sessions: 3, messages: 50, size: 2000, fresh: fresh, to: toUsers}
		if _, err := l.run(t.Context()); err != nil || s.messages.Load() != 50 {
			t.Errorf("fresh %v: %d messages arrived, %v", fresh, s.messages.Load(), err)
		}
	}
}

func TestContentHasTheSizeAskedForAndEndsOnce(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1 << 10, 10 << 10, 1 << 20} {
		c := load{size: size}.content()
		if n := len(c) - len(".\r\n"); n > size || n < size-80 || bytes.Count(c, []byte("\r\n.")) != 1 {
			t.Errorf("size %d: %d bytes", size, n)
		}
	}
}

func TestUsageCountsThisProcess(t *testing.T) {
	t.Parallel()
	u, err := usageOf(os.Getpid())
	if err != nil || u.rss < 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	pid, rest, ok := cutStat("7 (a) b c) S 1 " + strings.Repeat("0 ", 30))
	if !ok || pid != 7 || rest[0] != "S" || rest[1] != "1" {
		t.Errorf("a command name with a parenthesis: %d %v %v", pid, rest, ok)
	}
}

func TestTheReportGoesBetweenItsMarkers(t *testing.T) {
	t.Parallel()
	name := t.TempDir() + "/performance.md"
	if err := os.WriteFile(name, []byte("head\n"+beginMark+"old\n"+endMark+"tail\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bench{rounds: 3, postfix: "it is not installed"}
	for _, rate := range []float64{100, 300, 200} {
		b.results.add("row", "Postfix", figures{rate: rate, cpu: 10})
		b.results.add("row", "Postilion, one process", figures{rate: 4 * rate, cpu: 5})
	}
	if err := b.report(name); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(name)
	if s := string(got); !strings.HasPrefix(s, "head\n") || !strings.HasSuffix(s, "tail\n") || strings.Contains(s, "old") ||
		!strings.Contains(s, "| row | 200; 10 µs | 800; 5 µs (4.0×) |") || !strings.Contains(s, "Measured "+time.Now().UTC().Format(time.DateOnly)) {
		t.Errorf("%s", s)
	}
}

func TestServersAreComparedTurnByTurn(t *testing.T) {
	t.Parallel()
	var r results
	// The machine is twice as fast in every second turn.
	for _, speed := range []float64{1, 2, 1, 2, 1} {
		r.add(oneSession, "one sync", figures{rate: speed * 1000})
		r.add(oneSession, "null sink", figures{rate: speed * 3000})
		r.add(oneSession, "Postfix", figures{rate: speed * 250, cpu: 10})
		r.add(oneSession, "Postilion, one process", figures{rate: speed * 500, cpu: speed})
	}
	if ratio, ok := r.ratio(oneSession, "Postilion, one process", "Postfix"); !ok || ratio != 2 {
		t.Errorf("twice as many as Postfix: %v", ratio)
	}
	// A round trip of 1/3000 and a sync of 1/1000 s allow 750 a second.
	if share, ok := r.allowed("Postilion, one process"); !ok || share < 0.666 || share > 0.667 {
		t.Errorf("of what is allowed: %v, want two thirds", share)
	}
	if cpu := r.cpu(oneSession, "Postilion, one process"); cpu < 1.399 || cpu > 1.401 {
		t.Errorf("CPU %v, want the mean", cpu)
	}
	if _, ok := r.allowed("Postilion, roles apart"); ok {
		t.Error("what was not measured has a share")
	}
}
