package rpc

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Handler serves one method. It reads the caller's stream to its end before it
// returns if the method has one, and may Send a stream followed by CloseSend before. The
// reply it returns ends the call.
type Handler func(ctx context.Context, c *Conn, request []byte) (reply []byte, err error)

// Prompt serves gathered calls of one method without waiting for anything: it has the goroutine that reads the connection. answer
// takes the reply or the error, once, from any goroutine, and does not block. c and request are valid until Prompt returns.
type Prompt func(ctx context.Context, c *Conn, request []byte, answer func(reply []byte, err error))

// Server serves calls.
type Server struct {
	Handlers map[string]Handler
	// Prompts serve gathered calls in place of the Handlers of the same names.
	Prompts map[string]Prompt
	// Allow decides by uid who may call; nil allows every peer.
	Allow func(uid uint32) bool
	// Log is told of connections that ended otherwise than by the client; nil forgets.
	Log func(error)
}

// Serve accepts connections until ctx ends, then closes l and its connections and
// returns nil once all handlers have returned.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: others will be closed
			continue
		}
		wg.Go(func() {
			defer nc.Close()
			defer context.AfterFunc(ctx, func() { nc.Close() })()
			if err := s.serveConn(ctx, nc); err != nil && ctx.Err() == nil && s.Log != nil {
				s.Log(err)
			}
		})
	}
}

// ServeConn serves one connection until it or ctx ends, and closes it. Allow is not asked. The error is of a peer
// that keeps to no frames or breaks off; nil is a connection that was closed between two calls.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) error {
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	return s.serve(ctx, nc)
}

// Refuse tells a peer why its call is not served, without reading it. The caller closes the connection.
func Refuse(nc net.Conn, why error) error {
	p := encodeError(why)
	head := []byte{kindError, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[1:], uint32(len(p)))
	_, err := nc.Write(append(head, p...))
	return err
}

func (s *Server) serveConn(ctx context.Context, nc net.Conn) error {
	if s.Allow != nil {
		uid, err := PeerUID(nc)
		if err != nil {
			return err
		}
		if !s.Allow(uid) {
			return fmt.Errorf("rpc: uid %d may not use %s", uid, nc.LocalAddr())
		}
	}
	return s.serve(ctx, nc)
}

func (s *Server) serve(ctx context.Context, nc net.Conn) error {
	c := newConn(nc)
	if first, err := c.r.Peek(1); err == nil && first[0] == kindMemory {
		return s.share(ctx, c)
	}
	for {
		kind, p, err := c.readFrame()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if kind != kindCall {
			return fmt.Errorf("rpc: frame %q where a call was expected", kind)
		}
		if err := s.call(ctx, c, p); err != nil {
			return err
		}
	}
}

func (s *Server) call(ctx context.Context, c *Conn, p []byte) error {
	method, request, _ := cutNUL(p)
	h, ok := s.Handlers[method]
	if !ok {
		return fmt.Errorf("rpc: no method %q", method)
	}
	reply, err := h(ctx, c, append([]byte(nil), request...))
	if err != nil {
		// The caller may still be sending: the connection cannot be used again.
		c.writeFrame(kindError, encodeError(err))
		c.w.Flush()
		if errors.Is(err, errMidStream) {
			return err
		}
		return nil
	}
	for len(reply) > MaxFrame { // which Client.Call joins
		if err := c.writeFrame(kindData, reply[:MaxFrame]); err != nil {
			return err
		}
		reply = reply[MaxFrame:]
	}
	if err := c.writeFrame(kindReply, reply); err != nil {
		return err
	}
	return c.w.Flush()
}

func cutNUL(p []byte) (method string, rest []byte, ok bool) {
	for i, b := range p {
		if b == 0 {
			return string(p[:i]), p[i+1:], true
		}
	}
	return string(p), nil, false
}

// Handle serves a method whose request and reply are JSON.
func Handle[Req, Resp any](f func(ctx context.Context, req Req) (Resp, error)) Handler {
	return func(ctx context.Context, _ *Conn, request []byte) ([]byte, error) {
		var req Req
		if err := json.Unmarshal(request, &req); err != nil {
			return nil, err
		}
		resp, err := f(ctx, req)
		if err != nil {
			return nil, err
		}
		return json.Marshal(resp)
	}
}
