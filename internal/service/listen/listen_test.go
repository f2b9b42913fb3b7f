package listen

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAPortInUseNamesWhoHoldsIt(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, control.RunFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = Bind(data, []Socket{{Name: "smtp", Address: l.Addr().String()}, {Name: "pop3", Address: "192.0.2.1:110"}}, nil, nil)
	if err == nil {
		t.Fatal("a port was bound twice")
	}
	for _, want := range []string{"smtp: " + l.Addr().String() + " is in use by process " + strconv.Itoa(os.Getpid()),
		"pop3: 192.0.2.1:110 is no address of this host"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %q", want, err)
		}
	}
}

func TestALongDataFolderHasItsSocketsToo(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.MkdirAll(filepath.Join(data, control.RunFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := Bind(data, []Socket{{Name: control.Supervisor, Admin: true}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c, err := control.Dial(context.Background(), data, control.Supervisor)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if st, err := os.Stat(control.SocketPath(data, control.Supervisor)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("have %v, %v", st, err)
	}
}

func TestEverySocketOfSystemdsIsListenedOn(t *testing.T) {
	t.Parallel()
	pass := func(name string) *os.File {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		named := os.NewFile(uintptr(fd), name)
		t.Cleanup(func() { named.Close() })
		return named
	}
	ask := []Socket{{Name: "smtp", Address: "127.0.0.1:0"}, {Name: "pop3", Address: "127.0.0.1:0"}}
	b, err := Bind(t.TempDir(), ask, nil, []*os.File{pass("smtp"), pass("smtp")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if n := len(b.Named("smtp")); n != 2 || len(b.Named("pop3")) != 1 {
		t.Errorf("have %d sockets for smtp, %v in all", n, b)
	}
	// The name that systemd gives where the unit has none.
	want := `systemd passed a socket with the name "postilion-smtp.socket": want FileDescriptorName= one of the services that listen: pop3, smtp`
	if _, err := Bind(t.TempDir(), ask, nil, []*os.File{pass("postilion-smtp.socket")}); err == nil || err.Error() != want {
		t.Errorf("have %v, want %s", err, want)
	}
}
