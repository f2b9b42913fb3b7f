// Package box holds the programs that make, fill, empty and watch mailboxes: maildirmake,
// maildir2mbox, maildirwatch, safecat and its maildir.
//
// What a program says it has stored is on disk when it says so: files and the folders that name
// them are synced.
package box

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "maildirmake", Short: "make a Maildir", Run: maildirmake},
		{Name: "maildir2mbox", Short: "move a Maildir's messages into an mbox", Run: maildir2mbox},
		{Name: "maildirwatch", Short: "show a Maildir's new mail on a terminal, again and again", Run: maildirwatch},
		{Name: "safecat", Short: "copy the input to a new file of its own, durably", Run: safecat},
		{Name: "maildir", Short: "copy the input into a Maildir, durably", Run: maildir},
	}
}

// maildirmake makes a Maildir, private to its owner. With -f it makes a Maildir++ folder within
// one, with -q it writes the quota of one.
func maildirmake(_ context.Context, e *tool.Env) int {
	opts, rest, ok := tool.GetOpt(e.Args[1:], "q:f:")
	if !ok || len(rest) < 1 {
		return e.UsageError("[ -q quota ] [ -f folder ] name")
	}
	name, quota, folder := rest[0], "", false
	for _, o := range opts {
		switch o.Name {
		case 'q':
			quota = o.Value
		case 'f':
			if o.Value == "" || strings.ContainsAny(o.Value, "/\x00") || strings.Contains("."+o.Value+".", "..") {
				return e.Fatal(tool.Permanent, "not a folder's name: ", o.Value)
			}
			name, folder = name+"/."+o.Value, true
		}
	}
	if quota != "" {
		return writeQuota(e, name, quota)
	}
	if err := os.Mkdir(e.Path(name), 0o700); err != nil {
		return e.Fatal(tool.Temporary, "unable to mkdir ", name, ": ", err)
	}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.Mkdir(e.Path(name+"/"+sub), 0o700); err != nil {
			return e.Fatal(tool.Temporary, "unable to mkdir ", name, "/", sub, ": ", err)
		}
	}
	if folder {
		if err := os.WriteFile(e.Path(name+"/maildirfolder"), nil, 0o600); err != nil {
			return e.Fatal(tool.Temporary, "unable to create ", name, "/maildirfolder: ", err)
		}
	}
	return tool.OK
}

// writeQuota begins a new maildirsize with the quota given, such as "10000000S,1000C"
// (Maildir++; qmail reference 19.2). Its sums are counted at the next delivery.
func writeQuota(e *tool.Env, name, quota string) int {
	for part := range strings.SplitSeq(quota, ",") {
		if _, unit := tool.ScanUint(part); part == "" || part[0] < '0' || part[0] > '9' || (unit != "S" && unit != "C") {
			return e.Fatal(tool.Permanent, "not a quota: ", part, ": want a number and S (bytes) or C (messages)")
		}
	}
	if st, err := os.Stat(e.Path(name + "/cur")); err != nil || !st.IsDir() {
		return e.Fatal(tool.Temporary, "unable to set a quota: ", name, " is no Maildir")
	}
	tmp := name + "/tmp/maildirsize." + e.Time().UTC().Format("20060102150405")
	err := os.WriteFile(e.Path(tmp), []byte(quota+"\n"), 0o600)
	if err == nil {
		err = os.Rename(e.Path(tmp), e.Path(name+"/maildirsize"))
	}
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to write ", name, "/maildirsize: ", err)
	}
	return tool.OK
}

// Message is one file of a Maildir, its name with the folder new/ or cur/ before it.
type Message struct {
	Name     string
	Modified time.Time
}

// Scan returns the messages of a Maildir's folders, oldest first. One that was written within
// the present second is left for the next time: another of the same second may still come, and
// their order must not change (qmail reference 16.1).
func Scan(dir string, now time.Time, folders ...string) ([]Message, error) {
	var list []Message
	for _, folder := range folders {
		d, err := os.ReadDir(dir + "/" + folder)
		if err != nil {
			return nil, &fs.PathError{Op: "scan", Path: folder, Err: errors.Unwrap(err)}
		}
		for _, f := range d {
			if f.Name()[0] == '.' {
				continue
			}
			st, err := os.Stat(dir + "/" + folder + "/" + f.Name())
			if err == nil && st.ModTime().Unix() < now.Unix() {
				list = append(list, Message{folder + "/" + f.Name(), st.ModTime()})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Message) int {
		return cmp.Or(cmp.Compare(a.Modified.Unix(), b.Modified.Unix()), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

// Clean removes what deliveries left in tmp/ more than 36 hours ago.
func Clean(dir string, now time.Time) {
	d, err := os.ReadDir(dir + "/tmp")
	if err != nil {
		return
	}
	for _, f := range d {
		name := dir + "/tmp/" + f.Name()
		if f.Name()[0] == '.' {
			continue
		}
		if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() && now.Sub(accessed(st)) > 36*time.Hour {
			_ = os.Remove(name) // it will be tried again
		}
	}
}

// copySynced copies to a file, syncs and closes it. The bool says whether reading failed.
func copySynced(f *os.File, in io.Reader) (reading bool, err error) {
	r := &failedReader{Reader: in}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return r.failed, err
}

// failedReader remembers that reading failed.
type failedReader struct {
	io.Reader
	failed bool
}

func (r *failedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.failed = true
	}
	return n, err
}
