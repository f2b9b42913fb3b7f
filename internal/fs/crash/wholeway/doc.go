// Package wholeway holds no program: its tests take messages the whole way, from an SMTP client's session over the queue
// to Maildirs, mailboxes of one file, programs, other hosts and bounces, on a disk that fails or loses power at each
// operation in turn. What the client was promised must come true, each time.
package wholeway
