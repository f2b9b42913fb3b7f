package main

import (
	"bufio"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

// inetd accepts one connection and starts a verb on it, as inetd does: the connection is its descriptor 0.
func inetd(t *testing.T, s *server, verb ...string) (client *bufio.ReadWriter, ended chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(e2etest.Patience))
	accepted, err := l.Accept()
	check(t, err)
	file, err := accepted.(*net.TCPConn).File()
	accepted.Close()
	check(t, err)
	cmd := exec.Command("postilion", append(verb, "--data", s.Data)...)
	cmd.Stdin, cmd.Stderr = file, &s.Log
	check(t, cmd.Start())
	file.Close()
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), ended
}

// says reads one line of the server.
func says(t *testing.T, c *bufio.ReadWriter, want string) {
	t.Helper()
	line, err := c.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, want) {
		t.Fatalf("have %q, %v, want %s", line, err, want)
	}
}

func TestConnectionsOfInetdAreServed(t *testing.T) {
	t.Parallel()
	s := quickstart(t, dataFolder(t), "--set", "process.single=true", "--set", "pop3.listen=")
	for _, c := range []struct {
		verb                  []string
		greeting, quit, reply string
	}{
		{[]string{"smtpd"}, "220 ", "QUIT\r\n", "221 "},
		{[]string{"smtpd", "--service", "submission"}, "220 ", "QUIT\r\n", "221 "},
		{[]string{"pop3d"}, "+OK ", "QUIT\r\n", "+OK "},
	} {
		client, ended := inetd(t, s, c.verb...)
		says(t, client, c.greeting)
		select {
		case err := <-ended:
			t.Fatalf("%q ended before its session: %v", c.verb, err)
		default:
		}
		client.WriteString(c.quit)
		client.Flush()
		says(t, client, c.reply)
		if err := <-ended; err != nil {
			t.Errorf("%q: %v", c.verb, err)
		}
	}
	client, ended := inetd(t, s, "smtpd", "--service", "nothing")
	if err := <-ended; err == nil || !strings.Contains(s.Log.String(), `there is no service "nothing"`) {
		t.Errorf("have %v", err)
	}
	if _, err := client.ReadString('\n'); err == nil {
		t.Error("somebody served it")
	}
	cmd := exec.Command("postilion", "smtpd", "--data", s.Data)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "descriptor 0 is no connection") {
		t.Errorf("have %v: %s", err, out)
	}
}

func TestTcpserverStartsSessions(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tcpserver"); err != nil {
		t.Skip("tcpserver is missing: install the package ucspi-tcp")
	}
	s := quickstart(t, dataFolder(t), "--set", "process.single=true")
	cmd := exec.Command("tcpserver", "-1", "-v", "-R", "-H", "-l0", "127.0.0.1", "0", "postilion", "smtpd", "--data", s.Data)
	out, err := cmd.StdoutPipe()
	check(t, err)
	cmd.Stderr = &s.Log
	check(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	port, err := bufio.NewReader(out).ReadString('\n')
	check(t, err)
	c, err := net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(port))
	check(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(e2etest.Patience))
	client := bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
	says(t, client, "220 ")
	client.WriteString("QUIT\r\n")
	client.Flush()
	says(t, client, "221 ")
	eventually(t, "tcpserver counts it", func() bool {
		return strings.Contains(s.Log.String(), "status 0") && strings.Contains(s.Log.String(), "status: 0/40")
	})
}
