package maildir

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
)

// The lists of other servers that tell which POP3 ids their clients know, and ours,
// which has the form of Dovecot's. They are read, never written here.
const (
	dovecotList = "/dovecot-uidlist"
	ownList     = "/postilion-uidlist"
	courierList = "/courierpop3dsizelist"
)

// DovecotUIDL is Dovecot's default pop3_uidl_format.
const DovecotUIDL = "%08Xu%08Xv"

// Identify fills UIDL, and UID where a list tells, and orders the messages as
// their clients know them: by UID, then the rest by arrival.
//
// A message that dovecot-uidlist names has the id that Dovecot gave it: its P field,
// else format ("" is DovecotUIDL). Next come the P fields of our own list and the
// ids of Courier's. All others have the file name up to ":", as with qmail-pop3d;
// of files delivered here only the part before the host, which no other file shares.
// With format "name" the lists are left aside.
func (s *Store) Identify(mailbox string, list []Entry, format string) error {
	for i := range list {
		list[i].UIDL = nameUIDL(list[i].Unique)
	}
	if format == "name" || len(list) == 0 {
		return nil
	}
	format = cmp.Or(format, DovecotUIDL)
	at := index{list: list}
	for _, l := range []struct {
		file string
		read func(*index, io.Reader) error
	}{
		{courierList, (*index).readCourier},
		{ownList, func(x *index, r io.Reader) error { return x.readDovecot(r, "") }},
		{dovecotList, func(x *index, r io.Reader) error { return x.readDovecot(r, format) }},
	} {
		f, err := s.fs.OpenFile(mailbox+l.file, os.O_RDONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = errors.Join(l.read(&at, f), f.Close())
		if err != nil {
			return fmt.Errorf("%s%s: %w", mailbox, l.file, err)
		}
	}
	if at.uids {
		slices.SortFunc(list, func(a, b Entry) int {
			// Without a UID the 0 wraps round behind every UID.
			return cmp.Or(cmp.Compare(a.UID-1, b.UID-1), byArrival(a, b))
		})
	}
	return nil
}

// nameUIDL is the id of a message that no list names. Bytes that RFC 1939 7 does
// not allow are escaped.
func nameUIDL(unique string) string {
	if message, n, part, ok := parseStem(unique); ok {
		return strings.TrimSuffix(stem(message, n, part), ".")
	}
	if strings.ContainsFunc(unique, notInID) {
		q := strconv.QuoteToASCII(unique)
		return strings.ReplaceAll(q[1:len(q)-1], " ", `\x20`)
	}
	return unique
}

// MessageID returns the message that a file was delivered from here; zero for foreign files.
func (e *Entry) MessageID() id.ID {
	m, _, _, _ := parseStem(e.Unique)
	return m
}

// parseStem reads the part of a name that stem wrote.
func parseStem(unique string) (message id.ID, n, part int, ok bool) {
	sec, rest, ok := strings.Cut(unique, ".")
	if !ok || len(rest) < id.TextLen+2 || rest[id.TextLen] != 'R' {
		return message, 0, 0, false
	}
	message, err := id.Parse(rest[:id.TextLen])
	if err != nil {
		return id.ID{}, 0, 0, false
	}
	numbers, _, ok := strings.Cut(rest[id.TextLen+1:], ".")
	first, second, parts := strings.Cut(numbers, "P")
	n, err = strconv.Atoi(first)
	if err == nil && parts {
		part, err = strconv.Atoi(second)
	}
	if !ok || err != nil || n < 0 || part < 0 || !strings.HasPrefix(unique, stem(message, n, part)) || sec == "" {
		return id.ID{}, 0, 0, false
	}
	return message, n, part, true
}

// index finds messages by unique name while lists are read.
type index struct {
	list []Entry
	byID map[string]*Entry
	uids bool // some message has a UID
}

func (x *index) find(unique string) *Entry {
	if x.byID == nil {
		x.byID = make(map[string]*Entry, len(x.list))
		for i := range x.list {
			x.byID[x.list[i].Unique] = &x.list[i]
		}
	}
	return x.byID[unique]
}

// maxList bounds what is read of a list, in bytes: it may be a user's, who can make a file of any size without a disk for it. Two
// million messages take that much.
const maxList = 256 << 20

// maxListLine bounds a list's line in bytes; longer ones name no file that can exist.
const maxListLine = 8 << 10

// eachLine calls do with each line of a list, without its line end.
func eachLine(r io.Reader, do func(n int, line string)) error {
	br := bufio.NewReaderSize(io.LimitReader(r, maxList), maxListLine)
	for n, skip := 0, false; ; {
		line, err := br.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			skip = true
			continue
		}
		if len(line) > 0 && !skip && line[len(line)-1] == '\n' {
			do(n, strings.TrimSuffix(string(line[:len(line)-1]), "\r"))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n, skip = n+1, false
	}
}

// readDovecot reads Dovecot's uidlist, version 3 ("3 V<validity> N<next> G<guid>", then
// "<uid> [<key><value> …] :<file>") or 1 ("1 <validity> <next>", "<uid> <file>"). An empty
// format takes only the ids that the list spells out.
func (x *index) readDovecot(r io.Reader, format string) error {
	version, validity := "", uint64(0)
	return eachLine(r, func(n int, line string) {
		if n == 0 {
			words := strings.Fields(line)
			if len(words) < 2 {
				return
			}
			version = words[0]
			for i, w := range words[1:] {
				if version == "1" && i == 0 {
					validity, _ = strconv.ParseUint(w, 10, 32)
				} else if version == "3" && w[0] == 'V' {
					validity, _ = strconv.ParseUint(w[1:], 10, 32)
				}
			}
			return
		}
		first, rest, _ := strings.Cut(line, " ")
		uid, err := strconv.ParseUint(first, 10, 32)
		if err != nil || uid == 0 {
			return
		}
		fields, file := "", rest
		switch {
		case version == "3" && strings.HasPrefix(rest, ":"):
			file = rest[1:]
		case version == "3":
			var ok bool
			if fields, file, ok = strings.Cut(rest, " :"); !ok {
				return
			}
		case version != "1":
			return
		}
		if e := x.find(Unique(file)); e != nil {
			x.uids = true
			e.take(uint32(uid), uint32(validity), fields, format)
		}
	})
}

// take applies one line of a uidlist.
func (e *Entry) take(uid, validity uint32, fields, format string) {
	e.UID = uid
	if format != "" {
		e.know(formatUIDL(format, uid, validity, e.Unique))
	}
	for f := range strings.FieldsSeq(fields) {
		n, err := strconv.ParseInt(f[1:], 10, 64)
		size := err == nil && n >= 0
		switch {
		case f[0] == 'P':
			e.know(f[1:])
		case f[0] == 'S' && size && e.Size < 0:
			e.Size = n
		case f[0] == 'W' && size && e.Wire < 0:
			e.Wire = n
		}
	}
}

// know takes an id that clients know, unless no reply can carry it (RFC 1939 7).
func (e *Entry) know(uidl string) {
	if uidl != "" && !strings.ContainsFunc(uidl, notInID) {
		e.UIDL = uidl
	}
}

func notInID(r rune) bool { return r < 0x21 || r > 0x7e }

// formatUIDL expands Dovecot's pop3_uidl_format: %u UID, %v UIDVALIDITY, %f file name, the
// numbers with an optional width and X or x for hexadecimal.
func formatUIDL(format string, uid, validity uint32, unique string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		verb := "%"
		for i++; i < len(format) && format[i] >= '0' && format[i] <= '9' && len(verb) < 4; i++ {
			verb += format[i : i+1]
		}
		kind := "d"
		if i < len(format) && (format[i] == 'X' || format[i] == 'x') {
			kind = format[i : i+1]
			i++
		}
		if i >= len(format) {
			break
		}
		switch format[i] {
		case 'u':
			fmt.Fprintf(&b, verb+kind, uid)
		case 'v':
			fmt.Fprintf(&b, verb+kind, validity)
		case 'f':
			b.WriteString(unique)
		case '%':
			b.WriteByte('%')
		}
	}
	return b.String()
}

// readCourier reads courierpop3dsizelist: "/2 <next uid> <uidvalidity>", then
// "<file> <size on the wire> <uid>:<uidvalidity>". Courier's pop3d prints such ids as UID<uid>-<validity>.
func (x *index) readCourier(r io.Reader) error {
	return eachLine(r, func(n int, line string) {
		words := strings.Fields(line)
		if n == 0 || len(words) != 3 {
			return
		}
		e := x.find(Unique(words[0]))
		if e == nil {
			return
		}
		if size, err := strconv.ParseInt(words[1], 10, 64); err == nil && size >= 0 && e.Wire < 0 {
			e.Wire = size
		}
		uid, validity, _ := strings.Cut(words[2], ":")
		u, err1 := strconv.ParseUint(uid, 10, 64)
		v, err2 := strconv.ParseUint(validity, 10, 64)
		if err1 == nil && err2 == nil && v != 0 {
			e.know(fmt.Sprintf("UID%d-%d", u, v))
		}
	})
}
