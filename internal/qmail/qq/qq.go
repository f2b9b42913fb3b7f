// Package qq is the protocol by which a program hands a message to qmail-queue, or to a filter
// in its place (QMAILQUEUE): the envelope of descriptor 1, and what exit codes mean (qmail
// reference 5.1 to 5.4). It does no I/O of its own.
package qq

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// Exit codes of qmail-queue (qmail reference 5.3).
const (
	OK            = 0
	AddressLong   = 11
	Refused       = 31
	Timeout       = 52
	WriteError    = 53
	ReadError     = 54
	Configuration = 55
	Network       = 56
	TryLater      = 71
	NoAnswer      = 72
	NoServer      = 73
	Broken        = 74
	Bug           = 81
	Custom        = 82 // the text is on descriptor 6
	Malformed     = 91
	NoProgram     = 120
)

// MaxAddress bounds an address in bytes, its NUL included.
const MaxAddress = 1003

// MaxCustom bounds the text on descriptor 6 in bytes; MinCustom is its least.
const (
	MinCustom = 3
	MaxCustom = 255
)

var texts = map[int]string{
	11: "Denvelope address too long for qq (#5.1.3)", 115: "Denvelope address too long for qq (#5.1.3)",
	31: "Dmail server permanently rejected message (#5.3.0)",
	51: "Zqq out of memory (#4.3.0)", 52: "Zqq timeout (#4.3.0)", 53: "Zqq write error or disk full (#4.3.0)",
	54: "Zqq read error (#4.3.0)", 55: "Zqq unable to read configuration (#4.3.0)",
	56: "Zqq trouble making network connection (#4.3.0)", 61: "Zqq trouble in home directory (#4.3.0)",
	62: queueFiles, 63: queueFiles, 64: queueFiles, 65: queueFiles, 66: queueFiles,
	71: "Zmail server temporarily rejected message (#4.3.0)", 72: "Zconnection to mail server timed out (#4.4.1)",
	73: "Zconnection to mail server rejected (#4.4.1)", 74: "Zcommunication with mail server failed (#4.4.2)",
	81: "Zqq internal bug (#4.3.0)", 91: "Zqq internal bug (#4.3.0)", 120: "Zunable to exec qq (#4.3.0)",
}

const queueFiles = "Zqq trouble creating files in queue (#4.3.0)"

// Text returns what a client says of an exit code: "" for 0, else D (permanent) or Z (temporary)
// and the text. custom is what was read from descriptor 6. A negative code is a death by signal.
func Text(exit int, custom string) string {
	switch t, known := texts[exit]; {
	case exit == OK:
		return ""
	case exit < 0:
		return "Zqq crashed (#4.3.0)"
	case exit == Custom && validCustom(custom):
		return custom
	case known:
		return t
	case exit >= 11 && exit <= 40:
		return "Dqq permanent problem (#5.3.0)"
	}
	return "Zqq temporary problem (#4.3.0)"
}

func validCustom(s string) bool {
	return len(s) >= MinCustom && len(s) <= MaxCustom && (s[0] == 'D' || s[0] == 'Z')
}

// AppendEnvelope appends an envelope without its ending NUL, which commits it.
func AppendEnvelope(b []byte, from string, to ...string) []byte {
	b = append(append(append(b, 'F'), from...), 0)
	for _, t := range to {
		b = AppendRecipient(b, t)
	}
	return b
}

// AppendRecipient appends one recipient.
func AppendRecipient(b []byte, to string) []byte { return append(append(append(b, 'T'), to...), 0) }

// Envelope errors. Exit maps them.
var (
	ErrMalformed = errors.New("the envelope has something other than F or T where one belongs")
	ErrCutShort  = errors.New("the envelope ends before its last NUL")
	ErrLong      = errors.New("an address of the envelope is too long")
)

// Exit returns the exit code of an error of ReadEnvelope.
func Exit(err error) int {
	switch {
	case errors.Is(err, ErrMalformed):
		return Malformed
	case errors.Is(err, ErrLong):
		return AddressLong
	}
	return ReadError
}

// ReadEnvelope reads an envelope up to its ending NUL. rcpt is called for each recipient, so that
// memory is the caller's to bound. Errors are ErrCutShort for an input that ends early, those of addresses that are
// no such, and rcpt's.
func ReadEnvelope(r io.Reader, rcpt func(to string) error) (from string, err error) {
	in := bufio.NewReaderSize(r, 4096)
	if from, err = address(in, 'F'); err != nil {
		return "", err
	}
	for {
		c, err := in.ReadByte()
		if err != nil {
			return "", cutShort(err)
		}
		if c == 0 {
			return from, nil
		}
		if err := in.UnreadByte(); err != nil {
			return "", err
		}
		to, err := address(in, 'T')
		if err == nil {
			err = rcpt(to)
		}
		if err != nil {
			return "", err
		}
	}
}

func cutShort(err error) error {
	if err == io.EOF {
		return ErrCutShort
	}
	return err
}

// address reads kind and an address up to its NUL.
func address(in *bufio.Reader, kind byte) (string, error) {
	c, err := in.ReadByte()
	if err != nil {
		return "", cutShort(err)
	}
	if c != kind {
		return "", ErrMalformed
	}
	var b strings.Builder
	for {
		c, err := in.ReadByte()
		switch {
		case err != nil:
			return "", cutShort(err)
		case c == 0:
			return b.String(), nil
		case b.Len()+1 >= MaxAddress:
			return "", ErrLong
		}
		b.WriteByte(c)
	}
}
