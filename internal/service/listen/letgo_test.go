package listen

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// polled lists the descriptors that this process's poller knows (epoll in proc(5)).
func polled(t *testing.T) string {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(fds) == 0 {
		t.Skip("there is no /proc to look into")
	}
	var all strings.Builder
	for _, fd := range fds {
		if target, _ := os.Readlink(fd); strings.Contains(target, "eventpoll") {
			info, err := os.ReadFile("/proc/self/fdinfo/" + filepath.Base(fd))
			if err != nil {
				t.Fatal(err)
			}
			all.Write(info)
		}
	}
	return all.String()
}

func TestASocketOfARoleDoesNotWakeTheSupervisor(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := LetGo(l)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if list := polled(t); list == "" || strings.Contains(list, fmt.Sprintf("tfd: %8d ", f.Fd())) {
		t.Errorf("the poller knows descriptor %d:\n%s", f.Fd(), list)
	}
	role, err := net.FileListener(f) // as its process does
	if err != nil {
		t.Fatal(err)
	}
	defer role.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := role.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
