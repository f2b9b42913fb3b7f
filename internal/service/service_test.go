package service

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/role"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachRoleGetsOnlyItsKeys(t *testing.T) {
	t.Parallel()
	f, err := config.Parse("p.toml", []byte(`
host = "mail.example.test"
[route]
next_hop = "relay.example:587 user=me password=secret"
[auth]
min_password = 12
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range role.All() {
		text, err := forRole(f.Config, r).Encode(groupsOf(r)...)
		if err != nil {
			t.Fatal(err)
		}
		knows := bytes.Contains(text, []byte("secret"))
		if may := r == role.Queue; knows != may {
			t.Errorf("role %s knows the relay's password: %v", r, knows)
		}
		if knows := bytes.Contains(text, []byte("min_password")); knows != (r == role.Auth) {
			t.Errorf("role %s knows auth's keys: %v", r, knows)
		}
		if _, err := config.Decode("handover", text); err != nil {
			t.Errorf("role %s: %v", r, err)
		}
	}
}

func TestARoleAloneSaysHowItIsStarted(t *testing.T) {
	t.Parallel()
	if err := RunRole(context.Background(), "nonsense", io.Discard); err == nil || !strings.Contains(err.Error(), "smtpd") {
		t.Errorf("have %v", err)
	}
}
