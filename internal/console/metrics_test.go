package console

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector asks two roles, one of which may be away.
func collector(remote error) *roleCollector {
	answer := func(err error) func(context.Context) (stats.Snapshot, error) {
		return func(context.Context) (stats.Snapshot, error) {
			return stats.Snapshot{Reasons: map[string]int64{"mailbox-unknown": 2}}, err
		}
	}
	return &roleCollector{ask: map[role.Role]func(context.Context) (stats.Snapshot, error){role.Queue: answer(nil), role.Remote: answer(remote)}}
}

func TestHealthIsThatOfEveryRole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		remote error
		code   int
		body   string
	}{
		{nil, http.StatusOK, `{"ok":true,"roles":{"queue":"up","remote":"up"}}` + "\n"},
		{errors.New("away"), http.StatusServiceUnavailable, `{"ok":false,"roles":{"queue":"up","remote":"down"}}` + "\n"},
	} {
		w := httptest.NewRecorder()
		collector(c.remote).health(w, httptest.NewRequest(http.MethodGet, "/health", nil))
		if w.Code != c.code || w.Body.String() != c.body {
			t.Errorf("remote %v: %d %s, want %d %s", c.remote, w.Code, w.Body, c.code, c.body)
		}
	}
}

func TestMetricsAreTheRolesCountersAddedUp(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(collector(nil)); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if got["postilion_role_up"] != 2 || got["postilion_reasons_total"] != 4 {
		t.Errorf("the metrics are %v", got)
	}
}
