package injection

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail/qq"
	"github.com/postilion/postilion/internal/tools/tool"
)

// qmailQueue is qmail-queue: the content on descriptor 0, then the envelope on descriptor 1 (qmail
// reference 5.1). It says on descriptor 2 what its exit code only hints at.
func qmailQueue(ctx context.Context, e *tool.Env) int {
	ctx, cancel := context.WithTimeout(ctx, stopAfter)
	defer cancel()
	content, err := spool(e)
	if err != nil {
		code := qq.WriteError
		if errors.Is(err, errRead) {
			code = qq.ReadError
		}
		return e.Fatal(code, "the message could not be kept: ", err)
	}
	defer content.Close()
	list := e.File(1)
	if list == nil {
		return e.Fatal(qq.ReadError, "descriptor 1, where the envelope is read from, is not open")
	}
	env := &inject.Envelope{Program: "qmail-queue"}
	env.From, err = qq.ReadEnvelope(list, func(to string) error {
		env.To = append(env.To, inject.Recipient{To: to})
		return nil
	})
	if err != nil {
		return e.Fatal(qq.Exit(err), err)
	}
	o := serverOnly(ctx, e, env, content)
	if !o.ok() {
		return e.Fatal(o.Exit, o.Detail)
	}
	return qq.OK
}

// serverOnly queues at the server: qmail-queue itself is what QMAILQUEUE replaces.
func serverOnly(ctx context.Context, e *tool.Env, env *inject.Envelope, content io.Reader) outcome {
	plain := *e
	plain.Environ = e.Without("QMAILQUEUE")
	return handOff(ctx, &plain, env, content, nil)
}

// errRead is wrapped when the input failed rather than the place to keep it.
var errRead = errors.New("read error")

// inMemory is how much of a message is kept in memory until its envelope comes; the rest goes
// into a file that has no name.
const inMemory = 1 << 20

// spooled is content that waits for its envelope.
type spooled struct {
	io.Reader
	file *os.File // nil without
}

// Close gives the file back.
func (s *spooled) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// spool reads the standard input to its end.
func spool(e *tool.Env) (*spooled, error) {
	var head bytes.Buffer
	_, err := io.CopyN(&head, e.In(), inMemory)
	if err == io.EOF {
		return &spooled{Reader: &head}, nil
	}
	if err != nil {
		return nil, errors.Join(errRead, err)
	}
	f, err := os.CreateTemp(e.Getenv("TMPDIR"), "postilion-*")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	in := &mail.Source{Reader: e.In()}
	if _, err = io.Copy(f, in); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		if in.Err != nil {
			err = errors.Join(errRead, in.Err)
		}
		return nil, err
	}
	return &spooled{Reader: io.MultiReader(&head, f), file: f}, nil
}
