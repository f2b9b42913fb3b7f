// Package smtp is the wire syntax of SMTP and LMTP: commands, paths, replies, xtext,
// and the forms that a message's content takes between CRLF.CRLF and in BDAT chunks.
// Servers and clients share it. It does no I/O of its own and keeps no state that
// is not in a value of the caller.
//
// What it reads is judged by RFC 5321, 2920, 3030, 3461, 6531; what it writes never
// holds a bare CR or LF.
package smtp

// Limits of RFC 5321 4.5.3.1, in bytes. They bound what is taken from a peer.
const (
	MaxLocalPart    = 64   // 4.5.3.1.1
	MaxDomain       = 255  // 4.5.3.1.2
	MaxReverseLocal = 250  // of a reverse-path: what 4.5.3.1.3 leaves of its 256
	MaxCommandLine  = 2048 // 4.5.3.1.4 says 512; MAIL and RCPT with all extensions of this server stay below 2048
	MaxReplyLine    = 4096 // 4.5.3.1.5 says 512; longer ones are met
	MaxReplyLines   = 256  // lines of one reply that are kept
	MaxEnvID        = 100  // RFC 3461 4.4
	MaxORcpt        = 500  // RFC 3461 4.2

	MaxReply = 1 << 20 // one reply with all its lines
)

// Text makes s fit for the text of a reply or a Received comment: bytes outside printable
// ASCII become "?", and what is over most bytes is cut.
func Text(s string, most int) string {
	clean := len(s) <= most
	for i := 0; clean && i < len(s); i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f
	}
	if clean {
		return s
	}
	if len(s) > most {
		s = s[:most]
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c >= 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}
