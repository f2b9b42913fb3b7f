package serial

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/mess"
)

// returnToSender queues a bounce of a message in QSBMF (qmail reference 7.5), with maildirbounce's
// greeting. A bounce that bounces goes to the double-bounce recipient; beyond that it is
// errTriple. It returns what the bounce goes by.
func (r *run) returnToSender(ctx context.Context, message io.Reader, why string, old bool) (string, error) {
	in := bufio.NewReaderSize(message, 64<<10)
	h, err := readHead(in)
	if err != nil {
		return "", err
	}
	if h.sender == "#@[]" {
		return "", errTriple
	}
	names := map[string]string{}
	for _, name := range []string{"bouncefrom", "bouncehost", "doublebounceto", "doublebouncehost"} {
		if names[name], err = r.controls(ctx, r.e, name); err != nil {
			return "", err
		}
	}
	from, to := "", unquoted(h.sender)
	if h.sender == "" {
		from, to = "#@[]", names["doublebounceto"]+"@"+names["doublebouncehost"]
	}
	var b strings.Builder
	b.WriteString("Date: " + string(qmail.AppendDate(nil, r.e.Time())) + "\n")
	b.WriteString("From: " + mess.QuoteAddress(names["bouncefrom"]+"@"+names["bouncehost"]) + "\n")
	b.WriteString("To: " + mess.QuoteAddress(to) + "\n")
	b.WriteString("Subject: failure notice\n\nHi. This is the maildirbounce program at " + names["bouncehost"] + ".\n")
	copied := "--- Below this line is a copy of the message.\n\n"
	if h.sender != "" {
		b.WriteString("I'm afraid I wasn't able to deliver your message to the following address.\n" +
			"This is a permanent error; I've given up. Sorry it didn't work out.\n\n")
	} else {
		b.WriteString("I tried to deliver a bounce message to this address, but the bounce bounced!\n\n")
		copied = "--- Below this line is the original bounce.\n\n"
	}
	b.WriteString("<" + strings.TrimPrefix(h.recipient, r.prefix) + ">:\n" + why + "\n")
	if old {
		b.WriteString("This message is too old. Giving up.\n")
	}
	b.WriteString("\n" + copied + "Return-Path: <" + h.sender + ">\n")
	qp, fail := r.queue(ctx, r.e, from, []string{to}, io.MultiReader(strings.NewReader(b.String()), in))
	if fail != "" {
		return "", errors.New("qq failed: " + fail[1:])
	}
	return qp, nil
}

// unquoted is an address as envelopes have it, of one that a Return-Path field quotes. The original takes the
// quotes along, into an address that nobody has.
func unquoted(path string) string {
	tokens, err := mess.Tokenize(path)
	if err != nil {
		return path
	}
	return mess.Unquote(tokens)
}
