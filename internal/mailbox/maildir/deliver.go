package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
)

// Delivery is one message for one mailbox.
type Delivery struct {
	Mailbox string // the Maildir's path below the Store's folder
	// Folder is the folder wished for, in UTF-8; where there is none of that name the
	// message goes to the mailbox itself.
	Folder  string
	Message id.ID
	N       int    // the recipient's number: with Message and Part the delivery's identity
	Part    int    // counts the deliveries of one recipient into one mailbox, from 0
	Prefix  []byte // header lines written before the body, with LF line ends
	Size    int64  // the body's bytes as far as known, for the quota
	Quota   Quota
	// Beyond delivers also where the quota leaves no room, and counts it.
	Beyond bool
	// Again is set when an earlier attempt may have made this delivery already.
	Again bool
	// MustExist refuses a mailbox that is not there with fs.ErrNotExist instead of making it.
	MustExist bool
	// Tmp is the delivery's file, where the caller has made it already: File by the Path that TmpPath
	// gave. From Deliver on it is the Store's, which closes it, and removes what it does not publish. No Folder
	// is looked for then.
	Tmp Tmp
	// Veto is asked once the body has been read; its error refuses the delivery. nil agrees.
	Veto func() error
}

// Tmp is a new file in tmp/ and its path below the Store's folder.
type Tmp struct {
	File fs.File
	Path string
}

// TmpPath names a new file in a Maildir's tmp/.
func (s *Store) TmpPath(mailbox string, message id.ID, n, part int) string {
	return mailbox + "/tmp/" + s.unique(stem(message, n, part))
}

func (s *Store) unique(base string) string {
	return base[:len(base)-1] + "Q" + s.nonce + strconv.FormatUint(s.seq.Add(1), 36) + "." + s.host
}

// Outcome is what became of a Delivery.
type Outcome struct {
	// Path is the message's file below the Store's folder, as delivered.
	Path string
	// Replay is set when an earlier attempt had made the delivery.
	Replay bool
	// Usage is what the mailbox holds, with this message where it was delivered, as far as its
	// quota was looked at; zero without a quota.
	Usage Usage
	// Err is nil once the delivery is durable. It is an error of quota, of Veto, of the
	// body's reader, of ctx, or of the file system.
	Err error
}

// Deliver writes one message into the mailboxes of ds and returns what became of
// each, in order, once all that succeeded are durable. The body, with LF line ends, is opened once
// for each Options.Batch mailboxes. One mailbox's failure is no other's.
func (s *Store) Deliver(ctx context.Context, open func() (io.ReadCloser, error), ds []Delivery) []Outcome {
	out := make([]Outcome, len(ds))
	for from := 0; from < len(ds); from += s.opts.Batch {
		to := min(from+s.opts.Batch, len(ds))
		b := batch{s: s, items: make([]item, to-from)}
		for i := range b.items {
			b.items[i] = item{Delivery: &ds[from+i], Outcome: &out[from+i]}
		}
		b.run(ctx, open)
	}
	return out
}

// batch is the deliveries that are written from one reading of the body.
type batch struct {
	s     *Store
	items []item
}

// item is one delivery on its way. It is live while file is open and nothing failed.
type item struct {
	*Delivery
	*Outcome
	dir  string // the Maildir folder it goes to
	tmp  string // its file in tmp/
	name string // its name in new/, without sizes until the body is written
	size int64  // bytes written
	wire int64  // bytes with CRLF line ends
	file fs.File
	done bool // published, or found published: its folder's names need the second barrier
}

func (b *batch) run(ctx context.Context, open func() (io.ReadCloser, error)) {
	live := 0
	for i := range b.items {
		it := &b.items[i]
		it.file, it.tmp = it.Tmp.File, it.Tmp.Path
		if it.Err = ctx.Err(); it.Err == nil {
			it.Err = b.s.begin(it)
		}
		if it.file != nil && (it.Err != nil || it.done) {
			b.s.drop(it, it.Err)
		}
		if it.file != nil {
			live++
		}
	}
	if live > 0 {
		if err := b.fill(open); err != nil {
			b.failAll(err)
		}
		b.syncFiles(ctx)
		b.publish(ctx)
	}
	b.syncNames()
}

// begin finds the delivery's place: its own earlier file, or a fresh one in tmp/.
func (s *Store) begin(it *item) error {
	it.dir = it.Mailbox
	folder, err := FolderPath(it.Folder)
	if err == nil && folder != "" {
		it.dir = it.Mailbox + "/" + folder
	}
	base := stem(it.Message, it.N, it.Part)
	if it.Again {
		if err := s.findEarlier(it, base); err != nil || it.done {
			return err
		}
	}
	it.Usage, err = s.Room(it.Mailbox, it.Quota, it.Size+int64(len(it.Prefix)))
	if err != nil && !it.Beyond {
		return err
	}
	it.name = base + s.host
	if it.file != nil {
		it.dir = it.Mailbox
		return nil
	}
	return s.createTmp(it, s.unique(base))
}

// createTmp opens the delivery's file in tmp/. Only a missing folder costs more
// than the one call: the wished-for folder's absence leads to the mailbox, the mailbox's to its
// creation.
func (s *Store) createTmp(it *item, unique string) error {
	for range 3 {
		it.tmp = it.dir + "/tmp/" + unique
		f, err := s.fs.OpenFile(it.tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
		switch {
		case err == nil:
			it.file = f
			return nil
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case it.dir != it.Mailbox:
			it.dir = it.Mailbox
		case it.MustExist:
			return err
		default:
			if err := s.Create(it.Mailbox, ""); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("create %s: %w", it.tmp, fs.ErrNotExist)
}

// findEarlier looks for the file of an earlier attempt, under any flags.
func (s *Store) findEarlier(it *item, base string) error {
	dirs := []string{it.dir}
	if it.dir != it.Mailbox {
		dirs = append(dirs, it.Mailbox)
	}
	for _, dir := range dirs {
		for _, sub := range []string{"/new", "/cur"} {
			list, err := s.fs.ReadDir(dir + sub)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			for _, e := range list {
				if strings.HasPrefix(e.Name(), base) {
					it.dir, it.done, it.Replay = dir, true, true
					it.Path = dir + sub + "/" + e.Name()
					return nil
				}
			}
		}
	}
	return nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// fill writes prefix and body to every open file. A file's failure ends that
// delivery; the returned error is the body's.
func (b *batch) fill(open func() (io.ReadCloser, error)) error {
	body, err := open()
	if err != nil {
		return err
	}
	defer body.Close()
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	// The prefix goes before the first piece in the same buffer: one write for a small message.
	room := 0
	for i := range b.items {
		room = max(room, len(b.items[i].Prefix))
	}
	buf := *pooled
	if room > len(buf)/2 {
		buf = make([]byte, room+len(buf))
	}
	first, lastCR := true, false
	for {
		n, err := io.ReadFull(body, buf[room:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		piece := buf[room : room+n]
		lines := bareLF(piece, lastCR)
		lastCR = n > 0 && piece[n-1] == '\r'
		for i := range b.items {
			it := &b.items[i]
			if it.file == nil {
				continue
			}
			data, more := piece, lines
			if first {
				data = buf[room-len(it.Prefix) : room+n]
				copy(data, it.Prefix)
				more += bareLF(it.Prefix, false)
			}
			if len(data) == 0 {
				continue
			}
			if _, werr := it.file.Write(data); werr != nil {
				b.s.drop(it, werr)
				continue
			}
			it.size += int64(len(data))
			it.wire += int64(len(data)) + more
		}
		first = false
		if err != nil {
			break
		}
	}
	for i := range b.items {
		if it := &b.items[i]; it.file != nil && it.Veto != nil {
			if err := it.Veto(); err != nil {
				b.s.drop(it, err)
			}
		}
	}
	return nil
}

// bareLF counts the line ends that grow by a CR on the wire.
func bareLF(p []byte, afterCR bool) int64 {
	n := bytes.Count(p, []byte{'\n'})
	if bytes.IndexByte(p, '\r') >= 0 {
		n -= bytes.Count(p, []byte("\r\n"))
	}
	if afterCR && len(p) > 0 && p[0] == '\n' {
		n--
	}
	return int64(n)
}

// drop gives a delivery up and removes what it left in tmp/.
func (s *Store) drop(it *item, err error) {
	it.Err = err
	if it.file != nil {
		it.file.Close()
		it.file = nil
		s.fs.Remove(it.tmp) // best effort: the cleaner finds what stays
	}
}

func (b *batch) failAll(err error) {
	for i := range b.items {
		if b.items[i].file != nil {
			b.s.drop(&b.items[i], err)
		}
	}
}

// syncFiles is the first barrier: contents are durable before any name shows them.
func (b *batch) syncFiles(ctx context.Context) {
	files := make([]fs.File, 0, len(b.items))
	for i := range b.items {
		if b.items[i].file != nil {
			files = append(files, b.items[i].file)
		}
	}
	if len(files) == 0 {
		return
	}
	err := ctx.Err()
	if err == nil {
		err = b.s.barrier.Files(files...)
	}
	if err != nil {
		b.failAll(err)
	}
}

// publish moves the synced files from tmp/ to new/. A caller that has given up
// meanwhile tries again later: nothing is published behind its back.
func (b *batch) publish(ctx context.Context) {
	for i := range b.items {
		it := &b.items[i]
		if it.file == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			b.s.drop(it, err)
			continue
		}
		err := it.file.Close() // NFS may tell of a failed write only here
		if err == nil {
			it.Path = it.dir + "/new/" + withSizes(it.name, it.size, it.wire)
			err = b.s.move(it.tmp, it.Path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			// A power cut may have left a mailbox with tmp/ and without new/.
			if err = b.s.createDirs(it.dir); err == nil {
				err = b.s.move(it.tmp, it.Path)
			}
		}
		it.file = nil
		if err != nil {
			it.Err = err
			b.s.fs.Remove(it.tmp) // best effort: the cleaner finds what stays
			continue
		}
		it.done = true
	}
}

// move gives a file its final name. The name belongs to this delivery alone: a
// file that has it already is the same message. So the repeated request of an NFS client
// that did not see the first one's answer is no failure.
func (s *Store) move(tmp, final string) error {
	if s.opts.Link {
		if err := s.fs.Link(tmp, final); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		s.fs.Remove(tmp) // best effort: the message is published, the cleaner finds what stays
		return nil
	}
	err := s.fs.Rename(tmp, final)
	if errors.Is(err, fs.ErrNotExist) {
		if _, serr := s.fs.Stat(final); serr == nil {
			return nil
		}
	}
	return err
}

// syncNames is the second barrier: with it the deliveries are made.
func (b *batch) syncNames() {
	var dirs []string
	for i := range b.items {
		it := &b.items[i]
		if !it.done {
			continue
		}
		dirs = append(dirs, it.Path[:strings.LastIndexByte(it.Path, '/')])
		if !b.s.known.has(it.dir) {
			dirs = append(dirs, ancestors(it.dir)...)
		}
	}
	if len(dirs) == 0 {
		return
	}
	err := b.s.barrier.Dirs(dirs...)
	for i := range b.items {
		it := &b.items[i]
		switch {
		case !it.done:
		case err != nil:
			it.Err, it.Replay = err, false
		default:
			b.s.known.add(it.dir)
			if !it.Replay && !it.Quota.None() {
				b.s.account(it.Mailbox, it.size, 1)
				it.Usage.Bytes += it.size
				it.Usage.Messages++
			}
		}
	}
}
