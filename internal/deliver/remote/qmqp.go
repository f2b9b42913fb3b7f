package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/reason"
)

// A null client hands everything to one of its QMQP servers (qmail reference 15.2): they are tried in order,
// and the first that takes the connection decides.

const (
	qmqpPort    = 628
	qmqpConnect = 10 * time.Second
	qmqpTimeout = 60 * time.Second
)

// parseQMQP reads the servers' addresses, with a port or without.
func parseQMQP(list []string) (servers []netip.AddrPort, err error) {
	var errs []error
	for _, s := range list {
		a, err := netip.ParseAddrPort(s)
		if err != nil {
			ip, err := netip.ParseAddr(s)
			if err != nil {
				errs = append(errs, fmt.Errorf("qmqp_servers: %q: want an IP address, or address:port", s))
				continue
			}
			a = netip.AddrPortFrom(ip, qmqpPort)
		}
		servers = append(servers, a)
	}
	return servers, errors.Join(errs...)
}

// runQMQP gives every pending recipient its verdict, in a message for each reverse-path.
func (a *attempt) runQMQP(ctx context.Context) {
	for len(a.pending) > 0 {
		from := a.job.Recipients[a.pending[0]].From
		var who []int
		for _, i := range a.pending {
			if a.job.Recipients[i].From == from {
				who = append(who, i)
			}
		}
		v := a.sendQMQP(ctx, from, who)
		for _, i := range who {
			a.settle(i, v)
		}
	}
}

// sendQMQP hands the message to the first server that takes a connection.
func (a *attempt) sendQMQP(ctx context.Context, from mail.Address, who []int) deliver.Verdict {
	if a.job.Envelope.TLSOnly {
		return failure{err: reason.RequireTLS.With("QMQP", "it is in plain text")}.verdict()
	}
	var last error
	for _, server := range a.t.qmqp {
		within, cancel := context.WithTimeout(ctx, qmqpConnect)
		conn, err := a.t.deps.Dial(within, server)
		cancel()
		if ctx.Err() != nil {
			if conn != nil {
				conn.Close()
			}
			return failure{err: reason.AttemptInterrupted.Because(ctx.Err())}.verdict()
		}
		if err != nil {
			last = err
			continue
		}
		s := a.recorded(a.t.newSession(a.key, conn, &host{name: names.FormatLiteral(server.Addr())}, server))
		defer s.close()
		return s.qmqp(ctx, a, from, who)
	}
	return failure{err: reason.ConnectFailed.With("any QMQP server").Because(last)}.verdict()
}

// qmqp sends the message and reads the one answer.
func (s *session) qmqp(ctx context.Context, a *attempt, from mail.Address, who []int) deliver.Verdict {
	defer s.watch(ctx)()
	body, err := a.job.Body()
	if err != nil {
		return s.failed(reason.LocalError.Because(err), "").verdict()
	}
	defer body.Close()
	size := a.job.Envelope.Size
	inner := strconv.FormatInt(size, 10) + ":"
	tail := qmail.AppendNetstring([]byte{','}, from.String())
	for _, i := range who {
		tail = qmail.AppendNetstring(tail, a.to(i).String())
	}
	w := bufio.NewWriterSize(blocks{s}, 32<<10)
	w.WriteString(strconv.FormatInt(int64(len(inner)+len(tail))+size, 10) + ":" + inner)
	err = copyExactly(w, body, size)
	if err == nil {
		_, _ = w.Write(append(tail, ',')) // Flush tells
		err = w.Flush()
	}
	if err != nil {
		return s.failed(sendError(err, s.who()), "QMQP").verdict()
	}
	s.setSent(true)
	s.arm(qmqpTimeout)
	p, err := qmail.ReadNetstring(s.in, maxQMTPAnswer)
	if err == nil {
		var v deliver.Verdict
		if v, err = s.verdictQMTP(p); err == nil {
			return v
		}
	}
	return s.failed(reason.PossibleDuplicate.With(s.who()).Because(s.broken(err)), "QMQP").verdict()
}
