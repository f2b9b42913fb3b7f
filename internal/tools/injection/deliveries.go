package injection

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/qmail/mess"
	"github.com/postilion/postilion/internal/qmail/mess822"
	"github.com/postilion/postilion/internal/tools/tool"
)

// This file holds what .qmail files run with the message on descriptor 0: forward, condredirect,
// bouncesaying, except, qreceipt (qmail reference 13). Several may read the message one after the
// other, so each goes back to its start.

// rewind goes back to the message's start, where the input is a file.
func rewind(e *tool.Env) error {
	if f, ok := e.In().(*os.File); ok {
		if _, err := f.Seek(0, io.SeekStart); err != nil && !errors.Is(err, os.ErrInvalid) && !isPipe(f) {
			return err
		}
	}
	return nil
}

func isPipe(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && !st.Mode().IsRegular()
}

// sendOn queues the message at hand below one more Delivered-To line.
func sendOn(ctx context.Context, e *tool.Env, sender string, to []string) (outcome, int) {
	line, ok := e.Lookup("DTLINE")
	if !ok {
		return outcome{}, e.Fatal(tool.Permanent, "DTLINE not set")
	}
	if err := rewind(e); err != nil {
		return outcome{}, e.Fatal(tool.Temporary, "unable to rewind message: ", err)
	}
	env := &inject.Envelope{From: sender, Program: e.Name()}
	for _, a := range to {
		env.To = append(env.To, inject.Recipient{To: a})
	}
	o := handOff(ctx, e, env, io.MultiReader(strings.NewReader(line), e.In()), nil)
	if !o.ok() {
		return o, o.fatal(e)
	}
	return o, tool.OK
}

// forward is forward(1).
func forward(ctx context.Context, e *tool.Env) int {
	sender, ok := e.Lookup("NEWSENDER")
	if !ok {
		return e.Fatal(tool.Permanent, "NEWSENDER not set")
	}
	o, code := sendOn(ctx, e, sender, e.Args[1:])
	if code == tool.OK {
		io.WriteString(e.Errs(), "forward: qp "+itoa(o.QP)+"\n")
	}
	return code
}

// judge runs a program on the message. done is false when it did not answer 0: the code is final then.
func judge(ctx context.Context, e *tool.Env, argv []string) (code int, failed bool) {
	c, err := e.Command(ctx, argv)
	if err != nil {
		return cannotRun(e, argv[0], err)
	}
	if err := rewind(e); err != nil {
		return e.Fatal(tool.Temporary, "unable to rewind message: ", err), true
	}
	c.Stdin = e.In()
	err = c.Run()
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return cannotRun(e, argv[0], err)
	}
	code, crashed := tool.ExitCode(err)
	if crashed {
		return e.Fatal(tool.Temporary, "child crashed"), true
	}
	if code == tool.Temporary {
		return e.Fatal(tool.Temporary, "temporary child error"), true
	}
	return code, false
}

// cannotRun tells of a program that does not start. As with the originals, one that is missing or
// may not be run answers 100, which is no 0: mail that has passed such a line goes on passing it.
func cannotRun(e *tool.Env, program string, err error) (code int, failed bool) {
	if tool.TemporaryError(err) {
		return e.Fatal(tool.Temporary, "unable to run ", program, ": ", err), true
	}
	e.Warn("unable to run ", program, ": ", err)
	return tool.Permanent, false
}

// condredirect is condredirect(1).
func condredirect(ctx context.Context, e *tool.Env) int {
	if len(e.Args) < 3 {
		return e.UsageError("newaddress program [ arg ... ]")
	}
	switch code, failed := judge(ctx, e, e.Args[2:]); {
	case failed:
		return code
	case code != 0:
		return tool.OK
	}
	sender, ok := e.Lookup("SENDER") // only what is sent on needs it
	if !ok {
		return e.Fatal(tool.Permanent, "SENDER not set")
	}
	o, code := sendOn(ctx, e, sender, e.Args[1:2])
	if code != tool.OK {
		return code
	}
	io.WriteString(e.Errs(), "condredirect: qp "+itoa(o.QP)+"\n")
	return tool.Stop
}

// bouncesaying is bouncesaying(1).
func bouncesaying(ctx context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("error [ program [ arg ... ] ]")
	}
	if len(e.Args) > 2 {
		switch code, failed := judge(ctx, e, e.Args[2:]); {
		case failed:
			return code
		case code != 0:
			return tool.OK
		}
	}
	io.WriteString(e.Errs(), e.Args[1]+"\n")
	return tool.Permanent
}

// except is except(1).
func except(ctx context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("program [ arg ... ]")
	}
	switch code, failed := judge(ctx, e, e.Args[1:]); {
	case failed:
		return code
	case code == 0:
		return tool.Permanent
	}
	return tool.OK
}

// qreceipt is qreceipt(1): it tells the sender that the message was delivered to an address where a
// Notice-Requested-Upon-Delivery-To field asks for that. The sender is $SENDER, which .qmail files have;
// where it is not set, as outside of a delivery, it is the Return-Path field that preline writes.
func qreceipt(ctx context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("deliveryaddress")
	}
	if err := rewind(e); err != nil {
		return e.Fatal(tool.Temporary, "unable to rewind message: ", err)
	}
	fields, _, err := mess822.ReadHeader(bufio.NewReader(e.In()))
	if err != nil {
		return e.Fatal(tool.Temporary, "read error: ", err)
	}
	asked, messageID := false, ""
	to, inDelivery := e.Lookup("SENDER")
	for _, f := range fields {
		switch f.Name {
		case "notice-requested-upon-delivery-to":
			for _, a := range mess822.Addresses(f.Value) {
				asked = asked || a.IsAddress && strings.EqualFold(strings.TrimSuffix(a.Addr, "@"), e.Args[1])
			}
		case "return-path":
			for _, a := range mess822.Addresses(f.Value) {
				if a.IsAddress && to == "" && !inDelivery {
					to = strings.TrimSuffix(a.Addr, "@")
				}
			}
		case "message-id":
			messageID = f.Raw
		}
	}
	if !asked || to == "" || to == "#@[]" || strings.ContainsAny(to, "\r\n") {
		return tool.OK
	}
	text := "From: DELIVERY NOTICE SYSTEM <" + mess.QuoteAddress(to) + ">\nTo: <" + mess.QuoteAddress(to) + ">\nSubject: success notice\n\n" +
		"Hi! This is the qreceipt program. Your message was delivered to the\nfollowing address: " + tool.Printable(e.Args[1]) + ". Thanks for asking.\n"
	if messageID != "" {
		text += "Your " + messageID
	}
	o := handOff(ctx, e, &inject.Envelope{To: []inject.Recipient{{To: to}}, Program: "qreceipt"}, strings.NewReader(text), nil)
	if !o.ok() {
		return o.fatal(e)
	}
	return tool.OK
}
