package verbs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/record"
	"github.com/postilion/postilion/internal/role"
)

// Recordings of dialogues: each role that speaks with others keeps its own files; a rule is given to all
// of them and lives as long as they do.

// recordingRoles are those that record.
var recordingRoles = []role.Role{role.SMTPD, role.Access, role.Remote}

// Recording is a rule with what each role wrote.
type Recording struct {
	record.Rule
	Sessions int      `json:"sessions"`
	Size     int64    `json:"size"`
	Files    []string `json:"files"`
	Trouble  []string `json:"trouble,omitempty"`
}

// AddRecording begins to record in every role of the running server.
func AddRecording(ctx context.Context, data string, r record.Rule) error {
	if err := r.Check(); err != nil {
		return err
	}
	for i, role := range recordingRoles {
		if _, err := rolecall.Ask[record.Rule, none](ctx, data, role, rolecall.MethodRecordAdd, r); err != nil {
			for _, done := range recordingRoles[:i] {
				_, _ = rolecall.Ask[string, bool](ctx, data, done, rolecall.MethodRecordRemove, r.ID) // all or none
			}
			return rolecall.About(role, err)
		}
	}
	return nil
}

// RemoveRecording ends a recording and reports whether there was one. Its files stay.
func RemoveRecording(ctx context.Context, data, id string) (found bool, err error) {
	var errs []error
	for _, r := range recordingRoles {
		had, err := rolecall.Ask[string, bool](ctx, data, r, rolecall.MethodRecordRemove, id)
		found, errs = found || had, append(errs, err)
	}
	return found, errors.Join(errs...)
}

// Recordings lists what is recorded.
func Recordings(ctx context.Context, data string) ([]Recording, error) {
	list := []Recording{}
	at := map[string]int{}
	for _, role := range recordingRoles {
		statuses, err := rolecall.Ask[none, []record.Status](ctx, data, role, rolecall.MethodRecordList, none{})
		if err != nil {
			return nil, rolecall.About(role, err)
		}
		for _, s := range statuses {
			i, ok := at[s.ID]
			if !ok {
				i, at[s.ID] = len(list), len(list)
				list = append(list, Recording{Rule: s.Rule})
			}
			r := &list[i]
			r.Sessions += s.Sessions
			r.Size += s.Size
			if s.Size > 0 {
				r.Files = append(r.Files, filepath.Join(data, datafolder.Recordings(role), s.File))
			}
			if s.Trouble != "" {
				r.Trouble = append(r.Trouble, string(role)+": "+s.Trouble)
			}
		}
	}
	return list, nil
}

// CopyRecording writes what a recording holds, of one role after the other, as its files are: text
// that no terminal minds. It works on files of recordings that are over, too.
func CopyRecording(data, id string, w io.Writer) error {
	if strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz-") != "" {
		return fmt.Errorf("%q is no id of a recording", id)
	}
	found := false
	for _, r := range recordingRoles {
		f, err := os.Open(filepath.Join(data, datafolder.Recordings(r), id+".txt"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		found = true
		_, err = io.Copy(w, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("there is no recording %s", id)
	}
	return nil
}
