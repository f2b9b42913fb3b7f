package list

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/fs"
)

// This file carries out what was decided about posts that wait, see pending.go, and gives those back about which
// nobody decided in time (qmail reference 23.7).

// Decision is a mail to one of the addresses that a request named: LOCAL-accept-TIME.PID.COOKIE and
// its like.
type Decision struct {
	List    *Folder
	Sender  string
	Local   string // the whole local part of the address
	Default string // what a link's "default" stands for: TIME.PID.COOKIE and what follows
	Content io.ReadSeeker
	PID     int
	Queue   Queue
}

// storedPost is an open file of a post.
type storedPost struct {
	io.ReadSeeker
	io.Closer
}

// These tell moderators what has become of a post.
var (
	errGone     = refuse("I'm sorry, I no longer have this message")
	errAccepted = refuse("I'm sorry, I've already accepted this message")
	errRejected = refuse("I'm sorry, I've already rejected this message")
)

// parse returns what was decided and about which post. Of the name nothing but digits and one dot
// is let through.
func (d *Decision) parse() (what, base string, err error) {
	if err := CheckRequester(d.Sender); err != nil {
		return "", "", err
	}
	prefix, ok := strings.CutSuffix(d.Local, "-"+d.Default)
	if !ok {
		return "", "", errCookie
	}
	what = prefix[strings.LastIndexByte(prefix, '-')+1:]
	parts := strings.SplitN(d.Default, ".", 3)
	if len(parts) != 3 || !isNumber(parts[0]) || !isNumber(parts[1]) || len(parts[2]) < CookieLen {
		return "", "", errCookie
	}
	base = parts[0] + "." + parts[1]
	if parts[2][:CookieLen] != Cookie(d.List.Key, base, "", 'a') {
		return "", "", errCookie
	}
	return what, base, nil
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 20
}

// has reports whether there is such a file.
func (f *Folder) has(name string) bool {
	_, err := f.fs.Stat(name)
	return err == nil
}

// openPost opens a stored post; sender is who it came from.
func (f *Folder) openPost(name string) (post *storedPost, sender string, err error) {
	file, err := f.fs.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", errGone
	}
	if err != nil {
		return nil, "", f.failed("read", name, err)
	}
	line, err := bufio.NewReader(io.LimitReader(file, 4096)).ReadString('\n')
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	first, ok := strings.CutPrefix(line, "Return-Path: <")
	sender, ok2 := strings.CutSuffix(first, ">\n")
	if err != nil || !ok || !ok2 {
		file.Close()
		return nil, "", broken("%s: the first line is no Return-Path", f.path(name))
	}
	return &storedPost{file, file}, sender, nil
}

// Moderate carries out what a moderator decided. Send is called for an accepted post.
func (d *Decision) Moderate(ctx context.Context, send func(post io.ReadSeeker, sender string) error) (id, note string, err error) {
	what, base, err := d.parse()
	if err != nil {
		return "", "", err
	}
	if what != "accept" && what != "reject" {
		return "", "", errCookie
	}
	f := d.List
	lock, err := f.Lock(ctx, "mod/lock")
	if err != nil {
		return "", "", err
	}
	defer lock.Close()
	if !f.has("mod/pending/" + base) {
		for _, done := range []struct {
			folder, what string
			err          *Error
		}{{"mod/accepted/", "accept", errAccepted}, {"mod/rejected/", "reject", errRejected}} {
			if f.has(done.folder + base) {
				if done.what == what {
					return "", done.err.Text, nil
				}
				return "", "", done.err
			}
		}
		return "", "", errGone
	}
	post, sender, err := f.openPost("mod/pending/" + base)
	if err != nil {
		return "", "", err
	}
	defer post.Close()
	if what == "accept" {
		err, note = send(post, sender), "post accepted"
	} else {
		id, err = d.giveBack(ctx, post, sender)
	}
	if err != nil {
		return "", "", err
	}
	// For moderators who answer later. Without it they hear that the post is gone.
	answered := "mod/" + what + "ed"
	_ = f.mkdir(answered)
	_ = f.replaceWith(answered+"/"+base, answered+"/."+base, 0o600, nil)
	return id, note, f.remove("mod/pending/" + base)
}

// giveBack returns a rejected post to its author, with the moderator's remarks.
func (d *Decision) giveBack(ctx context.Context, post io.Reader, sender string) (string, error) {
	remarks, err := d.remarks()
	if err != nil {
		return "", err
	}
	return d.List.returnPost(ctx, returned{post: post, sender: sender, text: "mod-reject", remarks: remarks, pid: d.PID}, d.Queue)
}

// returned is a post that goes back to its author.
type returned struct {
	post    io.Reader
	sender  string // the author; "" or a wrong address has it go nowhere
	text    string // the name of the text above it
	remarks string // the moderator's, behind the text
	pid, n  int    // of its Message-ID, see dated
}

// returnPost sends a post back. The id is the queue's.
func (f *Folder) returnPost(ctx context.Context, r returned, queue Queue) (id string, err error) {
	l := f.newLetter()
	l.dated(r.pid, r.n)
	l.field("From", f.address(f.Local, "-owner"))
	l.field("To", quotedAddress(r.sender))
	writeField(&l.late, "Subject", "Returned post for "+f.quoted(f.Local)+"@"+f.Host)
	for _, name := range []string{"top", r.text} {
		t, err := f.Text(name, &Tags{Target: r.sender})
		if err != nil {
			return "", err
		}
		l.text.WriteString(t)
	}
	l.text.WriteString(r.remarks)
	l.attached = r.post
	var to []string
	if CheckRequester(r.sender) == nil {
		to = []string{r.sender}
	}
	return queue(ctx, f.returnSender(), to, l.message())
}

// remarks returns what the moderator wrote between two lines that begin with %%%.
func (d *Decision) remarks() (string, error) {
	_, body, err := readHeader(d.Content)
	if err != nil {
		return "", err
	}
	if _, err := d.Content.Seek(body, io.SeekStart); err != nil {
		return "", unreadable(err)
	}
	text, err := io.ReadAll(io.LimitReader(d.Content, maxEnclosed))
	if err != nil {
		return "", unreadable(err)
	}
	var b strings.Builder
	begun, quote := false, ""
	for line := range strings.Lines(string(text)) {
		i := strings.Index(line, "%%%")
		mark := i >= 0 && i <= 5
		switch {
		case mark && !begun:
			begun, quote = true, line[:i]
		case mark:
			return "\n>>>>> -------------------- >>>>>\n" + b.String() + "<<<<< -------------------- <<<<<\n", nil
		case begun:
			b.WriteString(strings.TrimRight(strings.TrimPrefix(line, quote), "\r\n") + "\n")
		}
	}
	return "", nil
}

// Confirmed carries out what a post's author answered: send is called for the post.
func (d *Decision) Confirmed(ctx context.Context, send func(post io.ReadSeeker, sender string) error) (note string, err error) {
	what, base, err := d.parse()
	if err != nil {
		return "", err
	}
	if what != "confirm" && what != "discard" {
		return "", errCookie
	}
	f, name := d.List, "mod/unconfirmed/"+base
	lock, err := f.Lock(ctx, "mod/confirmlock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if what == "discard" {
		return "post rejected", f.remove(name)
	}
	post, sender, err := f.openPost(name)
	if err != nil {
		return "", err
	}
	defer post.Close()
	if err := send(post, sender); err != nil {
		return "", err
	}
	return "post confirmed", f.remove(name)
}

// Clean removes posts that waited too long, and what is kept of decisions. Authors get their
// posts back, unless DIR/noreturnposts says otherwise.
type Clean struct {
	List   *Folder
	Return bool
	PID    int
	Queue  Queue
	Told   func(id string)
}

// Hours that a post waits (qmail reference 23.2).
const (
	leastWait, defaultWait, mostWait = 24, 120, 240
)

// Run does it.
func (c *Clean) Run(ctx context.Context) error {
	f := c.List
	line, _, err := f.Line("modtime")
	if err != nil {
		return err
	}
	hours, _ := strconv.Atoi(line)
	if hours == 0 {
		hours = defaultWait
	}
	before := f.Now().Unix() - int64(min(max(hours, leastWait), mostWait))*60*60
	if !f.has("mod") {
		return nil
	}
	lock, err := f.Lock(ctx, "mod/lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	letters := 0
	for _, folder := range []string{"mod/pending", "mod/accepted", "mod/rejected", "mod/unconfirmed"} {
		files, err := f.fs.ReadDir(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return f.failed("read", folder, err)
		}
		for _, file := range files {
			text, _, _ := strings.Cut(strings.TrimPrefix(file.Name(), "."), ".")
			when, err := strconv.ParseInt(text, 10, 63)
			if err != nil || when >= before {
				continue
			}
			name := folder + "/" + file.Name()
			if folder == "mod/pending" && c.Return && file.Name()[0] != '.' {
				if err := c.giveBack(ctx, name, letters); err != nil {
					return err
				}
				letters++
			}
			if err := f.remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveBack returns one post that nobody decided about.
func (c *Clean) giveBack(ctx context.Context, name string, n int) error {
	st, err := c.List.fs.Stat(name)
	if err != nil || st.Mode()&0o100 == 0 {
		return nil // never asked about
	}
	post, sender, err := c.List.openPost(name)
	if err != nil {
		return err
	}
	defer post.Close()
	id, err := c.List.returnPost(ctx, returned{post: post, sender: sender, text: "mod-timeout", pid: c.PID, n: n}, c.Queue)
	if err == nil && c.Told != nil {
		c.Told(id)
	}
	return err
}
