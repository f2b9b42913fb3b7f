package maildir

import (
	"cmp"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/id"
)

// maxHost bounds the host's part of a file name, in bytes (qmail reference 10.1).
const maxHost = 64

// escapeHost returns the host as file names carry it: "/" and ":" escaped as in
// the Maildir specification, "," too since fields follow it.
func escapeHost(host string) string {
	host = cmp.Or(host, "localhost")
	host = host[:min(len(host), maxHost)]
	var b strings.Builder
	for i := range len(host) {
		switch c := host[i]; {
		case c == '/' || c == ':' || c == ',' || c <= ' ' || c == 0x7f:
			b.WriteString(`\0` + strconv.FormatUint(uint64(c)>>3, 8) + strconv.FormatUint(uint64(c)&7, 8))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// stem is the part of a delivery's file name that no other delivery has, with its
// final dot: <seconds>.<message>R<recipient number>, and P<part> for parts above 0.
func stem(message id.ID, n, part int) string {
	b := make([]byte, 0, 48)
	b = strconv.AppendInt(b, message.Time().Unix(), 10)
	b = append(b, '.')
	b = append(b, message.String()...)
	b = append(b, 'R')
	b = strconv.AppendInt(b, int64(n), 10)
	if part > 0 {
		b = strconv.AppendInt(append(b, 'P'), int64(part), 10)
	}
	return string(append(b, '.'))
}

// withSizes appends the sizes with LF and with CRLF line ends, Maildir++'s S= and Dovecot's W=.
func withSizes(name string, size, wire int64) string {
	b := make([]byte, 0, len(name)+32)
	b = append(b, name...)
	b = append(b, ",S="...)
	b = strconv.AppendInt(b, size, 10)
	b = append(b, ",W="...)
	return string(strconv.AppendInt(b, wire, 10))
}

// Unique returns the part of a file name that stays while flags change: up to ":".
func Unique(name string) string {
	unique, _, _ := strings.Cut(name, ":")
	return unique
}

// Flags returns the flags of a file name, sorted as stored; "" for none.
func Flags(name string) string {
	if i := strings.LastIndex(name, ":2,"); i >= 0 {
		flags, _, _ := strings.Cut(name[i+3:], ",")
		return flags
	}
	return ""
}

// withFlag returns the name with a flag added in ASCII order (qmail reference 10.2).
func withFlag(name string, flag byte) string {
	unique, flags := Unique(name), Flags(name)
	if strings.IndexByte(flags, flag) >= 0 {
		return name
	}
	i := 0
	for i < len(flags) && flags[i] < flag {
		i++
	}
	return unique + ":2," + flags[:i] + string(flag) + flags[i:]
}

// sizes reads S= and W= of a unique name; -1 stands for "not told".
func sizes(unique string) (size, wire int64) {
	size, wire = -1, -1
	for {
		i := strings.LastIndexByte(unique, ',')
		if i < 0 || i+3 > len(unique) || unique[i+2] != '=' {
			return size, wire
		}
		n, err := strconv.ParseUint(unique[i+3:], 10, 62)
		if err != nil {
			n = 1<<64 - 1 // not a size: as if it were not there
		}
		switch unique[i+1] {
		case 'S':
			size = int64(n)
		case 'W':
			wire = int64(n)
		}
		unique = unique[:i]
	}
}

// arrival returns the seconds and the rest's order of a name: messages are listed in the
// order of their arrival as the names tell it.
func arrival(unique string) int64 {
	i := 0
	for i < len(unique) && unique[i] >= '0' && unique[i] <= '9' {
		i++
	}
	sec, err := strconv.ParseInt(unique[:i], 10, 64)
	if err != nil {
		return 0
	}
	return sec
}

func byArrival(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Arrived, b.Arrived), strings.Compare(a.Unique, b.Unique))
}

// maxFolder bounds a folder's name on disk, in bytes.
const maxFolder = 200

var errFolderName = errors.New("not a folder's name: want parts of UTF-8 joined by dots, without slashes or control characters")

// FolderPath returns the folder's name on disk: "." with the name in modified UTF-7
// (RFC 3501 5.1.3), its levels separated by dots. "" and "INBOX" are the mailbox itself, "". The error says what a
// folder's name is.
func FolderPath(folder string) (string, error) {
	if folder == "" || strings.EqualFold(folder, "INBOX") {
		return "", nil
	}
	if !utf8.ValidString(folder) {
		return "", errFolderName
	}
	for part := range strings.SplitSeq(folder, ".") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }) {
			return "", errFolderName
		}
	}
	path := "." + encodeUTF7(folder)
	if len(path) > maxFolder {
		return "", errFolderName
	}
	return path, nil
}

var utf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

func encodeUTF7(s string) string {
	var b strings.Builder
	var wide []byte // UTF-16 of the run of characters that need encoding
	flush := func() {
		if len(wide) > 0 {
			b.WriteString("&" + utf7.EncodeToString(wide) + "-")
			wide = wide[:0]
		}
	}
	for _, r := range s {
		switch {
		case r == '&':
			flush()
			b.WriteString("&-")
		case r >= ' ' && r < 0x7f:
			flush()
			b.WriteRune(r)
		default:
			for _, u := range utf16.AppendRune(nil, r) {
				wide = append(wide, byte(u>>8), byte(u))
			}
		}
	}
	flush()
	return b.String()
}
