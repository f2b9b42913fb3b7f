package secrets

import (
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// converse runs a conversation with messages of a client that does not read, and
// returns the answers.
func (f *fixture) converse(c auth.Conversation, messages ...string) (answers []string, done bool, err error) {
	f.t.Helper()
	defer c.Close()
	for _, m := range messages {
		var challenge []byte
		if challenge, done, err = c.Step(f.t.Context(), []byte(m)); err != nil {
			return answers, done, err
		}
		answers = append(answers, string(challenge))
	}
	return answers, done, nil
}

// dialogue logs a foreign client in and returns the fixture's word for the result.
func (f *fixture) dialogue(client *scram.ClientConversation, bindings []auth.ChannelBinding, at string) string {
	f.t.Helper()
	c, err := f.SCRAM(f.t.Context(), from(at), bindings)
	f.ok(err)
	defer c.Close()
	challenge, done := "", false
	for !done {
		response, err := client.Step(challenge)
		if err != nil {
			f.t.Fatalf("the client refused %q: %v", challenge, err)
		}
		var next []byte
		if next, done, err = c.Step(f.t.Context(), []byte(response)); err != nil {
			return f.word(c.Identity(), err)
		}
		challenge = string(next)
	}
	if _, err := client.Step(challenge); err != nil || !client.Valid() {
		f.t.Errorf("the client does not believe the server: %v", err)
	}
	return f.word(c.Identity(), nil)
}

func client(t *testing.T, user, password string) *scram.Client {
	t.Helper()
	c, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The exchange is that of RFC 7677 3.
func TestSCRAMAsTheRFCShowsIt(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{DefaultDomain: "a.test"})
	a := directory.Account{Address: mail.ParseAddress("user@a.test")}
	f.ok(f.dir.PutAccount(t.Context(), &a, true))
	f.ok(f.SetHash(t.Context(), a.ID, pencil))
	begin := func() *conversation {
		c, err := f.SCRAM(t.Context(), from("192.0.2.1"), nil)
		f.ok(err)
		conv := c.(*conversation)
		conv.nonce = func() string { return "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" }
		return conv
	}
	const first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
	const last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	c := begin()
	answers, done, err := f.converse(c, first, last)
	f.ok(err)
	if !done || answers[0] != "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096" ||
		answers[1] != "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("done %v with %q", done, answers)
	}
	if id := c.Identity(); id.Account != a.ID || id.Address != "user@a.test" {
		t.Errorf("logged in as %+v", id)
	}
	if _, _, err := c.Step(t.Context(), []byte(last)); err == nil {
		t.Error("a conversation that was over went on")
	}
	for _, wrong := range []string{
		strings.Replace(last, "p=d", "p=e", 1), strings.Replace(last, "hNlF$k0,", "hNlF$k1,", 1), strings.Replace(last, "c=biws", "c=eSws", 1),
		"", "c=biws", "p=AA==", "c=biws,r=x,p=!", strings.Replace(last, "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "p=AAAA", 1),
	} {
		c := begin()
		_, _, err := f.converse(c, first, wrong)
		if got := f.word(c.Identity(), err); got != "failed" {
			t.Errorf("%q: %s", wrong, got)
		}
		f.ok(f.Unblock(t.Context(), "192.0.2.1"))
	}
}

func TestSCRAMWorksAfterTheFirstPlainLogin(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	f.ok(f.SetHash(t.Context(), ann, "$1$abcdefgh$Gqo0dW5ZZwRMuhky6A93q0"))
	if got := f.dialogue(client(t, "ann@a.test", "pencil").NewConversation(), nil, "192.0.2.1"); got != "failed" {
		t.Errorf("before a plain login: %s", got)
	}
	f.want("ok", "192.0.2.1", "ann@a.test", "pencil")
	if got := f.dialogue(client(t, "ann@a.test", "pencil").NewConversation(), nil, "192.0.2.1"); got != "ok" {
		t.Errorf("after a plain login: %s", got)
	}
	f.ok(f.SetPassword(t.Context(), ann, "Ⅸ I\u00ADX eraser")) // SASLprep changes it
	if got := f.dialogue(client(t, "ann@a.test", "IX IX eraser").NewConversation(), nil, "192.0.2.1"); got != "ok" {
		t.Errorf("SASLprep: %s", got)
	}
}

func TestSCRAMBindsToTheChannel(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 100, AccountFailures: 100})
	exporter := auth.ChannelBinding{Type: "tls-exporter", Data: []byte("0123456789abcdef0123456789abcdef")}
	endPoint := auth.ChannelBinding{Type: "tls-server-end-point", Data: []byte("the certificate's hash")}
	both := []auth.ChannelBinding{exporter, endPoint}
	c := client(t, "joe@a.test", correct)
	bound := func(b auth.ChannelBinding) *scram.ClientConversation {
		return c.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(b.Type), Data: b.Data})
	}
	for _, b := range both {
		if got := f.dialogue(bound(b), both, "192.0.2.1"); got != "ok" {
			t.Errorf("%s: %s", b.Type, got)
		}
		b.Data = []byte("the channel of somebody in between")
		if got := f.dialogue(bound(b), both, "192.0.2.2"); got != "failed" {
			t.Errorf("%s of another channel: %s", b.Type, got)
		}
	}
	if got := f.dialogue(c.NewConversation(), both, "192.0.2.1"); got != "ok" {
		t.Errorf("a client without bindings: %s", got)
	}
	// Somebody in between took -PLUS out of the offer.
	if got := f.dialogue(c.NewConversationAdvertisingChannelBinding(), both, "192.0.2.1"); got != "auth-channel-binding" {
		t.Errorf("a downgrade: %s", got)
	}
	if got := f.dialogue(c.NewConversationAdvertisingChannelBinding(), nil, "192.0.2.1"); got != "ok" {
		t.Errorf("a client that could bind, where it was not offered: %s", got)
	}
	if got := f.dialogue(bound(exporter), []auth.ChannelBinding{endPoint}, "192.0.2.1"); got != "auth-channel-binding" {
		t.Errorf("a binding that the connection has not: %s", got)
	}
	if got := f.dialogue(bound(exporter), nil, "192.0.2.1"); got != "auth-channel-binding" {
		t.Errorf("a binding without an offer: %s", got)
	}
}

func TestABindingThatDoesNotFitIsToldByItsServerError(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	exporter := []auth.ChannelBinding{{Type: "tls-exporter", Data: []byte("0123456789abcdef0123456789abcdef")}}
	for _, tt := range []struct {
		flag     string
		bindings []auth.ChannelBinding
		want     string
	}{
		{"y", exporter, "e=server-does-support-channel-binding"}, {"p=tls-unique", exporter, "e=unsupported-channel-binding-type"},
		{"p=tls-exporter", nil, "e=channel-binding-not-supported"},
	} {
		c, err := f.SCRAM(t.Context(), from("192.0.2.1"), tt.bindings)
		f.ok(err)
		_, _, err = c.Step(t.Context(), []byte(tt.flag+",,n=joe@a.test,r=abc"))
		if e, ok := errors.AsType[*reason.Error](err); !ok || e.Code != 535 || !strings.HasPrefix(e.Text(reason.English), tt.want+": ") {
			t.Errorf("%s: %v, want %s", tt.flag, err, tt.want)
		}
		f.ok(c.Close())
	}
}

func TestSCRAMTellsNothingOfUsers(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	salt := func(user string) string {
		c, err := f.SCRAM(t.Context(), from("192.0.2.1"), nil)
		f.ok(err)
		answers, _, err := f.converse(c, "n,,n="+user+",r=abc")
		f.ok(err)
		_, rest, _ := strings.Cut(answers[0], ",")
		return rest
	}
	seen := map[string]string{}
	for _, user := range []string{"joe@a.test", "ann@a.test", "nobody@a.test", "x@b.test"} {
		s := salt(user)
		if s != salt(user) || s != salt(strings.ToUpper(user)) {
			t.Errorf("%s has a new salt each time", user)
		}
		if other, ok := seen[s]; ok {
			t.Errorf("%s and %s have one salt", user, other)
		}
		seen[s] = user
		if !strings.HasSuffix(s, ",i=15000") || len(s) != len(salt("joe@a.test")) {
			t.Errorf("%s is told %q", user, s)
		}
	}
	before := salt("nobody@a.test")
	f.ok(f.Service.Close())
	f.open()
	if salt("nobody@a.test") != before {
		t.Error("a restart gives unknown users new salts")
	}
	for _, user := range []string{"joe@a.test", "ann@a.test", "nobody@a.test"} {
		if got := f.dialogue(client(t, user, "wrong").NewConversation(), nil, "192.0.2.1"); got != "failed" {
			t.Errorf("%s: %s", user, got)
		}
	}
}

func TestSCRAMLetsNobodyActAsAnother(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	c, err := scram.SHA256.NewClient("joe@a.test", correct, "ann@a.test")
	f.ok(err)
	if got := f.dialogue(c.NewConversation(), nil, "192.0.2.1"); got != "failed" {
		t.Errorf("as another: %s", got)
	}
	c, err = scram.SHA256.NewClient("joe@a.test", correct, "joe@a.test")
	f.ok(err)
	if got := f.dialogue(c.NewConversation(), nil, "192.0.2.1"); got != "ok" {
		t.Errorf("as himself by name: %s", got)
	}
}

func TestSCRAMCountsFailuresAndIsBlocked(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 2})
	for i, want := range []string{"failed", "failed", "failed", "blocked"} {
		if got := f.dialogue(client(t, "joe@a.test", "wrong").NewConversation(), nil, "192.0.2.1"); got != want {
			t.Errorf("attempt %d: %s, want %s", i+1, got, want)
		}
	}
	// Giving up before the proof is no failure, and leaves nothing pending.
	for range 20 {
		c, err := f.SCRAM(t.Context(), from("192.0.2.2"), nil)
		f.ok(err)
		if _, _, err := f.converse(c, "n,,n=joe@a.test,r=abc"); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.guard.pending) != 0 {
		t.Errorf("%d attempts are pending after the conversations were closed", len(f.guard.pending))
	}
	f.want("ok", "192.0.2.2", "joe@a.test", correct)
}

func FuzzSCRAM(f *testing.F) {
	for _, s := range []string{
		"n,,n=joe@a.test,r=abc", "y,,n=joe@a.test,r=abc", "p=tls-exporter,,n=joe@a.test,r=abc", "n,a=ann@a.test,n=joe@a.test,r=abc", "n,,m=x,n=joe,r=abc", "n,,n=jo=2Ce,r=a", "n,,n==zz,r=a", "", ",,,", "n,,n=\xff,r=\x00",
	} {
		f.Add(s, "c=biws,r=abc,p=AAAA")
	}
	fix := setUp(f, Options{AddressFailures: 1 << 20, NetworkFailures: 1 << 20, AccountFailures: 1 << 20})
	f.Fuzz(func(t *testing.T, first, last string) {
		c, err := fix.SCRAM(t.Context(), from("192.0.2.1"), []auth.ChannelBinding{{Type: "tls-exporter", Data: []byte("x")}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, m := range []string{first, last} {
			_, done, err := c.Step(t.Context(), []byte(m))
			if done || c.Identity().Account != 0 {
				t.Fatalf("logged in with %q, %q", first, last)
			}
			if err == nil {
				continue
			}
			if r := reason.As(err).Reason; r != auth.Failed.Reason && r != reason.AuthEncoding.Reason && r != reason.AuthBinding.Reason {
				t.Errorf("%q, %q: %v", first, last, err)
			}
			return
		}
	})
}
