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

// Forwards settles what sendmail and Postfix do for users without instructions of their own: the file in
// the system's mail folder, after the .forward in their home.
func (r *Report) Forwards(file string) {
	if s, ok := r.Get("local.default_delivery"); ok && s.Value != "spool" {
		if strings.HasPrefix(s.Value, "./") {
			r.Set(s.Key, "|dot-forward .forward\n"+s.Value, s.File, s.Line)
		}
		return
	}
	r.Set("local.default_delivery", "spool", file, 0)
	r.Note(At(file, 0, "users' .forward files"), NotCarried, "local.default_delivery",
		"read where a user's .qmail, or this key, has the line |dot-forward .forward, which needs a mailbox in the home behind it")
}
