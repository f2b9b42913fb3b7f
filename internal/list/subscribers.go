package list

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// Table is a set of addresses: the subscribers of a list, of its digest, or those of allow, deny
// and mod. Each lies in one of 53 files, named @ to t by a hash of the address; where systems
// disagree about the hash (the width of a C long, the sign of a char, the case of old lists) all
// files that it may lie in are looked at, and a new one goes where 64-bit systems look.
type Table struct {
	list *Folder
	name string // of its folder within the list's: "." for the list's own
}

// buckets is the number of files.
const buckets = 53

// Name is how programs name the table: "." for the list's own.
func (t *Table) Name() string { return t.name }

func (t *Table) file(name string) string {
	if t.name == "." {
		return name
	}
	return t.name + "/" + name
}

func (t *Table) bucket(c byte) string { return t.file("subscribers/" + string(rune(c))) }

// bucketOf is ezmlm's hash of an entry, in unsigned integers of 64 or 32 bits, with bytes above
// 0x7f taken as negative or not.
func bucketOf(entry string, wide, signed bool) byte {
	h := uint64(5381)
	for i := range len(entry) {
		c := uint64(entry[i])
		if signed && c >= 0x80 {
			c |= 0xffffff00
		}
		h = (h + h<<5) ^ c
		if !wide {
			h &= 0xffffffff
		}
	}
	return byte('@' + h%buckets)
}

// candidates returns the files that an address may lie in; it belongs into the first.
func candidates(address string) (files []byte) {
	address = lowerHost(address)
	for _, entry := range []string{"T" + lowerASCII(address), "T" + address} {
		for _, wide := range []bool{true, false} {
			for _, signed := range []bool{true, false} {
				if c := bucketOf(entry, wide, signed); !slices.Contains(files, c) {
					files = append(files, c)
				}
			}
		}
	}
	return files
}

// scan calls each with every address of one file, until it says false.
func (t *Table) scan(bucket string, each func(address string) bool) error {
	file, err := t.list.fs.OpenFile(bucket, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return t.list.failed("read", bucket, err)
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 4096)
	for n := 1; ; n++ {
		entry, err := r.ReadSlice(0)
		switch {
		case err == io.EOF && len(entry) == 0:
			return nil
		case err == io.EOF:
			return broken("%s: entry %d does not end in a zero byte", t.list.path(bucket), n)
		case errors.Is(err, bufio.ErrBufferFull), err == nil && len(entry) > MaxAddress+2:
			return broken("%s: entry %d is longer than an address of %d bytes", t.list.path(bucket), n, MaxAddress)
		case err != nil:
			return t.list.failed("read", bucket, err)
		case entry[0] != 'T':
			return broken("%s: entry %d does not begin with T", t.list.path(bucket), n)
		}
		if !each(string(entry[1 : len(entry)-1])) {
			return nil
		}
	}
}

// Find reports whether an address is in the table, and how it is written there. Letters' case is ignored.
func (t *Table) Find(address string) (stored string, found bool, err error) {
	if strings.LastIndexByte(address, '@') < 0 {
		return "", false, nil
	}
	want := lowerASCII(address)
	for _, c := range candidates(address) {
		err := t.scan(t.bucket(c), func(have string) bool {
			if lowerASCII(have) == want {
				stored, found = have, true
			}
			return !found
		})
		if found || err != nil {
			return stored, found, err
		}
	}
	return "", false, nil
}

// FindSender is Find for who may post: an entry "@host" stands for all senders of that host.
func (t *Table) FindSender(address string) (bool, error) {
	_, found, err := t.Find(address)
	if i := strings.LastIndexByte(address, '@'); err == nil && !found && i > 0 {
		_, found, err = t.Find(address[i:])
	}
	return found, err
}

// All returns every address, in the order of the files.
func (t *Table) All() (addresses []string, err error) {
	for i := range byte(buckets) {
		err := t.scan(t.bucket('@'+i), func(have string) bool {
			addresses = append(addresses, have)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return addresses, nil
}

// Add puts an address in, and tells whether it was not there before. Event and comment go to the
// log: "+" by the subscriber, "+mod" by a moderator, "+manual" by the owner. An address that no entry can be is an
// error.
func (t *Table) Add(ctx context.Context, address, event, comment string) (added bool, err error) {
	return t.change(ctx, address, event, comment, true)
}

// Remove takes an address out, and tells whether it was there. An address that no entry can be is an error.
func (t *Table) Remove(ctx context.Context, address, event string) (removed bool, err error) {
	return t.change(ctx, address, event, "", false)
}

func (t *Table) change(ctx context.Context, address, event, comment string, add bool) (changed bool, err error) {
	if err := t.checkEntry(address); err != nil {
		return false, err
	}
	address = lowerHost(address)
	if add {
		if err := t.list.mkdir(t.file("subscribers")); err != nil {
			return false, err
		}
	}
	lock, err := t.list.Lock(ctx, t.file("lock"))
	if err != nil {
		return false, err
	}
	if add {
		changed, err = t.add(address)
	} else {
		changed, err = t.remove(address)
	}
	lock.Close()
	if changed && err == nil {
		t.log(event, address, comment)
	}
	return changed, err
}

// checkEntry is CheckAddress, with "@host" allowed where it means a host's senders.
func (t *Table) checkEntry(address string) error {
	if (t.name == "allow" || t.name == "deny") && strings.HasPrefix(address, "@") {
		return CheckAddress("x" + address[:min(len(address), MaxAddress)])
	}
	return CheckAddress(address)
}

func (t *Table) add(address string) (bool, error) {
	if _, found, err := t.Find(address); found || err != nil {
		return false, err
	}
	return true, t.rewrite(candidates(address)[0], func(kept []byte) []byte {
		return append(append(append(kept, 'T'), address...), 0)
	}, "")
}

func (t *Table) remove(address string) (removed bool, err error) {
	want := lowerASCII(address)
	for _, c := range candidates(address) {
		there := false
		err := t.scan(t.bucket(c), func(have string) bool {
			there = lowerASCII(have) == want
			return !there
		})
		if err == nil && there {
			err = t.rewrite(c, nil, want)
		}
		if err != nil {
			return removed, err
		}
		removed = removed || there
	}
	return removed, nil
}

// rewrite replaces one file: by its entries without that one, and what more adds.
func (t *Table) rewrite(c byte, more func([]byte) []byte, without string) error {
	var kept []byte
	err := t.scan(t.bucket(c), func(have string) bool {
		if without == "" || lowerASCII(have) != without {
			kept = append(append(append(kept, 'T'), have...), 0)
		}
		return true
	})
	if err != nil {
		return err
	}
	if more != nil {
		kept = more(kept)
	}
	return t.list.replaceWith(t.bucket(c), t.bucket(c)+"n", 0o644, kept)
}

// log adds a line to the table's Log, which is for people: nothing is read back from it but by
// the command log, and a line that cannot be written is no failure.
func (t *Table) log(event, address, comment string) {
	line := strconv.AppendInt(nil, t.list.Now().Unix(), 10)
	line = append(append(append(line, ' '), event...), ' ')
	for i := range len(address) {
		line = append(line, visible(address[i], '!'))
	}
	if comment != "" {
		line = append(line, ' ')
		for i := range min(len(comment), 1000) {
			line = append(line, visible(comment[i], ' '))
		}
	}
	file, err := t.list.fs.OpenFile(t.file("Log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	file.Write(append(line, '\n'))
	file.Close()
}

// visible is c, a tab as a blank, and everything else that is not between least and "~" as "?".
func visible(c, least byte) byte {
	switch {
	case c == '\t' && least == ' ':
		return ' '
	case c < least || c > '~':
		return '?'
	}
	return c
}

// SearchLog returns the log's lines that hold the pattern, their times written out; all of them
// without one. In a pattern everything but letters, digits and "." stands for any character.
func (t *Table) SearchLog(pattern string, each func(line string)) error {
	file, err := t.list.fs.OpenFile(t.file("Log"), os.O_RDONLY, 0)
	if err != nil {
		return t.list.failed("read", t.file("Log"), err)
	}
	defer file.Close()
	want := []byte(lowerASCII(pattern))
	for i, c := range want {
		if c != '.' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			want[i] = '_'
		}
	}
	r := bufio.NewReaderSize(file, 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		if err == nil && matches(bytes.ToLower(line[:len(line)-1]), want) {
			when, rest, _ := strings.Cut(string(line[:len(line)-1]), " ")
			sec, _ := strconv.ParseInt(when, 10, 64)
			each(time.Unix(sec, 0).UTC().Format("2 Jan 2006 15:04:05 -0000") + ": " + when + " " + rest)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return t.list.failed("read", t.file("Log"), err)
		}
	}
}

func matches(line, want []byte) bool {
	for i := 0; i+len(want) <= len(line); i++ {
		ok := true
		for j, c := range want {
			ok = ok && (c == '_' || c == line[i+j])
		}
		if ok {
			return true
		}
	}
	return false
}
