package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The hop is the least that a mail server of two processes can be: a front that is the null sink but hands each
// message over a Unix socket to a keeper, which answers when the message is durable. It parses nothing, knows
// no queue and tells nobody. Messages that wait share a sync.

// hopRoom is the size of the keeper's file in bytes. Its blocks are written before and used in a circle.
const hopRoom = 64 << 20

// handOver is a session's way from the front to the keeper.
type handOver struct {
	net.Conn
	frame []byte // of the message at hand: its length, then its content
}

func dialKeeper(path string) (*handOver, error) {
	c, err := net.Dial("unix", path)
	return &handOver{Conn: c, frame: make([]byte, keptHead)}, err
}

// pool keeps the connections that no session uses.
type pool struct {
	mu   sync.Mutex
	idle []*handOver
}

// get returns a connection to path, nil when that is "".
func (p *pool) get(path string) (*handOver, error) {
	if path == "" {
		return nil, nil
	}
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		h := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return h, nil
	}
	p.mu.Unlock()
	return dialKeeper(path)
}

func (p *pool) put(h *handOver) {
	if h == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h.frame = h.frame[:keptHead]
	p.idle = append(p.idle, h)
}

// keptHead is the size of the length before a message, in bytes.
const keptHead = 4

// wait hands the message over and returns when it is durable.
func (h *handOver) wait() error {
	binary.BigEndian.PutUint32(h.frame, uint32(len(h.frame)-keptHead))
	if _, err := h.Write(h.frame); err != nil {
		return err
	}
	h.frame = h.frame[:keptHead]
	var answer [1]byte
	_, err := io.ReadFull(h, answer[:])
	return err
}

// keeper writes what comes at the same time with one sync.
type keeper struct {
	file  *os.File
	queue chan kept
}

// kept is a message that waits; done is told that it is durable.
type kept struct {
	content []byte
	done    chan error
}

// serveKeeper is the process: it ends with its standard input.
func serveKeeper(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "kept"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, hopRoom)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	l, err := net.Listen("unix", filepath.Join(dir, "keeper"))
	if err != nil {
		return err
	}
	defer l.Close()
	k := &keeper{f, make(chan kept, 256)}
	go k.write()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go k.serve(c)
		}
	}()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// serve takes the messages of one session of the front.
func (k *keeper) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 32<<10)
	m := kept{done: make(chan error, 1)}
	for {
		head, err := r.Peek(keptHead)
		if err != nil {
			return
		}
		size := int(binary.BigEndian.Uint32(head))
		r.Discard(keptHead)
		if m.content, err = r.Peek(size); err != nil {
			return
		}
		k.queue <- m
		if <-m.done != nil {
			return
		}
		r.Discard(size)
		if _, err := c.Write([]byte{'k'}); err != nil {
			return
		}
	}
}

// write makes messages durable.
func (k *keeper) write() {
	var block []byte
	var group []kept
	at := int64(0)
	for m := range k.queue {
		group, block = append(group[:0], m), append(block[:0], m.content...)
		for waiting := true; waiting && len(block) < 1<<20; {
			select {
			case m := <-k.queue:
				group, block = append(group, m), append(block, m.content...)
			default:
				waiting = false
			}
		}
		if at+int64(len(block)) > hopRoom {
			at = 0
		}
		_, err := k.file.WriteAt(block, at)
		err = errors.Join(err, unix.Fdatasync(int(k.file.Fd())))
		at += int64(len(block))
		for _, m := range group {
			m.done <- err
		}
	}
}

// hop is the two processes.
type hop struct {
	front  *sinkProcess
	keeper *exec.Cmd
	end    io.Closer // of the keeper's standard input
}

func startHop(dir string) (*hop, error) {
	cmd, in, out, err := startSelf("-keep", dir)
	if err != nil {
		return nil, err
	}
	h := &hop{keeper: cmd, end: in}
	var ready string
	if _, err = fmt.Fscanln(out, &ready); err == nil {
		h.front, err = startSink(filepath.Join(dir, "keeper"))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the keeper: %w", err), h.stop())
	}
	return h, nil
}

func (h *hop) usage() (usage, error) {
	front, err := h.front.usage()
	back, err2 := usageOf(h.keeper.Process.Pid)
	return usage{front.cpu + back.cpu, front.rss + back.rss}, errors.Join(err, err2)
}

func (h *hop) stop() error {
	var err error
	if h.front != nil {
		err = h.front.stop()
	}
	h.end.Close()
	return errors.Join(err, h.keeper.Wait())
}

// The floors beside which accepting is measured.
var (
	sinkTarget = target{"null sink", func(context.Context, string) (server, string, error) {
		s, err := startSink("")
		if err != nil {
			return nil, "", err
		}
		return s, s.addr, nil
	}}
	hopTarget = target{"two processes at least", func(_ context.Context, dir string) (server, string, error) {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, "", err
		}
		h, err := startHop(dir)
		if err != nil {
			return nil, "", err
		}
		return h, h.front.addr, nil
	}}
	syncTarget = target{"one sync", func(_ context.Context, dir string) (server, string, error) {
		return &syncer{dir}, "", os.Mkdir(dir, 0o755)
	}}
)

func (b *bench) floorTargets() []target { return []target{sinkTarget, hopTarget} }

// syncer stands for a server whose message is one sync.
type syncer struct{ dir string }

// measure syncs for a while.
func (s *syncer) measure() (figures, error) {
	rate, err := syncFloor(s.dir, 1, 200*time.Millisecond)
	return figures{rate: rate}, err
}

func (s *syncer) usage() (usage, error) { return usage{}, nil }
func (s *syncer) stop() error           { return nil }
