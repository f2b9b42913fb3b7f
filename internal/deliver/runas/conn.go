package runas

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// Frames on connections that the runtime waits on: of calls that take milliseconds or hours.

func decode(frame []byte, v any) error { return json.Unmarshal(frame, v) }

func sendConn(u *net.UnixConn, v any, file int) error {
	p, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(p) > maxFrame {
		return fmt.Errorf("%w: %d bytes", errFrame, len(p))
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
	var oob []byte
	if file >= 0 {
		oob = unix.UnixRights(file)
	}
	n, _, err := u.WriteMsgUnix(frame, oob, nil)
	if err == nil && n < len(frame) {
		_, err = u.Write(frame[n:])
	}
	return err
}

// receiveConn returns the next frame and its descriptor or -1.
func receiveConn(u *net.UnixConn) (frame []byte, file int, err error) {
	file = -1
	head := make([]byte, 4)
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := u.ReadMsgUnix(head, oob)
	if oobn > 0 {
		file = descriptor(oob[:oobn])
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil && n < len(head) {
		_, err = io.ReadFull(u, head[n:])
	}
	size := binary.BigEndian.Uint32(head)
	if err == nil && size > maxFrame {
		err = fmt.Errorf("%w: %d bytes", errFrame, size)
	}
	if err == nil {
		frame = make([]byte, size)
		_, err = io.ReadFull(u, frame)
	}
	if err != nil {
		closeFile(file)
		return nil, -1, err
	}
	return frame, file, nil
}
