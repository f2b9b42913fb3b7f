package list

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// weeds are beginnings of header lines, in lower case, of what programs send that is neither a bounce
// nor a person's mail (qmail reference 23.9).
var weeds = []string{
	"subject: success notice", "subject: deferral notice", "subject: message status - delivered", "subject: message status - opened",
	"subject: out of office autoreply:", "subject: autoresponse -", "precedence: bulk", "precedence: junk", "precedence: list",
	"auto-submitted:", "mailing-list:", "list-id:", "x-mailing-list:", "x-ml-name:", "list-help:", "list-unsubscribe:",
	"list-subscribe:", "list-post:", "list-owner:", "list-archive:", "x-amazon-auto-reply:", "x-mailer: kana response",
	"thread-topic: autoresponse",
}

// Weed reports whether a message is to be dropped before anybody answers it or counts it as a
// bounce. A delivery status notification is judged by what it tells alone: only failures stay.
// ezmlm drops those too that say, as RFC 3834 wants, that a program wrote them.
func Weed(content io.ReadSeeker) (drop bool, err error) {
	fields, body, err := readHeader(content)
	if e, ok := errors.AsType[*Error](err); ok && e.Permanent {
		return true, nil // a header that long is nobody's bounce
	}
	if err != nil {
		return false, err
	}
	boundary := ""
	for _, field := range fields {
		name, value := fieldName(field)
		lower := lowerASCII(name + ": " + oneLine(value))
		for _, w := range weeds {
			drop = drop || strings.HasPrefix(lower, w)
		}
		if value = oneLine(value); name == "content-type" && mediaType(value) == "multipart/report" {
			if kind := lowerASCII(parameter(value, "report-type")); kind == "delivery-status" || kind == "global-delivery-status" {
				boundary = parameter(value, "boundary")
			}
		}
	}
	if _, err := content.Seek(body, io.SeekStart); err != nil {
		return false, unreadable(err)
	}
	r := bufio.NewReaderSize(content, 32<<10)
	if boundary != "" {
		if told, failed, err := action(r, "--"+boundary); told || err != nil {
			return !failed, err
		}
		return drop, nil
	}
	return drop || isSendmailWarning(fields, r), nil
}

// action finds the first Action field of a report's part message/delivery-status; told is false
// without one.
func action(r *bufio.Reader, boundary string) (told, failed bool, err error) {
	inHead, inStatus, status := false, false, false
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return false, false, unreadable(err)
		}
		text := strings.TrimRight(string(line), "\r\n")
		switch name, value := fieldName(text); {
		case strings.HasPrefix(text, boundary):
			inHead, inStatus, status = true, false, false
		case inHead && text == "":
			inHead, inStatus = false, status
		case inHead && name == "content-type":
			media := mediaType(oneLine(value))
			status = media == "message/delivery-status" || media == "message/global-delivery-status"
		case inStatus && name == "action":
			return true, strings.EqualFold(mediaType(oneLine(value)), "failed"), nil
		}
		if err == io.EOF {
			return false, false, nil
		}
	}
}

// isSendmailWarning knows the notes of a sendmail that is still trying.
func isSendmailWarning(fields []string, r *bufio.Reader) bool {
	daemon, waits := false, false
	for _, field := range fields {
		lower := lowerASCII(field)
		daemon = daemon || strings.HasPrefix(lower, "from: mail delivery subsystem <mailer-daemon@")
		waits = waits || strings.HasPrefix(lower, "subject: warning: could not send message") ||
			strings.HasPrefix(lower, "subject: returned mail: warning: cannot send message")
	}
	if !daemon || !waits {
		return false
	}
	for range 8 {
		line, err := r.ReadString('\n')
		if strings.Contains(line, "**      THIS IS A WARNING MESSAGE ONLY      **") {
			return true
		}
		if err != nil {
			break
		}
	}
	return false
}
