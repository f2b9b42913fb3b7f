// Package supervise is the format in which daemontools' supervise tells of a service and
// takes commands for it: DIR/supervise/status and DIR/supervise/control (qmail reference
// 21.1 to 21.3). It does no I/O; what is read here may have been written by anybody.
package supervise

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/postilion/postilion/internal/qmail"
)

// The names below a service's folder.
const (
	Folder  = "supervise" // mode 0700
	Lock    = "lock"      // held while the service is supervised
	Control = "control"   // FIFO: commands, one byte each
	OK      = "ok"        // FIFO: somebody reads it while the service is supervised
	File    = "status"    // replaced by renaming NewFile
	NewFile = "status.new"
	Down    = "down" // in the service's folder itself: it is normally down
)

// Command is one byte written to Control.
type Command byte

// The commands of svc(8).
const (
	Up        Command = 'u' // start it, and again whenever it ends
	Stop      Command = 'd' // TERM and CONT; it does not come back
	Once      Command = 'o' // start it, and not again
	Pause     Command = 'p' // STOP
	Continue  Command = 'c' // CONT
	Hangup    Command = 'h' // HUP
	Alarm     Command = 'a' // ALRM
	Interrupt Command = 'i' // INT
	Terminate Command = 't' // TERM
	Kill      Command = 'k' // KILL
	Exit      Command = 'x' // supervise itself ends once the service is down
)

// Size is the length of a status in bytes.
const Size = 18

// Status is what supervise tells of its service.
type Status struct {
	Since  time.Time // of the last start or end
	PID    int       // 0: down
	Paused bool
	Want   byte // 'u', 'd', or 0 for as it is
}

// Append appends the status in its 18 bytes.
func (s Status) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.Since.Unix())+qmail.TAIOffset)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Since.Nanosecond()))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.PID))
	paused := byte(0)
	if s.Paused {
		paused = 1
	}
	return append(b, paused, s.Want)
}

// Parse reads a status. The error says what was expected.
func Parse(p []byte) (Status, error) {
	if len(p) != Size {
		return Status{}, fmt.Errorf("status of %d bytes: want %d", len(p), Size)
	}
	sec := int64(binary.BigEndian.Uint64(p) - qmail.TAIOffset)
	nsec := binary.BigEndian.Uint32(p[8:])
	if nsec >= 1e9 {
		return Status{}, fmt.Errorf("status of %d nanoseconds: want less than a second", nsec)
	}
	s := Status{Since: time.Unix(sec, int64(nsec)).UTC(), PID: int(binary.LittleEndian.Uint32(p[12:])),
		Paused: p[16] != 0, Want: p[17]}
	return s, nil
}

// Text is what svstat(8) prints behind "DIR: " for a service that is supervised.
// normallyDown tells that the service's folder has a file "down".
func (s Status) Text(now time.Time, normallyDown bool) string {
	seconds := strconv.FormatInt(max(0, int64(now.Sub(s.Since)/time.Second)), 10) + " seconds"
	if s.PID == 0 {
		text := "down " + seconds
		if !normallyDown {
			text += ", normally up"
		}
		if s.Want == byte(Up) {
			text += ", want up"
		}
		return text
	}
	text := "up (pid " + strconv.Itoa(s.PID) + ") " + seconds
	if normallyDown {
		text += ", normally down"
	}
	if s.Paused {
		text += ", paused"
	}
	if s.Want == byte(Stop) {
		text += ", want down"
	}
	return text
}
