package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// parcel is a message of a test under load: its number, and a body whose sum it carries.
func parcel(id string, size int) []byte {
	line := strings.Repeat(id+" ", 72/(len(id)+1)) + "\r\n"
	body := bytes.Repeat([]byte(line), size/len(line)+1)
	sum := sha256.Sum256(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
	return fmt.Appendf(nil, "X-Parcel: %s %x\r\nFrom: <sender@else.example>\r\nSubject: parcel\r\n\r\n%s", id, sum, body)
}

// opened returns the id of a parcel, or "" of another message. The error tells of one
// that is not whole.
func opened(m []byte) (string, error) {
	m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
	header, body, _ := bytes.Cut(m, []byte("\n\n"))
	label := field(header, "X-Parcel")
	if label == "" {
		return "", nil
	}
	id, want, _ := strings.Cut(label, " ")
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != want {
		return id, fmt.Errorf("parcel %s is not whole: %d bytes of body", id, len(body))
	}
	return id, nil
}

// field returns the first field of a name in a header with LF line ends.
func field(header []byte, name string) string {
	for line := range strings.Lines(string(header)) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// delivery is one parcel for one recipient, or its bounce.
type delivery struct{ id, to string }

// bounced stands for the recipient of a parcel that is to come back.
const bounced = "a bounce"

// returned returns the id of the parcel that a bounce brings back, or "".
func returned(m []byte) string {
	_, original, found := bytes.Cut(m, []byte("\nX-Parcel: "))
	id, _, _ := bytes.Cut(original, []byte(" "))
	if !found {
		return ""
	}
	return string(id)
}

// maildirs returns how often each parcel lies in a mailbox of the server, as a reader
// of Maildirs sees it.
func (s *server) maildirs() (map[delivery]int, error) {
	found := map[delivery]int{}
	err := filepath.WalkDir(filepath.Join(s.Data, "mail"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if dir := filepath.Base(filepath.Dir(path)); dir != "new" && dir != "cur" {
			return nil
		}
		m, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(m, []byte("Return-Path: <")) {
			return fmt.Errorf("%s shows %d bytes that are no message: %.60q", path, len(m), m)
		}
		id, err := opened(m)
		if id != "" {
			found[delivery{id, field(m, "Delivered-To")}]++
		} else if id := returned(m); id != "" {
			found[delivery{id, bounced}]++
		}
		return err
	})
	return found, err
}
