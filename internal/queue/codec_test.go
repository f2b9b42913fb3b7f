package queue

import (
	"errors"
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// text is any bytes, as an address may hold them.
var text = rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "text")) })

var instant = rapid.Custom(func(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "none") {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(-1e11, 1e11).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()
})

var ids = rapid.Custom(func(t *rapid.T) id.ID { return id.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")) })

var address = rapid.Custom(func(t *rapid.T) mail.Address {
	return mail.Address{Local: text.Draw(t, "local"), Domain: text.Draw(t, "domain")}
})

var failure = rapid.Custom(func(t *rapid.T) *reason.Error {
	if rapid.Bool().Draw(t, "none") {
		return nil
	}
	e := &reason.Error{
		Class: reason.Class(rapid.IntRange(0, 1).Draw(t, "class")), Code: rapid.IntRange(-1, math.MaxInt32).Draw(t, "code"),
		Enhanced: text.Draw(t, "enhanced"), Reason: reason.ID(text.Draw(t, "reason")), Remote: text.Draw(t, "remote"),
	}
	if args := rapid.SliceOfN(text, 0, 3).Draw(t, "args"); len(args) > 0 {
		e.Args = args
	}
	if rapid.Bool().Draw(t, "cause") {
		e.Cause = errors.New(text.Draw(t, "why"))
	}
	return e
})

var envelope = rapid.Custom(func(t *rapid.T) *mail.Envelope {
	e := &mail.Envelope{
		ID: ids.Draw(t, "id"), Session: ids.Draw(t, "session"), Parent: ids.Draw(t, "parent"), Accepted: instant.Draw(t, "accepted"),
		From: address.Draw(t, "from"), Body: mail.BodyType(rapid.Byte().Draw(t, "body")), UTF8: rapid.Bool().Draw(t, "utf8"), Held: rapid.Bool().Draw(t, "held"),
		TLSOnly: rapid.Bool().Draw(t, "tls"), EnvID: text.Draw(t, "envid"), Ret: mail.Ret(rapid.Byte().Draw(t, "ret")),
		Priority: rapid.Int8().Draw(t, "priority"), Group: text.Draw(t, "group"), Tenant: rapid.Uint64().Draw(t, "tenant"),
		Account: text.Draw(t, "account"), HELO: text.Draw(t, "helo"), Protocol: text.Draw(t, "protocol"),
		Size: rapid.Int64().Draw(t, "size"), CRLFSize: rapid.Int64().Draw(t, "crlf"), Eight: rapid.Bool().Draw(t, "eight"),
		Client: rapid.SampledFrom([]netip.Addr{
			{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:1.2.3.4"), netip.MustParseAddr("fe80::1%eth0"),
		}).Draw(t, "client"),
	}
	for range rapid.IntRange(0, 4).Draw(t, "recipients") {
		e.Recipients = append(e.Recipients, mail.Recipient{
			To: address.Draw(t, "to"), ORcpt: text.Draw(t, "orcpt"), Notify: mail.Notify(rapid.ByteMax(0x7f).Draw(t, "notify")), Refused: failure.Draw(t, "refused"),
			Copy: text.Draw(t, "copy"),
		})
	}
	return e
})

func TestAnEnvelopeComesBackAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := envelope.Draw(t, "envelope")
		data := AppendEnvelope(nil, want)
		got, err := DecodeEnvelope(data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, want)
		}
		cut := rapid.IntRange(0, len(data)-1).Draw(t, "cut")
		if _, err := DecodeEnvelope(data[:cut]); !errors.Is(err, ErrFormat) {
			t.Fatalf("an envelope cut at %d of %d: %v", cut, len(data), err)
		}
	})
}

func TestAStateComesBackAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := RecipientState{
			N: rapid.IntRange(0, math.MaxInt32).Draw(t, "n"), State: State(rapid.Byte().Draw(t, "state")), Attempts: rapid.IntRange(0, 1000).Draw(t, "attempts"),
			Next: instant.Draw(t, "next"), Last: instant.Draw(t, "last"), Err: failure.Draw(t, "err"), Host: text.Draw(t, "host"), Delayed: rapid.Bool().Draw(t, "delayed"),
		}
		data := AppendState(nil, &want)
		got, err := DecodeState(data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, want)
		}
		if _, err := DecodeState(append(data, 0)); !errors.Is(err, ErrFormat) {
			t.Fatalf("a state with a byte too many: %v", err)
		}
	})
}

func TestANewerCodecIsRefused(t *testing.T) {
	t.Parallel()
	data := AppendEnvelope(nil, &mail.Envelope{})
	data[0]++
	if _, err := DecodeEnvelope(data); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(AppendEnvelope(nil, &mail.Envelope{
		From: mail.ParseAddress("a@b.example"), Client: netip.MustParseAddr("192.0.2.1"), Accepted: time.Unix(1e9, 5),
		Recipients: []mail.Recipient{{To: mail.ParseAddress("c@d.example"), Refused: reason.DiskFull}},
	}))
	f.Add(AppendState(nil, &RecipientState{N: 3, Err: reason.LocalError.With("x").Because(errors.New("y")), Next: time.Unix(1, 1)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := DecodeEnvelope(data); err == nil {
			again, err := DecodeEnvelope(AppendEnvelope(nil, e))
			if err != nil || !reflect.DeepEqual(again, e) {
				t.Fatalf("%v\n got %+v\nwant %+v", err, again, e)
			}
		} else if !errors.Is(err, ErrFormat) {
			t.Fatal(err)
		}
		if s, err := DecodeState(data); err == nil {
			again, err := DecodeState(AppendState(nil, &s))
			if err != nil || !reflect.DeepEqual(again, s) {
				t.Fatalf("%v\n got %+v\nwant %+v", err, again, s)
			}
		}
	})
}
