package list

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	crashfs "github.com/postilion/postilion/internal/fs/crash"
)

// fuzzList is a list in memory with everything turned on, kept by its files' names and contents.
func fuzzList(t testing.TB) *Folder {
	t.Helper()
	fsys := crashfs.New(1)
	if err := prepareCrashList(fsys); err != nil {
		t.Fatal(err)
	}
	f, err := crashList(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"mod", "mod/pending", "digest", "digest/subscribers", "allow", "deny"} {
		if err := f.mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"public": "", "remote": "", "modsub": "", "modcanlist": "", "modcanedit": "", "digestcode": "c\n", "addtrailer": "", "prefix": "[x #]\n", "mimeremove": "text/html\n"} {
		if err := f.replaceWith(name, name+"n", 0o644, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "mod"} {
		table, err := f.Table(name)
		if err == nil {
			_, err = table.Add(context.Background(), "joe@mx.test", "+", "")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// checkQueued is a queue that refuses what would break an envelope or a header.
func checkQueued(t *testing.T) Queue {
	return func(_ context.Context, from string, to []string, content io.Reader) (string, error) {
		text, err := io.ReadAll(content)
		if err != nil {
			return "", &Error{Text: err.Error()}
		}
		for _, address := range append(to, from) {
			if strings.ContainsAny(address, "\n\x00") {
				t.Errorf("an envelope with %q", address)
			}
		}
		head, _, ok := bytes.Cut(text, []byte("\n\n"))
		if !ok {
			t.Errorf("a message without a body: %q", text)
		}
		for line := range bytes.Lines(head) {
			if name, _, ok := bytes.Cut(line, []byte(":")); line[0] != ' ' && line[0] != '\t' && (!ok || len(name) == 0) {
				t.Errorf("a header with the line %q", line)
			}
		}
		return "id", nil
	}
}

// No address and no message makes a command crash, write outside of the list, or break a header.
func FuzzCommands(f *testing.F) {
	for _, action := range []string{"", "subscribe", "subscribe-joe=mx.test", "unsubscribe", "sc.1795290850.aaaaaaaaaaaaaaaaaaaa-joe=mx.test", "digest-subscribe", "allow-subscribe-@x",
		"deny-list", "log.joe", "get.1", "index.1_99", "thread.99", "getx.1", "query-..%2f..=x", "subscribe-a\nb=c", "request", "list", "edit.info", "ed.1795290850.info.aaaaaaaaaaaaaaaaaaaa", "dig.c", "subscribe-\"a b\"=x.test"} {
		f.Add("joe@mx.test", action, "From: joe@mx.test\nReceived: x; now\nSubject: subscribe\n\nbody\n")
	}
	f.Add("", "help", "")
	f.Add("a\nb@x", "help", "Delivered-To:\n x\n\n")
	f.Fuzz(func(t *testing.T, sender, action, message string) {
		if strings.Contains(sender+action, "\x00") {
			return // no variable of the environment holds it
		}
		list := fuzzList(t)
		queue := checkQueued(t)
		r := Request{List: list, Sender: RealSender(sender), Action: action, Content: strings.NewReader(message), Queue: queue}
		r.ManageOptions, _ = list.ManageDefaults()
		a := Archive{List: list, Sender: sender, Action: action, Content: strings.NewReader(message), Queue: queue}
		b := Bounces{List: list, Sender: sender}
		_, _, err := r.Manage(t.Context())
		_, _, err2 := a.Answer(t.Context())
		_, _, _ = list.CheckDigestCode(action)
		_, _, err3 := CommandOfRequest(list, sender, "request", strings.NewReader(message))
		_, err4 := Weed(strings.NewReader(message))
		for _, err := range []error{err, err2, err3, err4, b.Return(t.Context(), action, strings.NewReader(message))} {
			if e := (*Error)(nil); err != nil && err != ErrTrash && (!errors.As(err, &e) || !e.Permanent) {
				t.Errorf("%q, %q, %q: %v", sender, action, message, err)
			}
		}
		entries, err := list.fs.ReadDir("..")
		if err == nil {
			t.Errorf("left the folder: %v", entries)
		}
	})
}

// No post makes its list crash, break a header or write an index that it cannot read.
func FuzzPosts(f *testing.F) {
	for _, message := range []string{
		"", "\n", "body", "Subject: x\n\nbody", "Subject: =?utf-8?q?Re:_=E9?= =?x?b?4pyT?=\nFrom: \"A \\\" b\" (c (d)) <a@b>\n\nx\n", "Subject:\n [x 1] Re: Re[2]: x-Reply\n\n",
		"Content-Type: multipart/mixed; boundary=\"b\"\n\npre\n--b\n\nx\n--b\nContent-Type: text/html\n\ny\n--b--\n", "Content-Type: multipart/mixed; boundary=b\n\n--b",
		"Received: a;b;21 Nov\n\t2026\n\nx", "From x\nFrom: x\n\n", "Mailing-List: x\n\n",
	} {
		f.Add("joe@mx.test", message)
	}
	f.Fuzz(func(t *testing.T, sender, message string) {
		list := fuzzList(t)
		_, err := list.Send(t.Context(), Post{Content: strings.NewReader(message), Sender: sender, Queue: checkQueued(t)})
		if e := (*Error)(nil); err != nil && (!errors.As(err, &e) || !e.Permanent) {
			t.Errorf("%q: %v", message, err)
		}
		if _, err := list.Index(99); err != nil {
			t.Errorf("%q: %v", message, err)
		}
		_, err = Judge(list, Judgement{Content: strings.NewReader(message), Sender: "joe@mx.test", BodyCommands: true, Commands: true})
		if e := (*Error)(nil); err != nil && (!errors.As(err, &e) || !e.Permanent) {
			t.Errorf("%q: %v", message, err)
		}
		p := Pending{List: list, Content: strings.NewReader(message), Sender: "joe@mx.test", Queue: checkQueued(t)}
		if _, err = p.Store(t.Context()); err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) || !e.Permanent {
				t.Errorf("%q: %v", message, err)
			}
		}
	})
}

// Whatever stands in a list's files is read or told.
func FuzzFiles(f *testing.F) {
	f.Add("subscribers/r", []byte("Tjoe@mx.test\x00"))
	f.Add("num", []byte("12:34\n"))
	f.Add("archive/0/index", []byte("1: aaaaaaaaaaaaaaaaaaaa x\n\td;aaaaaaaaaaaaaaaaaaaa y\n"))
	f.Add("text/top", []byte("<#A#>\n<=ab=>\n!R\n# x\n<#\n"))
	f.Add("headeradd", []byte("X: <#l#>\n"))
	f.Add("headeradd", []byte(":0"))
	f.Add("flags", []byte("aBc"))
	f.Add("split", []byte("edu.x:1:2:l@h\n::\n"))
	f.Add("bounce/d/1/d1.1", []byte("joe@mx.test\x00Return-Path: <>\n\nx"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		list := fuzzList(t)
		for _, dir := range []string{"archive/0", "text", "bounce/d", "bounce/d/1"} {
			if err := list.fs.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if list.replaceWith(name, "fuzzed", 0o744, content) != nil {
			return // no name of a file
		}
		again, err := crashList(list.fs)
		if err != nil {
			return
		}
		subs, err := again.Table("")
		if err != nil {
			return
		}
		// Errors are fine; what counts is that each of these comes back.
		_, _ = subs.All()
		_ = subs.SearchLog("joe", func(string) {})
		_, _ = again.Index(1)
		_, _ = Sublist(again, "split", "a@b.test")
		_, _ = again.Text("top", &Tags{})
		_, _ = again.Send(t.Context(), Post{Content: strings.NewReader("Subject: x\n\nx"), Sender: "a@b", Queue: checkQueued(t)})
		w := Warn{Bounces: Bounces{List: again}, Queue: checkQueued(t)}
		_ = w.Run(t.Context())
	})
}
