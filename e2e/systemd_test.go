package e2e

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestSystemdIsToldOfStartLifeAndStop(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		path := filepath.Join(newFolder(t), "notify")
		manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		check(t, err)
		defer manager.Close()
		o.env = []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=200000"}
		heard := func(want string) {
			t.Helper()
			buf := make([]byte, 1024)
			manager.SetReadDeadline(time.Now().Add(patience))
			for {
				n, err := manager.Read(buf)
				if err != nil {
					t.Fatalf("waiting for %s: %v", want, err)
				}
				if string(buf[:n]) == want {
					return
				}
			}
		}
		s := newServer(t, o)
		heard("READY=1")
		if c, err := dialSMTP(s.Addr["smtp"]); err != nil {
			t.Errorf("ready was told before the server answered: %v", err)
		} else {
			c.Quit()
		}
		heard("WATCHDOG=1")
		heard("WATCHDOG=1")
		s.Stop()
		heard("STOPPING=1")
	})
}
