package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/control"
)

// The reference page is generated: it says what the program of the same commit does.
func TestTheConfigurationPageIsFresh(t *testing.T) {
	t.Parallel()
	const page = "../../docs/configuration.md"
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var got, errOut bytes.Buffer
	if code := run([]string{"config", "reference"}, strings.NewReader(""), &got, &errOut); code != exitOK {
		t.Fatalf("config reference: exit code %d: %s", code, errOut.String())
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is not what the program prints; `make docs` writes it anew", page)
	}
}

func TestStatusTellsWhoHoldsAMailbox(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{out: &out}
	a.printStatus(&out, control.Status{Roles: []control.Role{{Name: "access", State: "up", Facts: map[string]any{
		"holders": []any{map[string]any{"address": "joe@example.test", "protocol": "pop3", "client": "192.0.2.7",
			"since": "2026-11-21T22:48:58.123456789Z", "session": "06h00k3e1m001wb87hjnyhaas8"}},
	}}}})
	for _, want := range []string{"holders=1", "joe@example.test", "pop3 192.0.2.7", "2026-11-21T22:48:58Z", "06h00k3e1m001wb87hjnyhaas8"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("status does not tell %q:\n%s", want, out.String())
		}
	}
}
