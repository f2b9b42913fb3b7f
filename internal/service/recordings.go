package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/record"
	"github.com/postilion/postilion/internal/rpc"
)

// Recordings of dialogues: each role that speaks with others keeps its own files; a rule is given to all
// of them and lives as long as they do.

// recordingRoles are those that record.
var recordingRoles = []Role{SMTPD, Access, Remote}

const (
	methodRecordAdd    = "record.add"
	methodRecordRemove = "record.remove"
	methodRecordList   = "record.list"
)

// newBook gives a role its recordings, with the verbs for them.
func (p *process) newBook(part *part) (*record.Book, error) {
	dir, err := p.folder(recordFolder(part.role))
	if err != nil {
		return nil, err
	}
	b := record.New(dir, p.clock)
	part.close = append(part.close, b.Close)
	maps.Copy(part.admin, map[string]rpc.Handler{
		methodRecordAdd:    rpc.Handle(func(_ context.Context, r record.Rule) (none, error) { return none{}, b.Add(r) }),
		methodRecordRemove: rpc.Handle(func(_ context.Context, id string) (bool, error) { return b.Remove(id), nil }),
		methodRecordList:   rpc.Handle(func(context.Context, none) ([]record.Status, error) { return b.List(), nil }),
	})
	return b, nil
}

// recordFolder is where a role's recordings are, below the data folder.
func recordFolder(r Role) string { return "events/" + string(r) + "/record" }

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
		if _, err := askRole[record.Rule, none](ctx, data, role, methodRecordAdd, r); err != nil {
			for _, done := range recordingRoles[:i] {
				_, _ = askRole[string, bool](ctx, data, done, methodRecordRemove, r.ID) // all or none
			}
			return about(role, err)
		}
	}
	return nil
}

// RemoveRecording ends a recording and reports whether there was one. Its files stay.
func RemoveRecording(ctx context.Context, data, id string) (found bool, err error) {
	var errs []error
	for _, role := range recordingRoles {
		had, err := askRole[string, bool](ctx, data, role, methodRecordRemove, id)
		found, errs = found || had, append(errs, err)
	}
	return found, errors.Join(errs...)
}

// Recordings lists what is recorded.
func Recordings(ctx context.Context, data string) ([]Recording, error) {
	list := []Recording{}
	at := map[string]int{}
	for _, role := range recordingRoles {
		statuses, err := askRole[none, []record.Status](ctx, data, role, methodRecordList, none{})
		if err != nil {
			return nil, about(role, err)
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
				r.Files = append(r.Files, filepath.Join(data, recordFolder(role), s.File))
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
	for _, role := range recordingRoles {
		f, err := os.Open(filepath.Join(data, recordFolder(role), id+".txt"))
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
