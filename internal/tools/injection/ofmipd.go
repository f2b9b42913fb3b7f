package injection

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/mess822"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/tools/admin"
	"github.com/postilion/postilion/internal/tools/tool"
)

// ofmipHost is what ofmipd calls itself (qmail reference 17.3).
const ofmipHost = "ofmipd.local"

// Bounds of ofmipd, which serves whoever its starter lets in.
const (
	ofmipLine       = 4096    // bytes of a command
	ofmipRecipients = 100_000 // of a message
)

// ofmip is one dialogue of ofmipd: outgoing mail on descriptors 0 and 1, relayed wherever it goes.
type ofmip struct {
	e     *tool.Env
	ctx   context.Context
	in    *bufio.Reader
	out   *bufio.Writer
	names *cdb.Reader // of name.cdb; nil without
	count int         // messages of the connection

	begun  bool
	sender string
	author *author // what name.cdb says of the sender; nil for nothing
	to     []inject.Recipient
}

// author is a sender's entry of name.cdb.
type author struct{ name, address string }

// ofmipd is mess822's ofmipd.
func ofmipd(ctx context.Context, e *tool.Env) int {
	o := &ofmip{e: e, ctx: ctx, out: bufio.NewWriter(e.Out())}
	o.in = bufio.NewReaderSize(flushFirst{e.In(), o.out}, ofmipLine)
	if len(e.Args) > 1 {
		f, err := os.Open(e.Path(e.Args[1]))
		if err == nil {
			defer f.Close()
			var st os.FileInfo
			if st, err = f.Stat(); err == nil {
				o.names, err = cdb.New(f, st.Size())
			}
		}
		if err != nil {
			o.say("451 unable to read configuration (#4.3.0)")
			o.out.Flush()
			return e.Fatal(tool.Temporary, "unable to read ", e.Args[1], ": ", err)
		}
	}
	o.say("220 " + ofmipHost + " ESMTP")
	defer o.out.Flush()
	for {
		line, err := o.line()
		if err != nil {
			return 1
		}
		if done, code := o.command(line); done {
			return code
		}
	}
}

// flushFirst sends the answers before it waits for more.
type flushFirst struct {
	io.Reader
	out *bufio.Writer
}

// Read implements io.Reader.
func (f flushFirst) Read(p []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(p)
}

func (o *ofmip) say(line string) { o.out.WriteString(line + "\r\n") }

// line reads a command: LF or CRLF ends it. What is too long is cut.
func (o *ofmip) line() (string, error) {
	p, err := o.in.ReadSlice('\n')
	line := strings.TrimRight(string(p), "\r\n")
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = o.in.ReadSlice('\n')
	}
	return line, err
}

// command carries out one command.
func (o *ofmip) command(line string) (done bool, code int) {
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToLower(verb) {
	case "helo":
		o.reset()
		o.say("250 " + ofmipHost)
	case "ehlo":
		o.reset()
		o.say("250-" + ofmipHost + "\r\n250-PIPELINING\r\n250 8BITMIME")
	case "mail":
		o.mail(arg)
	case "rcpt":
		o.rcpt(arg)
	case "data":
		return o.data()
	case "rset":
		o.reset()
		o.say("250 flushed")
	case "noop":
		o.say("250 ok")
	case "vrfy":
		o.say("252 send some mail, i'll try my best")
	case "help":
		o.say("214 ofmipd: MAIL, RCPT, DATA, RSET, NOOP, QUIT")
	case "quit":
		o.say("221 " + ofmipHost)
		return true, tool.OK
	default:
		o.say("502 unimplemented (#5.5.1)")
	}
	return false, 0
}

func (o *ofmip) reset() { o.begun, o.sender, o.author, o.to = false, "", nil, nil }

// path reads the address of MAIL or RCPT as generously as qmail-smtpd (qmail reference 4.2): with or without
// angle brackets, without a host or with one that is to be completed. A source route goes.
func path(arg string) (string, bool) {
	_, s, ok := strings.Cut(arg, ":")
	if !ok {
		return "", false
	}
	end := " "
	if i := strings.IndexByte(s, '<'); i >= 0 {
		s, end = s[i+1:], ">"
	} else {
		s = strings.TrimLeft(s, " ")
	}
	if strings.HasPrefix(s, "@") {
		if _, s, ok = strings.Cut(s, ":"); !ok {
			return "", false
		}
	}
	var b strings.Builder
	quoted, closed := false, end == " "
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c < ' ' || c == 0x7f:
			return "", false
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
			continue
		case c == '"':
			quoted = !quoted
			continue
		case !quoted && c == end[0]:
			closed, i = true, len(s)
			continue
		}
		b.WriteByte(c)
	}
	return b.String(), closed && !quoted && b.Len() < ofmipAddress
}

// ofmipAddress bounds an address, in bytes.
const ofmipAddress = 900

func (o *ofmip) mail(arg string) {
	sender, ok := path(arg)
	if !ok {
		o.say("555 syntax error (#5.5.4)")
		return
	}
	o.reset()
	if sender != "" {
		m, err := modern(o.ctx, o.e)
		if err != nil {
			o.say("451 unable to read configuration (#4.3.0)")
			return
		}
		completed := m.Rules.Address(sender)
		if o.author, err = o.named(completed, sender); err != nil {
			o.say("451 unable to read cdb (#4.3.0)")
			return
		}
		if sender = completed; o.author != nil {
			sender = o.author.address
		}
	}
	o.begun, o.sender = true, sender
	o.say("250 ok")
}

// named looks a sender up in the table, by each of the forms in turn.
func (o *ofmip) named(keys ...string) (*author, error) {
	if o.names == nil {
		return nil, nil
	}
	for _, key := range keys {
		value, found, err := o.names.Get([]byte(key))
		if err != nil {
			return nil, err
		}
		if found {
			name, rest, _ := bytes.Cut(value, []byte{0})
			address, _, _ := bytes.Cut(rest, []byte{0})
			return &author{string(name), string(address)}, nil
		}
	}
	return nil, nil
}

func (o *ofmip) rcpt(arg string) {
	to, ok := path(arg)
	switch {
	case !o.begun:
		o.say("503 MAIL first (#5.5.1)")
	case !ok || to == "":
		o.say("555 syntax error (#5.5.4)")
	case len(o.to) >= ofmipRecipients:
		o.say("452 too many recipients (#4.5.3)")
	default:
		o.to = append(o.to, inject.Recipient{To: to})
		o.say("250 ok")
	}
}

// data takes a message.
func (o *ofmip) data() (done bool, code int) {
	switch {
	case !o.begun:
		o.say("503 MAIL first (#5.5.1)")
		return false, 0
	case len(o.to) == 0:
		o.say("503 RCPT first (#5.5.1)")
		return false, 0
	}
	defer o.reset()
	m, err := modern(o.ctx, o.e)
	if err != nil {
		o.say("451 unable to read configuration (#4.3.0)")
		return false, 0
	}
	o.say("354 go ahead")
	o.count++
	m.ID = itoa(o.count) + "." + itoa(os.Getpid())
	env := &inject.Envelope{Program: "ofmipd", From: o.sender}
	if i := strings.LastIndexByte(o.sender, '@'); i >= 0 { // a message without a From field is its sender's
		m.Name, m.User, m.Host = "", o.sender[:i], o.sender[i+1:]
	}
	if o.author != nil {
		m.DropFrom, m.Name = true, o.author.name
	}
	for _, r := range o.to {
		env.To = append(env.To, inject.Recipient{To: m.Rules.Address(r.To)})
	}
	body := &dotted{r: o.in}
	br := bufio.NewReaderSize(body, 32<<10)
	fields, end, err := mess822.ReadHeader(br)
	if err != nil {
		return true, 1 // the client is gone
	}
	if end == "\n" {
		end = ""
	}
	content := io.MultiReader(strings.NewReader(o.received()+m.Complete(fields).Text+"\n"+end), br)
	out := handOff(o.ctx, o.e, env, content, nil)
	if body.err != nil {
		return true, 1
	}
	io.Copy(io.Discard, br) // what the queue did not want to read
	switch {
	case out.ok():
		o.say("250 ok")
	case out.Text[0] == 'D':
		o.say("554 " + smtp.Text(out.Text[1:], 400))
	default:
		o.say("451 " + smtp.Text(out.Text[1:], 400))
	}
	return body.err != nil, 1
}

// received is the field that ofmipd adds.
func (o *ofmip) received() string {
	ip := o.e.Getenv("TCPREMOTEIP")
	if ip == "" {
		ip = "unknown"
	}
	b := []byte("Received: (ofmipd ")
	if info := o.e.Getenv("TCPREMOTEINFO"); info != "" {
		b = append(qmail.AppendReceivedSafe(b, info), '@')
	}
	b = append(qmail.AppendReceivedSafe(b, ip), "); "...)
	return string(append(qmail.AppendDate(b, o.e.Time()), '\n'))
}

// dotted reads the content of DATA up to its dot, with LF line ends; LF and CRLF end lines.
type dotted struct {
	r    *bufio.Reader
	rest []byte
	mid  bool // within a line longer than the buffer
	done bool
	err  error // the client went before the dot
}

// Read implements io.Reader.
func (d *dotted) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		if d.done {
			return 0, io.EOF
		}
		if d.err != nil {
			return 0, d.err
		}
		line, err := d.r.ReadSlice('\n')
		whole := err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			d.err = io.ErrUnexpectedEOF
			return 0, d.err
		}
		if whole {
			line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		}
		if !d.mid && len(line) > 0 && line[0] == '.' {
			if line = line[1:]; len(line) == 0 && whole {
				d.done = true
				continue
			}
		}
		d.mid = !whole
		d.rest = append(d.rest[:0], line...)
		if whole {
			d.rest = append(d.rest, '\n')
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// ofmipname is mess822's ofmipname: lines key:Full Name:new@address: become the table of ofmipd.
func ofmipname(ctx context.Context, e *tool.Env) int {
	if len(e.Args) != 3 {
		return e.UsageError("cdb tmp")
	}
	in := bufio.NewScanner(e.In())
	in.Buffer(nil, maxHeader)
	n := 0
	var failed error
	err := admin.Replace(e.Path(e.Args[2]), e.Path(e.Args[1]), func(f io.WriteSeeker) error {
		w := cdb.NewWriter(f)
		for in.Scan() {
			n++
			line := in.Text()
			if line == "" || line[0] == '#' {
				continue
			}
			parts := strings.Split(line, ":")
			if len(parts) < 4 || parts[0] == "" || parts[2] == "" || strings.ContainsRune(line, 0) {
				failed = fmt.Errorf("line %d: want a key, a full name and a new address, with a colon behind each", n)
				return failed
			}
			if err := w.Put([]byte(parts[0]), []byte(parts[1]+"\x00"+parts[2])); err != nil {
				return err
			}
		}
		return errors.Join(in.Err(), w.Close())
	})
	switch {
	case failed != nil:
		return e.Fatal(tool.Permanent, failed)
	case err != nil:
		return e.Fatal(tool.Temporary, "unable to write ", e.Args[1], ": ", err)
	}
	return tool.OK
}
