package netx

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// PortHolder finds who listens on the address's port, through /proc (proc(5)). Both are ""
// when it cannot be told.
func PortHolder(addr string) (pid, name string) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", ""
	}
	inodes := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		p, _ := os.ReadFile(file)
		for line := range strings.Lines(string(p)) {
			f := strings.Fields(line)
			// local address, state 0A (LISTEN), inode
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", atoi(port))) {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return "", ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && inodes[target] {
			pid = strings.Split(fd, "/")[2]
			comm, _ := os.ReadFile("/proc/" + pid + "/comm")
			return pid, strings.TrimSpace(string(comm))
		}
	}
	return "", ""
}

func atoi(s string) (n int) {
	fmt.Sscanf(s, "%d", &n)
	return n
}
