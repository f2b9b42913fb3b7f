package migrate

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/netx/names"
)

// HostName sets the key host, where the settings leave it to the system, from the host's own files.
// A name without a domain is none that other hosts would take.
func (r *Report) HostName(root string) {
	if _, ok := r.Get("host"); ok {
		return
	}
	for _, name := range []string{"/etc/mailname", "/etc/hostname"} {
		path := filepath.Join("/", root, name)
		text, err := os.ReadFile(path)
		if err != nil || len(text) > 1024 {
			continue
		}
		host, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		if _, err := names.Domain(host); err == nil && strings.Contains(host, ".") {
			r.Set("host", host, path, 1)
			r.Taken(At(path, 1, host), "host")
			return
		}
	}
}

// Forwards settles what sendmail and Postfix do for users without instructions of their own: first comes the
// .forward in their home, then the program or mailbox of the configuration, or the file in the system's mail
// folder. tools is where the small programs are on the host; "" leaves dot-forward to be found by its name.
func (r *Report) Forwards(file, tools string) {
	const key = "local.default_delivery"
	s, ok := r.Get(key)
	if !ok {
		s = Setting{Key: key, Value: "spool", File: file}
	}
	if s.Value == "procmail" || s.Value == "maildrop" {
		s.Value = "|preline " + s.Value
	}
	program := "dot-forward"
	if tools != "" && strings.Trim(tools, plainPath) == "" {
		program = tools + " " + program
	}
	r.Set(key, "|"+program+" .forward\n"+s.Value, s.File, s.Line)
	r.Note(At(file, 0, "users' .forward files"), Differs, key,
		"a program looks for them at each delivery: take its line out where nobody has one; a file or an :include: in a .forward holds its user's mail")
}

// plainPath are the characters that no shell minds.
const plainPath = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
