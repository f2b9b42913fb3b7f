package serial

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail/mess"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/tools/tool"
)

func serialsmtp(_ context.Context, e *tool.Env) int {
	if len(e.Args) < 3 {
		return e.UsageError("prefix helohost")
	}
	l, code := descriptors(e, smtpReadTime, smtpWriteTime)
	if code != tool.OK {
		return code
	}
	return sendSMTP(e, l, e.Args[1], e.Args[2], e.In(), e.Out())
}

// smtpClient is one connection.
type smtpClient struct {
	e      *tool.Env
	l      *link
	prefix string
	report reporter

	pipelining, needReset bool
	last                  string // the reply's last line
}

// errProtocol is an answer that is none of SMTP.
var errProtocol = errors.New("protocol violation")

// maxReplyLines bounds a reply.
const maxReplyLines = 1000

// sendSMTP sends the messages named on in and reports on out.
func sendSMTP(e *tool.Env, l *link, prefix, helo string, in io.Reader, out io.Writer) int {
	c := &smtpClient{e: e, l: l, prefix: prefix, report: reporter{out, l.ip}}
	err := c.run(helo, in)
	var fatal *fatalError
	switch {
	case err == nil:
		return tool.OK
	case errors.As(err, &fatal):
		return e.Fatal(tool.Temporary, fatal.Error())
	case errors.Is(err, errProtocol):
		return e.Fatal(tool.Temporary, errProtocol.Error())
	}
	return netError(e, "read", err)
}

// fatalError ends the client with its text.
type fatalError struct{ error }

func fatalf(format string, args ...any) error { return &fatalError{fmt.Errorf(format, args...)} }

func (c *smtpClient) run(helo string, in io.Reader) error {
	if code, err := c.reply(false); err != nil {
		return err
	} else if code != 220 {
		c.quit()
		return fatalf("connected but greeting failed")
	}
	code, err := c.ask("EHLO "+helo, true)
	if err == nil && code != 250 {
		code, err = c.ask("HELO "+helo, false)
	}
	if err != nil {
		return err
	}
	if code != 250 {
		c.quit()
		return fatalf("connected but my name was rejected")
	}
	names := bufio.NewReader(in)
	for {
		name, err := names.ReadString(0)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fatalf("unable to read input: %s", tool.ErrText(err))
		}
		if err := c.message(strings.TrimSuffix(name, "\x00")); err != nil {
			return err
		}
	}
	c.quit()
	return nil
}

// quit says good-bye; all that matters is done.
func (c *smtpClient) quit() {
	c.l.out.WriteString("QUIT\r\n")
	_ = c.l.out.Flush()
}

// say writes a command without waiting.
func (c *smtpClient) say(command string) { c.l.out.WriteString(command + "\r\n") }

// ask says a command and waits for its reply.
func (c *smtpClient) ask(command string, ehlo bool) (int, error) {
	c.say(command)
	return c.reply(ehlo)
}

// reply sends what is buffered and reads a reply.
func (c *smtpClient) reply(ehlo bool) (int, error) {
	if err := c.l.out.Flush(); err != nil {
		return 0, fatalf("network write error: %s", tool.ErrText(err))
	}
	for n := range maxReplyLines {
		b, err := c.l.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return 0, errProtocol
		}
		if err != nil {
			return 0, err
		}
		line := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		code, rest := tool.ScanUint(line[:min(3, len(line))])
		if len(line) < 3 || rest != "" {
			return 0, errProtocol
		}
		c.last = line
		if ehlo && n > 0 && code == 250 && strings.EqualFold(line[min(4, len(line)):], "PIPELINING") {
			c.pipelining = true
		}
		if len(line) == 3 || line[3] != '-' {
			return int(code), nil
		}
	}
	return 0, errProtocol
}

// message sends one message. One that is not meant for this prefix, or is none, is passed over.
func (c *smtpClient) message(name string) error {
	f, r, h, err := open(c.e, name)
	if errors.Is(err, errFormat) {
		return nil
	}
	if err != nil {
		return fatalf("unable to open %s: %s", name, tool.ErrText(err))
	}
	defer f.Close()
	rcpt, ok := strings.CutPrefix(h.recipient, c.prefix)
	if !ok {
		return nil
	}
	rcpt = mess.QuoteAddress(rcpt)
	envelope := []string{"MAIL FROM:<" + mess.QuoteAddress(h.sender) + ">", "RCPT TO:<" + rcpt + ">", "DATA"}
	for _, line := range envelope {
		if strings.ContainsAny(line, "\r\n") {
			return nil // it would be two commands
		}
	}
	accepted, err := c.envelope(envelope)
	if err != nil {
		return err
	}
	code := accepted
	if code < 400 {
		if err := c.content(r); err != nil {
			return err
		}
		if code, err = c.reply(false); err != nil {
			return err
		}
	}
	c.needReset = true
	return c.tell(name, rcpt, code)
}

// envelope says MAIL, RCPT and DATA and returns the first refusal, else DATA's code. The text of
// the reply that decided is c.last.
func (c *smtpClient) envelope(lines []string) (int, error) {
	if c.needReset {
		lines = append([]string{"RSET"}, lines...)
	}
	if !c.pipelining {
		code := 0
		for _, l := range lines {
			var err error
			if code, err = c.ask(l, false); err != nil {
				return 0, err
			}
			if code >= 400 {
				if l == "RSET" {
					return 0, errProtocol
				}
				break
			}
		}
		return code, nil
	}
	for _, l := range lines {
		c.say(l)
	}
	refused, why, code := 0, "", 0
	for _, l := range lines {
		var err error
		if code, err = c.reply(false); err != nil {
			return 0, err
		}
		switch {
		case code >= 400 && l == "RSET", code < 400 && refused != 0:
			return 0, errProtocol // what follows a refusal must be refused
		case code >= 400 && refused == 0:
			refused, why = code, c.last
		}
	}
	if refused != 0 {
		c.last = why
		return refused, nil
	}
	return code, nil
}

// content sends the message. No CR goes out alone: a host that takes one for a line's end would find commands behind it.
func (c *smtpClient) content(r *bufio.Reader) error {
	in := &mail.Source{Reader: r}
	w := smtp.NewDotEncoder(c.l.out)
	if _, err := io.Copy(w, in); in.Err != nil {
		return fatalf("unable to read file: %s", tool.ErrText(in.Err)) // w is not closed: that would end the message
	} else if err != nil {
		return fatalf("network write error: %s", tool.ErrText(err))
	}
	if err := w.Close(); err != nil {
		return fatalf("network write error: %s", tool.ErrText(err))
	}
	return nil
}

// tell reports what became of a message, with the host's words.
func (c *smtpClient) tell(name, rcpt string, code int) error {
	status := byte('K')
	switch {
	case code >= 500:
		status = 'D'
	case code >= 400:
		status = 'Z'
	}
	text := c.last
	if c.l.ip != "" {
		text = c.l.ip + " to: " + rcpt + " said: " + text
	}
	if err := c.report.write(name, status, text); err != nil {
		return fatalf("unable to write output: %s", tool.ErrText(err))
	}
	return nil
}
