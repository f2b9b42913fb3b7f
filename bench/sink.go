package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

// sink is an SMTP server that answers as fast as it can and stores nothing. It is the
// floor of what the loopback, the load generator and Go allow, and the next hop of relay runs.
type sink struct {
	l        net.Listener
	keeper   string // the socket of the process that messages are handed to, see hop; "" for none
	keepers  pool   // connections to it
	messages atomic.Int64
}

func newSink(addr, keeper string) (*sink, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &sink{l: l, keeper: keeper}
	go s.serve()
	return s, nil
}

func (s *sink) addr() string { return s.l.Addr().String() }
func (s *sink) close()       { s.l.Close() }

func (s *sink) serve() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		go s.session(c)
	}
}

func (s *sink) session(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 32<<10)
	w := bufio.NewWriter(c)
	k, err := s.keepers.get(s.keeper)
	if err != nil {
		return
	}
	defer s.keepers.put(k)
	reply := func(text string) {
		w.WriteString(text + "\r\n")
		if r.Buffered() == 0 {
			w.Flush()
		}
	}
	reply("220 sink.example ESMTP")
	for {
		line, err := r.ReadSlice('\n')
		if err != nil || len(line) < 4 {
			return
		}
		switch string(bytes.ToUpper(line[:4])) {
		case "EHLO":
			reply("250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME")
		case "DATA":
			reply("354 go ahead")
			if err := readData(r, k); err != nil {
				return
			}
			if k != nil && k.wait() != nil {
				return
			}
			s.messages.Add(1)
			reply("250 ok")
		case "QUIT":
			reply("221 bye")
			w.Flush()
			return
		default:
			reply("250 ok")
		}
	}
}

// readData reads up to the line with a single dot, and adds the lines to what k hands over.
func readData(r *bufio.Reader, k *handOver) error {
	for whole := true; ; {
		line, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
		if whole && string(line) == ".\r\n" {
			return nil
		}
		whole = err == nil
		if k != nil {
			k.frame = append(k.frame, line...)
		}
	}
}

// wait returns when the sink has taken n messages, or an error after the time is over.
func (s *sink) wait(n int64, atMost time.Duration) error {
	for end := time.Now().Add(atMost); s.messages.Load() < n; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return io.ErrNoProgress
		}
	}
	return nil
}

// sinkProcess is a sink in a process of its own, so that its processor time can be told.
type sinkProcess struct {
	cmd  *exec.Cmd
	end  io.Closer // of its standard input
	addr string
}

// startSelf runs this program with other arguments. It ends when in, its standard input, is closed; out is its standard output.
func startSelf(args ...string) (cmd *exec.Cmd, in io.Closer, out io.Reader, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	cmd = exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	if in, err = cmd.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		return nil, nil, nil, err
	}
	return cmd, in, out, cmd.Start()
}

// startSink runs this program as a sink, or as the front of a keeper.
func startSink(keeper string) (*sinkProcess, error) {
	cmd, in, out, err := startSelf("-sink", "-keeper", keeper)
	if err != nil {
		return nil, err
	}
	p := &sinkProcess{cmd: cmd, end: in}
	if _, err := fmt.Fscanln(out, &p.addr); err != nil {
		return nil, errors.Join(fmt.Errorf("the null sink told no address: %w", err), p.stop())
	}
	return p, nil
}

func (p *sinkProcess) usage() (usage, error) { return usageOf(p.cmd.Process.Pid) }

func (p *sinkProcess) stop() error {
	p.end.Close()
	return p.cmd.Wait()
}

// serveSink is the process: it ends with its standard input.
func serveSink(keeper string) error {
	s, err := newSink("127.0.0.1:0", keeper)
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Println(s.addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
