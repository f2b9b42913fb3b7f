// Package console is what role console does: it shows how the server is, and it does for administrators of domains and owners
// of accounts what package authority allows them. It keeps nothing itself: the roles that do are asked.
package console

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/stats"
)

// roleCollector is a prometheus.Collector over the roles' counters, asked at each scrape.
type roleCollector struct {
	ask map[role.Role]func(context.Context) (stats.Snapshot, error)
}

const askTimeout = 2 * time.Second

// snapshots asks all roles at once.
func (c *roleCollector) snapshots() (map[role.Role]stats.Snapshot, map[role.Role]error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	good, bad := map[role.Role]stats.Snapshot{}, map[role.Role]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for r, ask := range c.ask {
		wg.Go(func() {
			s, err := ask(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				bad[r] = err
				return
			}
			good[r] = s
		})
	}
	wg.Wait()
	return good, bad
}

// Pages serves /metrics and /health; ask has how each role tells its counters.
func Pages(ask map[role.Role]func(context.Context) (stats.Snapshot, error)) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	collector := &roleCollector{ask: ask}
	if err := registry.Register(collector); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", collector.health)
	return mux, nil
}

// health answers 200 when every role answers, else 503, with the roles as JSON.
func (c *roleCollector) health(w http.ResponseWriter, _ *http.Request) {
	_, bad := c.snapshots()
	roles := map[role.Role]string{}
	for r := range c.ask {
		roles[r] = "up"
		if bad[r] != nil {
			roles[r] = "down"
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if len(bad) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": len(bad) == 0, "roles": roles}) // the client is gone
}

// The metrics, named after stats.Snapshot's fields.
var (
	metricUp       = prometheus.NewDesc("postilion_role_up", "1 when the role answers.", []string{"role"}, nil)
	metricMessages = prometheus.NewDesc("postilion_messages_total", "Messages by mailer and what became of them.", []string{"mailer", "event"}, nil)
	metricBytes    = prometheus.NewDesc("postilion_bytes_total", "Bytes of messages by mailer and direction.", []string{"mailer", "direction"}, nil)
	metricSessions = prometheus.NewDesc("postilion_sessions_total", "Sessions ended, by protocol.", []string{"protocol"}, nil)
	metricReasons  = prometheus.NewDesc("postilion_reasons_total", "Refusals, deferrals and failures by reason.", []string{"reason"}, nil)
	metricRules    = prometheus.NewDesc("postilion_rule_hits_total", "Messages that content rules met, by the rule's file and line.", []string{"rule"}, nil)
	metricWarnings = prometheus.NewDesc("postilion_quota_warnings_total", "Owners warned that a mailbox is nearly full.", nil, nil)
	metricLogins   = prometheus.NewDesc("postilion_logins_total", "Logins by result.", []string{"result"}, nil)
	metricBounces  = prometheus.NewDesc("postilion_bounces_total", "Bounces queued.", nil, nil)
	metricLost     = prometheus.NewDesc("postilion_lost_events_total", "Events that were not recorded.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *roleCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{metricUp, metricMessages, metricBytes, metricSessions, metricReasons, metricRules, metricWarnings, metricLogins, metricBounces, metricLost} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *roleCollector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	good, _ := c.snapshots()
	var all []stats.Snapshot
	for r := range c.ask {
		up := 0.0
		if s, ok := good[r]; ok {
			up = 1
			all = append(all, s)
		}
		ch <- prometheus.MustNewConstMetric(metricUp, prometheus.GaugeValue, up, string(r))
	}
	s := stats.Merge(all...)
	for name, m := range s.Mailers {
		for event, n := range map[string]int64{"accepted": m.MessagesFrom, "delivered": m.MessagesTo, "rejected": m.Rejected,
			"discarded": m.Discarded, "deferred": m.Deferred, "failed": m.Failed} {
			counter(metricMessages, n, name, event)
		}
		counter(metricBytes, m.BytesFrom, name, "in")
		counter(metricBytes, m.BytesTo, name, "out")
	}
	for k, n := range s.Connections {
		counter(metricSessions, n, k)
	}
	for k, n := range s.Reasons {
		counter(metricReasons, n, k)
	}
	for k, n := range s.Rules {
		counter(metricRules, n, k)
	}
	counter(metricWarnings, s.Warnings)
	for k, n := range s.Logins {
		counter(metricLogins, n, k)
	}
	counter(metricBounces, s.Bounces)
	counter(metricLost, s.LostEvents)
}
