package smtpd

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/postilion/postilion/internal/smtp"
)

// startTLS takes the client's side of STARTTLS and greets again.
func (d *dialogue) startTLS() *tls.Conn {
	d.t.Helper()
	d.do("EHLO client.test")
	if r := d.do("STARTTLS"); r.Code != 220 {
		d.t.Fatal(r)
	}
	c := tls.Client(d.conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		d.t.Fatal(err)
	}
	d.conn, d.in = c, bufio.NewReaderSize(c, smtp.MaxReplyLine)
	d.do("EHLO client.test")
	return c
}

// scram runs a client's conversation, and returns the last answer.
func (d *dialogue) scram(mechanism, password string, initial bool, binding *scram.ChannelBinding) smtp.Reply {
	d.t.Helper()
	client, err := scram.SHA256.NewClient("joe@example.test", password, "")
	if err != nil {
		d.t.Fatal(err)
	}
	conversation := client.NewConversation()
	if binding != nil {
		conversation = client.NewConversationWithChannelBinding(*binding)
	}
	first, err := conversation.Step("")
	if err != nil {
		d.t.Fatal(err)
	}
	command := "AUTH " + mechanism
	if initial {
		command += " " + base64.StdEncoding.EncodeToString([]byte(first))
	}
	r := d.do(command)
	if !initial && r.Code == 334 {
		r = d.do(base64.StdEncoding.EncodeToString([]byte(first)))
	}
	for r.Code == 334 {
		challenge, err := base64.StdEncoding.DecodeString(r.Lines[0])
		if err != nil {
			d.t.Fatal(err)
		}
		answer, err := conversation.Step(string(challenge))
		if err != nil {
			d.t.Fatal(err)
		}
		r = d.do(base64.StdEncoding.EncodeToString([]byte(answer)))
	}
	if r.Code == 235 && !conversation.Valid() {
		d.t.Error("the server has not shown that it knows the password")
	}
	return r
}

func TestSCRAM(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, mechanism, password string
		initial, bound, wrong     bool
		want                      int
	}{
		{"with initial response", "SCRAM-SHA-256", "secret", true, false, false, 235},
		{"without", "SCRAM-SHA-256", "secret", false, false, false, 235},
		{"wrong password", "SCRAM-SHA-256", "wrong", true, false, false, 535},
		{"bound to the connection", "SCRAM-SHA-256-PLUS", "secret", true, true, false, 235},
		{"bound to another connection", "SCRAM-SHA-256-PLUS", "secret", true, true, true, 535},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.options.Mode = Submission
			w.deps.Auth, w.deps.TLS = fakeAuth{}, serverTLS
			d := w.dialogue(t, w.server(t))
			state := d.startTLS().ConnectionState()
			var binding *scram.ChannelBinding
			if c.bound {
				data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
				if err != nil {
					t.Fatal(err)
				}
				if c.wrong {
					data[0] ^= 1
				}
				binding = &scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: data}
			}
			if r := d.scram(c.mechanism, c.password, c.initial, binding); r.Code != c.want {
				t.Errorf("%s, want %d", r, c.want)
			}
			if r := d.do("MAIL FROM:<joe@example.test>"); (r.Code == 250) != (c.want == 235) {
				t.Errorf("MAIL: %s", r)
			}
		})
	}
}

func TestOnlyWantedMechanismsAreOffered(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.options.Mode, w.options.Mechanisms = Submission, []string{"LOGIN", "SCRAM-SHA-256"}
	w.deps.Auth, w.deps.TLS = fakeAuth{}, serverTLS
	d := w.dialogue(t, w.server(t))
	d.startTLS()
	if r := d.do("EHLO client.test"); !slices.Contains(r.Lines, "AUTH LOGIN SCRAM-SHA-256") {
		t.Errorf("the server offers %q", r.Lines)
	}
	for _, m := range []string{"PLAIN", "SCRAM-SHA-256-PLUS"} {
		if r := d.do("AUTH " + m); r.Code != 504 {
			t.Errorf("%s: %s, want 504", m, r)
		}
	}
	if r := d.do("AUTH LOGIN"); r.Code != 334 {
		t.Errorf("LOGIN: %s, want 334", r)
	}
	o := Options{Host: "mx.example.test", Mechanisms: []string{"CRAM-MD5"}}
	if err := o.fill(); err == nil || !strings.Contains(err.Error(), `"CRAM-MD5"`) {
		t.Errorf("an unknown mechanism: %v", err)
	}
}
