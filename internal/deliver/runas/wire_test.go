package runas

import (
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/fs"
)

func requests() []request {
	u := User{Name: "joe", UID: 507, GID: 100, Home: "/home/joe"}
	return []request{
		{op: opOpen, user: u, path: "/home/joe/x", flag: syscall.O_RDWR | syscall.O_CREAT, perm: 0o600},
		{op: opMkdirAll, user: u, path: "/home/joe/Maildir/new", perm: 0o700},
		{op: opRename, user: u, path: "/a", path2: "/b\x00\xff"},
		{op: opStat, user: u, path: "/"},
		{op: opChtimes, user: u, path: "/x", atime: time.Unix(1, 2), mtime: time.Unix(-3, 4)},
		{op: opSearch, user: u, search: Search{Names: []string{".qmail", ""}, Exist: []string{".qmail-owner"}, Limit: 1 << 40, Settle: time.Second}},
		{op: opHold, user: u, search: Search{Names: []string{".qmail", ".qmaildefault"}, Exist: []string{".qmail-owner"}}},
		{op: opSearch, user: u, search: Search{Names: []string{".qmail"}, Exist: []string{}, Known: &Found{Home: 0o755, Name: ".qmail", Mode: 0o600, Size: 10, Content: []byte("./Maildir/"), Exist: []bool{false, true}},
			Make: "Maildir/tmp/x"}},
	}
}

func TestRequestsAndRepliesTravelWhole(t *testing.T) {
	t.Parallel()
	for _, want := range requests() {
		var w writer
		w.request(&want)
		have, err := (&reader{b: w.b}).request()
		if diff := cmp.Diff(want, have, cmp.AllowUnexported(request{})); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	for op, want := range map[opcode]reply{
		opOpen:    {file: -1, err: syscall.ENOSPC, dev: 1 << 40},
		opRename:  {file: -1, dev: 7, ino: 1 << 50},
		opStat:    {file: -1, stat: syscall.Stat_t{Uid: 507, Mode: 0o100600, Size: 1 << 50}},
		opChtimes: {file: 5}, // an operation that sends a file is told apart by that
		opSpace:   {file: -1, busy: true, space: fs.Space{TotalBytes: 1, FreeBytes: 2, TotalInodes: 3, FreeInodes: 4}},
		opSearch:  {file: -1, where: "x", found: Found{Home: fs.FileMode(0o700), Name: ".qmail", Mode: 0o600, Size: 3, Content: []byte("abc"), Exist: []bool{true, false}, Witness: "\x00\xff"}},
		opHold:    {file: 9, found: Found{Witness: "how it was"}},
	} {
		var w writer
		w.reply(op, &want)
		have, err := (&reader{b: w.b}).reply(op)
		want.sent, want.file = want.file >= 0, -1 // it follows the frame
		if diff := cmp.Diff(want, have, cmp.AllowUnexported(reply{})); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}

// FuzzReader reads what a role that was taken over might send to the process that has root.
func FuzzReader(f *testing.F) {
	for _, r := range requests() {
		var w writer
		w.request(&r)
		f.Add(w.b)
	}
	f.Add([]byte{byte(opSearch), 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if list, err := (&reader{b: frame}).requests(nil); err == nil && (len(list) < 1 || len(list) > maxTogether) {
			t.Errorf("%d requests in a frame", len(list))
		}
		r, err := (&reader{b: frame}).request()
		if err != nil {
			return
		}
		var w writer
		w.request(&r)
		again, err := (&reader{b: w.b}).request()
		if diff := cmp.Diff(r, again, cmp.AllowUnexported(request{})); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		for op := opOpen; op <= opHold; op++ {
			(&reader{b: frame}).reply(op)
		}
	})
}
