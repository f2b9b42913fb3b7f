package listen

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// Sockets that systemd has bound (sd_listen_fds(3)) are its own: they stay open in it while the server is down. It
// passes them to the process that it starts, once; when the server restarts by becoming its successor, it passes them on itself.

// envSockets names the sockets that the process before the restart has left: the pid, then NAME=DESCRIPTOR for each.
const envSockets = "POSTILION_SOCKETS"

// Passed returns what systemd, or the process before the restart, has passed.
func Passed() []*os.File {
	files := activation.Files(true)
	list := strings.Fields(os.Getenv(envSockets))
	os.Unsetenv(envSockets)
	if len(list) == 0 || list[0] != strconv.Itoa(os.Getpid()) { // another's
		return files
	}
	for _, s := range list[1:] {
		name, number, _ := strings.Cut(s, "=")
		if fd, err := strconv.Atoi(number); err == nil {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), name))
		}
	}
	return files
}

// passedListeners makes listeners of what was passed, by name. The error tells of a socket that nothing listens
// on, whose clients would wait for ever.
func passedListeners(files []*os.File, sockets []Socket) (map[string][]net.Listener, error) {
	services := map[string]bool{}
	for _, s := range sockets {
		if !s.Unix() {
			services[s.Name] = true
		}
	}
	listeners := map[string][]net.Listener{}
	for _, f := range files {
		if !services[f.Name()] {
			return nil, fmt.Errorf("systemd passed a socket with the name %q: want FileDescriptorName= one of the services that listen: %s",
				f.Name(), strings.Join(slices.Sorted(maps.Keys(services)), ", "))
		}
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("systemd passed a socket with the name %q that no client can connect to: %w", f.Name(), err)
		}
		listeners[f.Name()] = append(listeners[f.Name()], l)
	}
	return listeners, nil
}

// HandOn leaves systemd's sockets to the program that this process becomes by its next exec.
func HandOn(passed []*os.File) error {
	list := []string{strconv.Itoa(os.Getpid())}
	for _, f := range passed {
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		number := -1
		if err := raw.Control(func(fd uintptr) {
			if copied, err := syscall.Dup(int(fd)); err == nil { // without the flag that closes it
				number = copied
			}
		}); err != nil {
			return err
		}
		list = append(list, f.Name()+"="+strconv.Itoa(number))
	}
	if len(list) == 1 {
		return nil
	}
	return os.Setenv(envSockets, strings.Join(list, " "))
}
