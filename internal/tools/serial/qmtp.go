package serial

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/tools/tool"
)

func serialqmtp(_ context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("prefix")
	}
	l, code := descriptors(e, qmtpTime, qmtpTime)
	if code != tool.OK {
		return code
	}
	return sendQMTP(e, l, e.Args[1], e.In(), e.Out())
}

// sendQMTP sends the messages named on in and reports on out (QMTP; qmail reference 15.1). It
// writes all of them without waiting, while it reads the answers.
func sendQMTP(e *tool.Env, l *link, prefix string, in io.Reader, out io.Writer) int {
	sent := make(chan string, 64) // names of messages whose answers are owed
	failed := make(chan error, 1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(sent)
		failed <- writeQMTP(e, l.out, prefix, in, sent, stop)
	})
	err := readQMTP(l, out, sent)
	close(stop)
	if err != nil {
		// The writer ends with the connection, which the caller closes.
		return qmtpError(e, err)
	}
	wg.Wait()
	if err := <-failed; err != nil {
		return qmtpError(e, err)
	}
	return tool.OK
}

func qmtpError(e *tool.Env, err error) int {
	var fatal *fatalError
	switch {
	case errors.As(err, &fatal):
		return e.Fatal(tool.Temporary, fatal.Error())
	case errors.Is(err, qmail.ErrNetstring), errors.Is(err, qmail.ErrNetstringLong), errors.Is(err, errProtocol):
		return e.Fatal(tool.Temporary, "remote protocol violation")
	}
	return netError(e, "read", err)
}

// writeQMTP writes each message as three netstrings and tells its name to sent before.
func writeQMTP(e *tool.Env, w *bufio.Writer, prefix string, in io.Reader, sent chan<- string, stop <-chan struct{}) error {
	names := bufio.NewReader(in)
	for {
		name, err := names.ReadString(0)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fatalf("unable to read input")
		}
		name = strings.TrimSuffix(name, "\x00")
		f, r, h, err := open(e, name)
		if errors.Is(err, errFormat) {
			continue
		}
		if err != nil {
			return fatalf("unable to open file")
		}
		rcpt, ok := strings.CutPrefix(h.recipient, prefix)
		st, err := f.Stat()
		if !ok || err != nil || st.Size() < h.size {
			f.Close()
			continue
		}
		select {
		case sent <- name:
		case <-stop:
			f.Close()
			return nil
		}
		size := st.Size() - h.size
		w.WriteString(strconv.FormatInt(size+1, 10) + ":\n") // LF: lines end so (QMTP)
		_, err = io.CopyN(w, r, size)
		f.Close()
		if err != nil {
			return fatalf("unable to write to network")
		}
		w.WriteByte(',')
		w.Write(qmail.AppendNetstring(nil, h.sender))
		w.Write(qmail.AppendNetstring(nil, qmail.AppendNetstring(nil, rcpt)))
		if err := w.Flush(); err != nil {
			return fatalf("unable to write to network")
		}
	}
}

// maxAnswer bounds an answer in bytes; the family writes some hundred.
const maxAnswer = 64 << 10

// readQMTP reads an answer for each name and reports it.
func readQMTP(l *link, out io.Writer, sent <-chan string) error {
	report := reporter{out, l.ip}
	for name := range sent {
		b, err := qmail.ReadNetstring(l.in, maxAnswer)
		if err != nil {
			return err
		}
		if len(b) == 0 || strings.IndexByte("KZD", b[0]) < 0 {
			return errProtocol
		}
		text := string(b[1:])
		if l.ip != "" {
			text = l.ip + " said: " + text
		}
		if err := report.write(name, b[0], text); err != nil {
			return fatalf("unable to write output: %s", tool.ErrText(err))
		}
	}
	return nil
}
