package list

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/qmail"
)

// This file sends digests: several posts in one message, for those who subscribed to that (qmail
// reference 23.8). DIR/dignum and DIR/digissue say how far the last one went; they are written once
// the queue has the digest, so that after a crash one comes twice rather than never.

// mostDigested bounds the messages of one digest; what is left comes with the next.
const mostDigested = 500

// Digest is one run.
type Digest struct {
	List   *Folder
	Format byte // see formats; 0 means what DIR/digformat says, else multipart/digest
	PID    int
	Queue  Queue
}

// digested is what DIR/dignum holds.
type digested struct {
	count
	when int64 // of the last digest
}

func (f *Folder) digested() (d digested, err error) {
	line, found, err := f.Line("dignum")
	if err != nil || !found {
		return d, err
	}
	parts := strings.Split(line+":0:0", ":")
	if d.messages, err = strconv.ParseUint(parts[0], 10, 63); err == nil {
		if d.units, err = strconv.ParseUint(parts[1], 10, 63); err == nil {
			d.when, err = strconv.ParseInt(parts[2], 10, 63)
		}
	}
	if err != nil {
		return d, broken("%s: %q is not the last message digested, the size of all and the time, with colons between", f.path("dignum"), line)
	}
	return d, nil
}

// DigestDue are the limits at which a digest is sent: whichever comes first. 0 turns one off.
type DigestDue struct {
	Messages, Kilobytes, Hours uint64
}

// DigestLimits returns the list's limits.
func (f *Folder) DigestLimits() (l DigestDue, err error) {
	l = DigestDue{Messages: 30, Kilobytes: 64, Hours: 48}
	for name, to := range map[string]*uint64{"digcount": &l.Messages, "digsize": &l.Kilobytes, "digtime": &l.Hours} {
		line, found, err := f.Line(name)
		if err != nil {
			return l, err
		}
		if !found || line == "" {
			continue
		}
		if *to, err = strconv.ParseUint(line, 10, 31); err != nil {
			return l, broken("%s: %q is no number", f.path(name), line)
		}
	}
	return l, nil
}

// DigestIsDue reports whether it is time for a digest.
func (f *Folder) DigestIsDue(l DigestDue) (bool, error) {
	have, err := f.count()
	if err != nil {
		return false, err
	}
	last, err := f.digested()
	if err != nil {
		return false, err
	}
	return l.Hours > 0 && last.when+int64(l.Hours)*3600 <= f.Now().Unix() ||
		l.Kilobytes > 0 && last.units+l.Kilobytes*4 <= have.units ||
		l.Messages > 0 && last.messages+l.Messages <= have.messages, nil
}

// CheckDigestCode reads "dig.CODE", "dig-CODE" and with a letter of a format behind it; ok is false
// for what is no request for a digest. The code keeps strangers from having digests sent.
func (f *Folder) CheckDigestCode(action string) (format byte, ok bool, err error) {
	rest, found := strings.CutPrefix(lowerASCII(action), "dig")
	if !found || strings.HasPrefix(rest, "est") {
		return 0, false, nil
	}
	code, _, err := f.Line("digestcode")
	if err != nil {
		return 0, true, err
	}
	rest = strings.TrimLeft(rest, ".-_")
	tail, found := strings.CutPrefix(rest, lowerASCII(code))
	if code == "" || !found || len(tail) > 1 || tail != "" && strings.IndexByte(formats, tail[0]) < 0 {
		return 0, true, refuse("incorrect digest code (#5.7.1)")
	}
	if tail != "" {
		format = tail[0]
	}
	return format, true, nil
}

// Send sends a digest of what came since the last one; note is set where nothing did. It is an error that the list
// keeps no archive.
func (d *Digest) Send(ctx context.Context) (id, note string, err error) {
	f := d.List
	if !f.Is("archived") {
		return "", "", errNotArchived
	}
	lock, err := f.Lock(ctx, "lock")
	if err != nil {
		return "", "", err
	}
	defer lock.Close()
	have, err := f.count()
	if err != nil {
		return "", "", err
	}
	last, err := f.digested()
	if err != nil {
		return "", "", err
	}
	if last.messages >= have.messages {
		return "", "no new messages to digest", nil
	}
	next := digested{have, f.Now().Unix()}
	if next.messages-last.messages > mostDigested {
		next = digested{count{last.messages + mostDigested, last.units}, last.when}
	}
	table, err := f.Table("digest")
	if err != nil {
		return "", "", err
	}
	to, err := table.All()
	if err != nil {
		return "", "", err
	}
	issue, err := f.issue()
	if err != nil {
		return "", "", err
	}
	var numbers []uint64
	for n := last.messages + 1; n <= next.messages; n++ {
		numbers = append(numbers, n)
	}
	l, err := d.letter(issue, numbers)
	if err != nil {
		return "", "", err
	}
	defer l.stop()
	sender := f.Local + "-digest-return-" + strconv.FormatUint(numbers[0], 10) + "-@" + f.Host + "-@[]"
	if id, err = d.Queue(ctx, sender, to, l.message()); err != nil {
		return "", "", err
	}
	if err := f.replaceWith("digissue", "digissuen", 0o644, fmt.Appendf(nil, "%d\n", issue)); err != nil {
		return "", "", err
	}
	return id, "", f.replaceWith("dignum", "dignumn", 0o644, fmt.Appendf(nil, "%d:%d:%d\n", next.messages, next.units, next.when))
}

// issue returns the number of the digest to come.
func (f *Folder) issue() (uint64, error) {
	line, _, err := f.Line("digissue")
	if err != nil {
		return 0, err
	}
	if line == "" {
		return 1, nil
	}
	number, _, _ := strings.Cut(line, ":")
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return 0, broken("%s: %q is no number", f.path("digissue"), line)
	}
	return n + 1, nil
}

// letter writes the digest.
func (d *Digest) letter(issue uint64, numbers []uint64) (*letter, error) {
	f := d.List
	format := d.Format
	if format == 0 {
		line, _, err := f.Line("digformat")
		if err != nil {
			return nil, err
		}
		if format = 'm'; line != "" && strings.IndexByte(formats, line[0]|0x20) >= 0 {
			format = line[0] | 0x20
		}
	}
	rules, err := f.postRules()
	if err != nil {
		return nil, err
	}
	l := f.newLetter()
	for _, line := range rules.add {
		l.head.WriteString(line + "\n")
	}
	l.dated(d.PID, 0)
	l.field("From", f.address(f.Local, "-digest-help"))
	l.field("To", f.address(f.Local, ""))
	date := string(qmail.AppendDate(nil, f.Now().Truncate(time.Second)))
	writeField(&l.late, "Subject", f.Local+" Digest "+date+" Issue "+strconv.FormatUint(issue, 10))
	a := Archive{List: f, PID: d.PID}
	return l, a.messages(l, &asked{word: "digest", format: format}, numbers)
}
