package inject

import (
	"os"
	"path/filepath"
	"strings"
)

// Variables that tell a program where the server is.
const (
	SocketVariable = "POSTILION_INJECT" // the socket's path
	DataVariable   = "POSTILION_DATA"   // the server's data folder
	RootVariable   = "POSTILION_ROOT"   // put before /etc, /run and /var: for tests and chroots
)

// SocketFile holds the socket's path in its first line, for servers whose data folder is not the
// default one. An operator writes it.
const SocketFile = "/etc/postilion/inject"

// places are where a socket is looked for without any hint.
var places = [...]string{"/run/postilion/inject.sock", "/var/lib/postilion/run/inject.sock"}

// Locate finds the server's socket: the variables first, then SocketFile, then the default places.
// Without any it returns the last place, where nobody will be found to listen.
func Locate(getenv func(string) string) string {
	if s := getenv(SocketVariable); s != "" {
		return s
	}
	if s := getenv(DataVariable); s != "" {
		return filepath.Join(s, "run", "inject.sock")
	}
	root := getenv(RootVariable)
	if p, err := os.ReadFile(root + SocketFile); err == nil {
		line, _, _ := strings.Cut(string(p), "\n")
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	for _, p := range places {
		if _, err := os.Stat(root + p); err == nil {
			return root + p
		}
	}
	return root + places[len(places)-1]
}
