package dispatch

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
)

// deferred puts n messages that wait into h, of one recipient each, to dests destinations.
func (h *house) deferred(n, dests int) {
	now := time.Now()
	for i := range n {
		to := mail.Address{Local: "u", Domain: "far" + string(rune('a'+i%dests)) + ".test"}
		env := &mail.Envelope{ID: id.Source{}.New(), Accepted: now.Add(-time.Hour), Recipients: []mail.Recipient{{To: to}}}
		h.take(queue.Claimed{Message: &queue.Message{
			Envelope: env, States: []queue.RecipientState{{Next: now.Add(time.Hour + time.Duration(i)*time.Millisecond)}},
		}, Lease: queue.Lease{Message: env.ID}})
	}
}

// markCPU returns the processor time that the collector has spent marking.
func markCPU() time.Duration {
	s := []metrics.Sample{
		{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
	}
	metrics.Read(s)
	var sum float64
	for i := range s {
		sum += s[i].Value.Float64()
	}
	return time.Duration(sum * float64(time.Second))
}

// BenchmarkCollect is what one garbage collection costs while a million messages wait.
func BenchmarkCollect(b *testing.B) {
	const n = 1_000_000
	h := build(b, plan{})
	var was, is runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&was)
	h.deferred(n, 20)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&is)
	mark := markCPU()
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(float64(is.HeapAlloc-was.HeapAlloc)/n, "B/recipient")
	b.ReportMetric(float64(is.HeapObjects-was.HeapObjects)/n, "objects/recipient")
	b.ReportMetric((markCPU()-mark).Seconds()*1000/float64(b.N), "ms-marking/op")
	runtime.KeepAlive(h)
}
