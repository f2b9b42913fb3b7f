package service

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/stats"
)

// startConsole serves /metrics and /health on the local listener.
func (p *process) startConsole(_ context.Context, part *part) error {
	registry := prometheus.NewRegistry()
	collector := &roleCollector{ask: p.counterSources()}
	if err := registry.Register(collector); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", collector.health)
	for _, l := range p.sockets.named("metrics") {
		server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
			WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
		part.run = append(part.run, func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { server.Close() })()
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	return p.startManage(part)
}

// counterSources returns how to ask each role for its counters.
func (p *process) counterSources() map[Role]func(context.Context) (stats.Snapshot, error) {
	all := map[Role]func(context.Context) (stats.Snapshot, error){}
	for _, r := range allRoles {
		if p.has(r) {
			all[r] = func(context.Context) (stats.Snapshot, error) {
				if part := p.parts[r]; part != nil {
					return part.counters.Snapshot(), nil
				}
				return stats.Snapshot{}, errors.New("not started")
			}
			continue
		}
		cl := p.client(r)
		all[r] = func(ctx context.Context) (stats.Snapshot, error) {
			return rpc.Do[none, stats.Snapshot](ctx, cl.Client, MethodCounters, none{})
		}
	}
	return all
}

// roleCollector is a prometheus.Collector over the roles' counters, asked at each scrape.
type roleCollector struct {
	ask map[Role]func(context.Context) (stats.Snapshot, error)
}

const askTimeout = 2 * time.Second

// snapshots asks all roles at once.
func (c *roleCollector) snapshots() (map[Role]stats.Snapshot, map[Role]error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	good, bad := map[Role]stats.Snapshot{}, map[Role]error{}
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

// health answers 200 when every role answers, else 503, with the roles as JSON.
func (c *roleCollector) health(w http.ResponseWriter, _ *http.Request) {
	_, bad := c.snapshots()
	roles := map[Role]string{}
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
