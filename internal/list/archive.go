package list

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/fs"
)

// count is what DIR/num holds: how many messages the list has had, and what their bodies add up
// to in units of 256 bytes.
type count struct {
	messages, units uint64
}

// count reads DIR/num; a list without it has had no message.
func (f *Folder) count() (c count, err error) {
	content, found, err := f.read("num", maxSetting)
	if err != nil || !found {
		return c, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	messages, units, _ := strings.Cut(line, ":")
	if c.messages, err = strconv.ParseUint(strings.TrimSpace(messages), 10, 63); err == nil && units != "" {
		c.units, err = strconv.ParseUint(strings.TrimSpace(units), 10, 63)
	}
	if err != nil {
		return c, broken("%s: %q is not the number of messages, and behind a colon their size", f.path("num"), line)
	}
	return c, nil
}

func (f *Folder) setCount(c count) error {
	return f.replaceWith("num", "numnew", 0o644, fmt.Appendf(nil, "%d:%d\n", c.messages, c.units))
}

// Messages returns the number of the newest message. An archive that has none yet is 0.
func (f *Folder) Messages() (uint64, error) {
	c, err := f.count()
	return c.messages, err
}

// archived returns a message's file and its folder: message 1234 is archive/12/34.
func archived(n uint64) (file, dir string) {
	dir = "archive/" + strconv.FormatUint(n/100, 10)
	return fmt.Sprintf("%s/%02d", dir, n%100), dir
}

// Message opens a message of the archive; found is false when it is not there, or not whole.
func (f *Folder) Message(n uint64) (m fs.File, found bool, err error) {
	name, _ := archived(n)
	file, err := f.fs.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, f.failed("read", name, err)
	}
	// ezmlm sets the owner's x bit once a message is whole.
	if st, err := file.Stat(); err != nil || st.Mode()&0o100 == 0 || !st.Mode().IsRegular() {
		file.Close()
		return nil, false, nil
	}
	return file, true, nil
}

// IndexEntry is what an archive's index says of a message.
type IndexEntry struct {
	Number  uint64
	Thread  string // 20 letters that the messages of a thread share
	Subject string // with "Re: " before it where the message is a reply
	Date    string // as in its first Received field
	Author  string // 20 letters that the messages of an author share
	Name    string // the author's
}

// append writes the entry as ezmlm does.
func (e *IndexEntry) append(b []byte) []byte {
	return fmt.Appendf(b, "%d: %s %s\n\t%s;%s %s\n", e.Number, e.Thread, e.Subject, e.Date, e.Author, e.Name)
}

// Index returns the entries of the archive's folder that holds message n: up to a hundred. An
// archive that is not indexed has none.
func (f *Folder) Index(n uint64) ([]IndexEntry, error) {
	_, dir := archived(n)
	content, found, err := f.read(dir+"/index", maxSetting)
	if err != nil || !found {
		return nil, err
	}
	entries, err := parseIndex(content)
	if err != nil {
		return nil, &Error{Text: f.path(dir+"/index") + ": " + err.Error()}
	}
	return entries, nil
}

// parseIndex reads an index file. Entries of ezmlm-idx before version 0.40, "12 subject", have
// no author's line.
func parseIndex(content []byte) (entries []IndexEntry, err error) {
	r := bufio.NewScanner(bytes.NewReader(content))
	r.Buffer(nil, maxSetting+1)
	for n := 1; r.Scan(); n++ {
		line := r.Text()
		if strings.HasPrefix(line, "\t") && len(entries) > 0 && entries[len(entries)-1].Author == "" {
			e := &entries[len(entries)-1]
			date, rest, ok := strings.Cut(line[1:], ";")
			author, name, _ := strings.Cut(rest, " ")
			if !ok || len(author) != CookieLen {
				return nil, fmt.Errorf("line %d: want a tab, a date, a semicolon, 20 letters and the author", n)
			}
			e.Date, e.Author, e.Name = date, author, name
			continue
		}
		digits := len(line) - len(strings.TrimLeft(line, "0123456789"))
		number, perr := strconv.ParseUint(line[:digits], 10, 63)
		rest, _ := strings.CutPrefix(line[digits:], ":")
		thread, subject, _ := strings.Cut(strings.TrimPrefix(rest, " "), " ")
		if perr != nil || number == 0 || len(thread) != CookieLen {
			return nil, fmt.Errorf("line %d: want the message's number, a colon, 20 letters and the subject", n)
		}
		entries = append(entries, IndexEntry{Number: number, Thread: thread, Subject: subject})
	}
	return entries, r.Err()
}

// addToIndex puts a message's entry behind those of the messages before it. Entries of its own
// number and above are of posts that were not sent.
func (f *Folder) addToIndex(e *IndexEntry) error {
	_, dir := archived(e.Number)
	name := dir + "/index"
	content, _, err := f.read(name, maxSetting)
	if err != nil {
		return err
	}
	if _, err := parseIndex(content); err != nil {
		return &Error{Text: f.path(name) + ": " + err.Error() + "; ezmlm-idx -f makes the index anew"}
	}
	end := 0
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "\t") {
			digits := len(line) - len(strings.TrimLeft(line, "0123456789"))
			if n, err := strconv.ParseUint(line[:digits], 10, 63); err != nil || n >= e.Number {
				break
			}
		}
		end += len(line)
	}
	kept := content[:end:end]
	if end > 0 && kept[end-1] != '\n' {
		kept = append(kept, '\n')
	}
	return f.replaceWith(name, dir+"/indexn", 0o744, e.append(kept))
}

// Reindex makes the index of the archive: all of it, or what is missing behind the last entry. The
// list is then archived and indexed.
func (f *Folder) Reindex(ctx context.Context, anew bool) error {
	lock, err := f.Lock(ctx, "lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	last, err := f.Messages()
	if err != nil {
		return err
	}
	prefix, _, err := f.Line("prefix")
	if err != nil {
		return err
	}
	for from := uint64(0); from <= last; from += 100 {
		if err := f.reindexFolder(from, min(from+99, last), decodeWords(prefix), anew); err != nil {
			return err
		}
	}
	for _, name := range []string{"archived", "indexed"} {
		if !f.has(name) {
			if err := f.replaceWith(name, name+"n", 0o644, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// reindexFolder makes the index of one folder of the archive.
func (f *Folder) reindexFolder(from, to uint64, prefix string, anew bool) error {
	_, dir := archived(from)
	if !f.has(dir) {
		return nil
	}
	var index []byte
	if !anew {
		entries, err := f.Index(from)
		if err != nil {
			return err
		}
		if index, _, err = f.read(dir+"/index", maxSetting); err != nil {
			return err
		}
		if n := len(entries); n > 0 {
			from = entries[n-1].Number + 1
		}
	}
	for n := max(from, 1); n <= to; n++ {
		m, found, err := f.Message(n)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		fields, _, err := readHeader(m)
		m.Close()
		if err != nil {
			return err
		}
		e := indexEntry(n, fields, prefix)
		index = e.append(index)
	}
	return f.replaceWith(dir+"/index", dir+"/indexn", 0o744, index)
}

// indexEntry returns the entry of a message of the archive.
func indexEntry(n uint64, fields []string, prefix string) IndexEntry {
	o := outgoing{number: n, fields: fields, rules: postRules{prefix: prefix}}
	o.parseFields()
	return o.indexEntry()
}
