package serve

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/id"
)

// Table lists the connections of all servers that share it and counts them by
// client. Its zero value is ready. It is safe for concurrent use.
type Table struct {
	mu      sync.Mutex
	entries map[*entry]struct{}
	clients map[origin]int // connections now
	recent  map[origin]int // connections in the running minute
	minute  int64
}

// entry is a connection's row in the table of connections.
type entry struct {
	conn   *Conn
	client origin
	login  atomic.Pointer[login]
	state  atomic.Pointer[string]
}

// login is who logged in.
type login struct {
	account uint64
	address string
}

// Connection is a row of the table of connections.
type Connection struct {
	ID       id.ID          `json:"id"`
	Listener string         `json:"listener"`
	Client   netip.AddrPort `json:"client"`
	Started  time.Time      `json:"started"`
	Account  string         `json:"account,omitempty"` // its address
	// AccountID is the account's id; 0 before a login.
	AccountID uint64 `json:"-"`
	State     string `json:"state,omitempty"`
}

// origin is who limits are counted for, at one listener.
type origin struct {
	listener string
	net      netip.Prefix
}

// originOf is what counts as one client: an IPv4 address, or an IPv6 /64, which is
// what one customer is given.
func originOf(listener string, a netip.Addr) origin {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return origin{listener, p}
}

// List returns the connections, oldest first.
func (t *Table) List() []Connection {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Connection, 0, len(t.entries))
	for e := range t.entries {
		list = append(list, e.row())
	}
	slices.SortFunc(list, func(a, b Connection) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return list
}

// Len returns the number of connections.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries)
}

// row is what is told of a connection.
func (e *entry) row() Connection {
	c := Connection{ID: e.conn.ID, Listener: e.conn.Listener, Client: e.conn.Client, Started: e.conn.Started}
	if p := e.login.Load(); p != nil {
		c.Account, c.AccountID = p.address, p.account
	}
	if p := e.state.Load(); p != nil {
		c.State = *p
	}
	return c
}

// Close ends the connections that match and returns how many there were.
func (t *Table) Close(match func(Connection) bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for e := range t.entries {
		if match(e.row()) {
			e.conn.abort()
			n++
		}
	}
	return n
}

// enter adds a connection unless a limit of o is reached; then why tells which.
func (t *Table) enter(c *Conn, o *Options, here *atomic.Int64, now time.Time) (e *entry, why string) {
	from := originOf(c.Listener, c.Client.Addr())
	exempt := o.exempt(c.Client.Addr())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entries == nil {
		t.entries = map[*entry]struct{}{}
		t.clients = map[origin]int{}
	}
	if m := now.Unix() / 60; m != t.minute || t.recent == nil {
		t.minute, t.recent = m, map[origin]int{}
	}
	if !exempt && o.ConnectionRate > 0 {
		t.recent[from]++
	}
	switch {
	case here.Load() >= int64(o.maxConnections()):
		return nil, OverAll
	case exempt:
	case t.clients[from] >= o.maxPerClient():
		return nil, OverClient
	case o.ConnectionRate > 0 && t.recent[from] > o.ConnectionRate:
		return nil, OverRate
	}
	e = &entry{conn: c, client: from}
	t.entries[e] = struct{}{}
	t.clients[from]++
	here.Add(1)
	return e, ""
}

func (t *Table) leave(e *entry, here *atomic.Int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, e)
	if t.clients[e.client]--; t.clients[e.client] == 0 {
		delete(t.clients, e.client)
	}
	here.Add(-1)
}
