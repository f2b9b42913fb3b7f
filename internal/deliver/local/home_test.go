package local_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/runas"
	ourfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// oneself is a runas service that becomes nobody: files and programs are the test's own.
type oneself struct {
	root  ourfs.FS // where all homes are; nil is the host's tree
	trees func(home string) (ourfs.FS, error)
}

func (s *oneself) Files(_ context.Context, u runas.User) (ourfs.FS, error) {
	if s.trees != nil {
		return s.trees(u.Home)
	}
	return osfs.New(u.Home)
}

func (s *oneself) Hold(context.Context, runas.User, runas.Search) (*runas.Held, error) {
	return nil, errors.ErrUnsupported
}

func (s *oneself) SyncAll() error {
	if s.root != nil {
		return s.root.SyncAll()
	}
	return errors.ErrUnsupported
}

func (s *oneself) Search(ctx context.Context, u runas.User, q runas.Search) (found runas.Found, err error) {
	files, err := s.Files(ctx, u)
	if err != nil {
		return found, &iofs.PathError{Op: "chdir", Path: u.Home, Err: errors.Unwrap(err)}
	}
	info, err := files.Stat(".")
	if err != nil {
		return found, err
	}
	found.Home = info.Mode()
	for _, name := range q.Names {
		info, err := files.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		f, err := files.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			return found, &iofs.PathError{Op: "open", Path: name, Err: errors.Unwrap(err)}
		}
		found.Content, err = io.ReadAll(io.LimitReader(f, q.Limit))
		if err = errors.Join(err, f.Close()); err != nil {
			return found, err
		}
		found.Name, found.Mode, found.Size = name, info.Mode(), info.Size()
		break
	}
	for _, name := range q.Exist {
		_, err := files.Stat(name)
		found.Exist = append(found.Exist, err == nil)
	}
	return found, nil
}

func (s *oneself) Run(ctx context.Context, u runas.User, c runas.Command) (r runas.Result, err error) {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = u.Home, c.Env, c.Stdin
	r.Output, err = cmd.CombinedOutput()
	if len(r.Output) > c.MaxOutput {
		r.Output, r.Cut = r.Output[:c.MaxOutput], true
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
		r.Exit = exit.ExitCode()
		if st := exit.Sys().(syscall.WaitStatus); st.Signaled() {
			r.Signal = st.Signal().String()
		}
	}
	return r, err
}

// home is a world with one system user, joe.
type home struct {
	*local.Target
	t    *testing.T
	dir  string
	opts local.Options
	sent mail.Address
	uid  uint32 // of the user; 0 is one that nobody becomes
	name string // "" is joe
}

// newHome makes the user's home with files by name: a mode in octal and a blank before the content
// sets it.
func newHome(t *testing.T, o local.Options, files map[string]string) *home {
	t.Helper()
	h := &home{t: t, dir: t.TempDir(), opts: o, sent: mail.Address{Local: "sender", Domain: "a.test"}}
	if err := os.Chmod(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		h.write(name, content)
	}
	mailFolder, err := osfs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o.Maildir.Host = "mx"
	h.Target = local.New(o, local.Deps{
		FS: mailFolder, Barrier: &ourfs.Barrier{FS: mailFolder}, Directory: accounts{}, Clock: clock.NewFake(noon), Runas: &oneself{}, Spool: t.TempDir(),
	})
	return h
}

func (h *home) write(name, content string) {
	h.t.Helper()
	mode := os.FileMode(0o600)
	if len(content) > 4 && content[0] == '0' && content[4] == ' ' {
		fmt.Sscanf(content[:4], "%o", &mode)
		content = content[5:]
	}
	path := filepath.Join(h.dir, name)
	if strings.HasSuffix(name, "/") {
		for _, sub := range []string{"tmp", "new", "cur"} {
			if err := os.MkdirAll(filepath.Join(path, sub), 0o700); err != nil {
				h.t.Fatal(err)
			}
		}
		return
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		h.t.Fatal(err)
	}
}

const letter = "Subject: hello\n\nbody\n"

// to returns a job for joe's address with an extension; "" is joe alone.
func (h *home) to(ext, body string) *deliver.Job {
	u := &route.User{Name: cmp.Or(h.name, "joe"), UID: cmp.Or(h.uid, 4711), GID: cmp.Or(h.uid, 4711), Home: h.dir, Host: "mx.test"}
	if u.Local = u.Name; ext != "" {
		u.Dash, u.Ext, u.Local = "-", ext, u.Name+"-"+ext
	}
	j := job(body)
	j.Recipients = []deliver.Recipient{{To: mail.Address{Local: u.Local, Domain: u.Host}, From: h.sent, User: u}}
	return j
}

func (h *home) deliver(ext string) deliver.Verdict {
	h.t.Helper()
	return h.Deliver(h.t.Context(), h.to(ext, letter))[0]
}

func (h *home) read(name string) string {
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return string(b)
}

// mails returns what lies in a Maildir's new.
func (h *home) mails(dir string) (list []string) {
	paths, _ := filepath.Glob(filepath.Join(h.dir, dir, "new", "*"))
	for _, p := range paths {
		b, _ := os.ReadFile(p)
		list = append(list, string(b))
	}
	return list
}

func said(v deliver.Verdict) string {
	if v.Err == nil {
		return "K" + v.Text
	}
	return map[reason.Class]string{reason.Temporary: "Z", reason.Permanent: "D"}[v.Err.Class] + v.Text
}

func forwarded(v deliver.Verdict) string {
	if v.Forward == nil {
		return ""
	}
	var to []string
	for _, a := range v.Forward.To {
		to = append(to, a.String())
	}
	return v.Forward.From.String() + " > " + strings.Join(to, " ")
}

type seekable struct{ *strings.Reader }

func (seekable) Close() error { return nil }
