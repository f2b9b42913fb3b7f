package list

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// This file keeps what comes back from subscribers, and takes those off the list from whom
// messages, a warning and a probe have come back (qmail reference 23.9).
//
// bounce/d/<time div 10000>/d<time mod 10000>.<pid> is the first bounce of an address, w… that of
// a warning; bounce/h/<c>/h<hash> has the numbers of the messages that the address missed.

// Times of bounces.
const (
	ProbeLife     = 3_000_000 * time.Second // how long a bounce of a warning or probe counts
	BounceTimeout = 10 * 24 * time.Hour     // how old a bounce is before it has consequences

	bounceFolder = 10_000 // seconds that share a folder
)

// Bounds of what strangers can have stored.
const (
	maxBounce  = 256 << 10 // bytes kept of a bounce
	maxHistory = 64 << 10  // bytes of one address's missed numbers
)

// ErrTrash tells that something came to an address of bounces that nothing is done for.
var ErrTrash = errors.New("trash address")

// Bounces handles what comes back from a list's subscribers, or from its digest's.
type Bounces struct {
	List   *Folder
	Digest bool
	PID    int    // makes names of files unique
	Sender string // the envelope sender of what came back
}

func (b *Bounces) table() string {
	if b.Digest {
		return "digest"
	}
	return "."
}

func (b *Bounces) file(name string) string {
	if b.Digest {
		return "digest/" + name
	}
	return name
}

// Return handles a message to LOCAL-return-action. It returns ErrTrash for what nobody waits for.
func (b *Bounces) Return(ctx context.Context, action string, content io.Reader) error {
	if action == "" || strings.HasPrefix(action, "receipt-") { // receipts are of lists in databases
		return ErrTrash
	}
	for _, kind := range []string{"probe", "warn"} {
		if rest, ok := strings.CutPrefix(action, kind+"-"); ok {
			return b.ofLetter(ctx, kind, rest, content)
		}
	}
	number, rest, ok := strings.Cut(action, "-")
	n, err := strconv.ParseUint(number, 10, 63)
	if !ok || err != nil {
		return refuse("Invalid bounce or receipt address format (#5.1.1)")
	}
	if rest != "" {
		return b.ofAddress(ctx, Unverp(rest), n, content)
	}
	return b.ofMany(ctx, n, content)
}

// ofLetter handles the bounce of a warning or probe: TIME.COOKIE-box=host.
func (b *Bounces) ofLetter(ctx context.Context, kind, text string, content io.Reader) error {
	proof, verp, ok := strings.Cut(text, "-")
	when, cookie, ok2 := strings.Cut(proof, ".")
	address := Unverp(verp)
	sec, err := strconv.ParseInt(when, 10, 63)
	if !ok || !ok2 || err != nil || !b.List.fresh(sec, ProbeLife) ||
		cookie != Cookie(b.List.Key, strconv.FormatInt(sec, 10), address, letterAction(kind)) || CheckAddress(address) != nil {
		return ErrTrash
	}
	if kind == "probe" {
		t, err := b.List.Table(b.table())
		if err != nil {
			return err
		}
		_, err = t.Remove(ctx, address, "-probe")
		return err
	}
	return b.locked(ctx, address, func() error {
		_, err := b.keep('w', address, content)
		return err
	})
}

func letterAction(kind string) byte {
	if kind == "probe" {
		return 'P'
	}
	return 'W'
}

// fresh reports whether a time lies within the last life.
func (f *Folder) fresh(sec int64, life time.Duration) bool {
	age := f.Now().Unix() - sec
	return age >= 0 && age <= int64(life/time.Second)
}

// locked runs do under the lock of bounces, for an address that is on the list.
func (b *Bounces) locked(ctx context.Context, address string, do func() error) error {
	if CheckAddress(address) != nil {
		return nil // not on any list
	}
	lock, err := b.List.Lock(ctx, b.file("lockbounce"))
	if err != nil {
		return err
	}
	defer lock.Close()
	t, err := b.List.Table(b.table())
	if err != nil {
		return err
	}
	if _, found, err := t.Find(address); !found || err != nil {
		return err
	}
	return do()
}

// history returns the file of an address's missed numbers, and its folder.
func (b *Bounces) history(address string) (name, dir string) {
	hash := Cookie(nil, "", address, 0)
	dir = b.file("bounce/h/" + hash[:1])
	return dir + "/h" + hash[1:], dir
}

// ofAddress notes that a message came back from an address. The first bounce is kept, for the
// warning; of further ones the numbers.
func (b *Bounces) ofAddress(ctx context.Context, address string, number uint64, content io.Reader) error {
	return b.locked(ctx, address, func() error {
		name, dir := b.history(address)
		numbers, known, err := b.List.read(name, maxHistory+1)
		if err != nil {
			return err
		}
		if len(numbers) > maxHistory {
			return nil
		}
		if !known {
			if _, err := b.keep('d', address, content); err != nil {
				return err
			}
		}
		for _, d := range []string{b.file("bounce"), b.file("bounce/h"), dir} {
			if err := b.List.mkdir(d); err != nil {
				return err
			}
		}
		numbers = fmt.Appendf(numbers, "   %d\n", number)
		return b.List.replaceWith(name, dir+"/H"+path.Base(name)[1:], 0o644, numbers)
	})
}

// keep stores a bounce under the present time.
func (b *Bounces) keep(kind byte, address string, content io.Reader) (name string, err error) {
	f, when := b.List, b.List.Now().Unix()
	dir := b.file("bounce/d/" + strconv.FormatInt(when/bounceFolder, 10))
	for _, d := range []string{b.file("bounce"), b.file("bounce/d"), dir} {
		if err := f.mkdir(d); err != nil {
			return "", err
		}
	}
	base := strconv.FormatInt(when%bounceFolder, 10) + "." + strconv.Itoa(b.PID)
	name = dir + "/" + string(kind) + base
	for n := 1; ; n++ {
		if _, err := f.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = dir + "/" + string(kind) + base + "." + strconv.Itoa(n)
	}
	return name, f.replace(name, dir+"/_"+base, 0o644, func(w io.Writer) error {
		head := address + "\x00Return-Path: <" + strings.ReplaceAll(quotedAddress(b.Sender), "\n", "_") + ">\n"
		if _, err := io.WriteString(w, head); err != nil {
			return err
		}
		_, err := io.Copy(w, io.LimitReader(content, maxBounce))
		return err
	})
}

// ofMany reads the bounce of a message sent without VERP, which says in qmail's form whom it did
// not reach (QSBMF).
func (b *Bounces) ofMany(ctx context.Context, number uint64, content io.Reader) error {
	header, rest, err := paragraph(bufio.NewReaderSize(io.LimitReader(content, maxBounce), 4096))
	if err != nil {
		return ErrTrash
	}
	intro, rest, err := paragraph(rest)
	for err == nil && strings.HasPrefix(intro, "--") { // boundaries of MIME
		intro, rest, err = paragraph(rest)
	}
	if err != nil || !strings.HasPrefix(intro, "Hi. This is the") {
		return ErrTrash
	}
	for {
		text, next, err := paragraph(rest)
		if err != nil || strings.HasPrefix(text, "-") {
			return nil
		}
		rest = next
		line, _, _ := strings.Cut(text, "\n")
		if address, ok := strings.CutPrefix(line, "<"); ok && strings.HasSuffix(address, ">:") {
			one := strings.NewReader(header + intro + text)
			if err := b.ofAddress(ctx, strings.TrimSuffix(address, ">:"), number, one); err != nil {
				return err
			}
		}
	}
}

// paragraph reads lines up to an empty one, which belongs to it. The message's end is no paragraph.
func paragraph(r *bufio.Reader) (text string, rest *bufio.Reader, err error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", r, err
		}
		b.WriteString(line)
		if line == "\n" {
			return b.String(), r, nil
		}
	}
}

// Warn is one run over the bounces that are old enough.
type Warn struct {
	Bounces
	Timeout time.Duration // how old; 0 means all of them
	Lockout time.Duration // nothing is done so soon after the last run; 0 means a 50th of Timeout
	Queue   Queue
	Told    func(id string) // called for each letter that was queued; may be nil

	letters int
}

// Run sends warnings for bounces of messages and probes for bounces of warnings.
func (w *Warn) Run(ctx context.Context) error {
	f, now := w.List, w.List.Now().Unix()
	lockout := w.Lockout
	if lockout == 0 {
		lockout = w.Timeout / 50
	}
	last, _, err := f.read(w.file("bounce/lastd"), 64)
	if err != nil {
		return err
	}
	// A time to come is no time of a run: it must not stop the list for good.
	if then, err := strconv.ParseInt(strings.TrimSpace(string(last)), 10, 63); err == nil && then <= now && then+int64(lockout/time.Second) > now {
		return nil
	}
	lock, err := f.Lock(ctx, w.file("lockbounce"))
	if err != nil {
		return err
	}
	defer lock.Close()
	folders, err := f.fs.ReadDir(w.file("bounce/d"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return f.failed("read", w.file("bounce/d"), err)
	}
	for _, d := range folders {
		if err := w.folder(ctx, d, now); err != nil {
			return err
		}
	}
	if err := f.replaceWith(w.file("bounce/lastd"), w.file("bounce/lastD"), 0o644, fmt.Appendf(nil, "%d\n", now)); err != nil {
		return err
	}
	return w.sweep(now)
}

// folder handles one folder of bounces, once the youngest in it is old enough.
func (w *Warn) folder(ctx context.Context, d fs.DirEntry, now int64) error {
	f := w.List
	name := w.file("bounce/d/" + d.Name())
	if !d.IsDir() { // left by a program that died
		return f.remove(name)
	}
	number, err := strconv.ParseInt(d.Name(), 10, 40)
	if err != nil {
		return nil
	}
	if w.Timeout > 0 {
		number++
	}
	if now < number*bounceFolder+int64(w.Timeout/time.Second) {
		return nil
	}
	files, err := f.fs.ReadDir(name)
	if err != nil {
		return f.failed("read", name, err)
	}
	for _, file := range files {
		one := name + "/" + file.Name()
		if c := file.Name()[0]; c == 'd' || c == 'w' {
			err = w.one(ctx, one, c == 'w')
		} else {
			err = f.remove(one)
		}
		if err != nil {
			return err
		}
	}
	return f.remove(name)
}

// one sends the letter that a bounce calls for, and forgets the bounce.
func (w *Warn) one(ctx context.Context, name string, probe bool) error {
	f := w.List
	content, found, err := f.read(name, maxBounce+MaxAddress+1024)
	if errors.Is(err, errTooLong) { // ezmlm keeps bounces whole
		content, err = f.begin(name, maxBounce)
		found = true
	}
	if err != nil || !found {
		return err
	}
	address, bounce, ok := bytes.Cut(content, []byte{0})
	t, err := f.Table(w.table())
	if err != nil {
		return err
	}
	on := false
	if ok && CheckAddress(string(address)) == nil {
		if _, on, err = t.Find(string(address)); err != nil {
			return err
		}
	}
	if !on {
		return f.remove(name)
	}
	history, _ := w.history(string(address))
	numbers, _, err := f.read(history, maxHistory+1024)
	if err != nil {
		return err
	}
	message, sender, err := w.letter(string(address), string(bounce), string(numbers), probe)
	if err != nil {
		return err
	}
	id, err := w.Queue(ctx, sender, []string{string(address)}, message)
	if err != nil {
		return err
	}
	if w.Told != nil {
		w.Told(id)
	}
	if !probe {
		if err := f.remove(history); err != nil {
			return err
		}
	}
	return f.remove(name)
}

// begin reads the beginning of a file.
func (f *Folder) begin(name string, limit int64) ([]byte, error) {
	file, err := f.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, f.failed("read", name, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return nil, f.failed("read", name, err)
	}
	return b, nil
}

// letter writes a warning, with the numbers of the messages that were missed, or a probe.
func (w *Warn) letter(address, bounce, numbers string, probe bool) (message io.Reader, sender string, err error) {
	f := w.List
	local, kind, subject, text := f.Local, "warn", "Warning from ", "bounce-warn"
	if w.Digest {
		local += "-digest"
	}
	if probe {
		kind, subject, text = "probe", "Probe from ", "bounce-probe"
	}
	l := f.newLetter()
	l.dated(w.PID, w.letters)
	w.letters++
	l.field("From", f.address(f.Local, "-help"))
	l.field("To", quotedAddress(address))
	writeField(&l.late, "Subject", subject+f.quoted(local)+"@"+f.Host)
	tags := &Tags{Local: local, Target: address}
	names := []string{"top", text}
	if !probe {
		names = append(names, map[bool]string{false: "bounce-num", true: "dig-bounce-num"}[w.Digest])
	}
	for _, name := range append(names, "bounce-bottom") {
		if name == "bounce-bottom" && !probe {
			l.text.WriteString(numbers)
		}
		text, err := f.Text(name, tags)
		if err != nil {
			return nil, "", err
		}
		l.text.WriteString(text)
	}
	header, _, _ := strings.Cut(bounce, "\n\n")
	header = header[:min(len(header), maxEnclosed)]
	l.closed.WriteString(strings.TrimSuffix(header, "\n") + "\n")
	when := strconv.FormatInt(f.Now().Unix(), 10)
	sender = local + "-return-" + kind + "-" + when + "." + Cookie(f.Key, when, address, letterAction(kind)) + "-" + Verp(address) + "@" + f.Host
	return l.message(), sender, nil
}

// sweepEvery is how often one of the 16 folders of histories is gone through.
const sweepEvery = 100_000

// sweep removes histories of addresses that have long been well, a folder a day.
func (w *Warn) sweep(now int64) error {
	f := w.List
	last := w.file("bounce/lasth")
	if st, err := f.fs.Stat(last); err == nil && st.ModTime().Unix() <= now && now < st.ModTime().Unix()+sweepEvery {
		return nil
	}
	content, _, err := f.read(last, 64)
	if err != nil {
		return err
	}
	c := byte('a')
	if len(content) > 0 && content[0] >= 'a' && content[0] < 'p' {
		c = content[0] + 1
	}
	dir := w.file("bounce/h/" + string(rune(c)))
	files, err := f.fs.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.failed("read", dir, err)
	}
	for _, file := range files {
		if st, err := f.fs.Stat(dir + "/" + file.Name()); err == nil && now > st.ModTime().Unix()+3*int64(max(w.Timeout, BounceTimeout)/time.Second) {
			if err := f.remove(dir + "/" + file.Name()); err != nil {
				return err
			}
		}
	}
	return f.replaceWith(last, w.file("bounce/lastH"), 0o644, []byte{c, '\n'})
}
