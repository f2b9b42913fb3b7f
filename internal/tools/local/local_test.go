package local

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/tools/tooltest"
)

var delivery = []string{
	"PATH=/usr/bin:/bin", "UFLINE=From s@s\n", "RPLINE=Return-Path: <s@s>\n", "DTLINE=Delivered-To: joe@h\n",
	"USER=joe", "SENDER=s@s", "LOCAL=joe-x",
}

func TestPrelinePutsTheLinesBeforeTheMessage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":        "From s@s\nReturn-Path: <s@s>\nDelivered-To: joe@h\nbody",
		"-f":      "Return-Path: <s@s>\nDelivered-To: joe@h\nbody",
		"-r -d":   "From s@s\nbody",
		"-frd -F": "From s@s\nbody",
	} {
		argv := append(strings.Fields(args), "cat")
		if got := tooltest.Run(t, Programs(), "preline", tooltest.Call{Args: argv, In: "body", Env: delivery}); got.Out != want || got.Code != 0 {
			t.Errorf("%q: got %+v, want %q", args, got, want)
		}
	}
}

func TestPrelineExitsAsItsProgram(t *testing.T) {
	t.Parallel()
	run := func(argv ...string) tooltest.Result {
		// More than a pipe holds: the program need not read it.
		return tooltest.Run(t, Programs(), "preline", tooltest.Call{Args: argv, In: strings.Repeat("x", 1<<20), Env: delivery})
	}
	if r := run("sh", "-c", "exit 77"); r.Code != 77 {
		t.Errorf("got %+v", r)
	}
	if r := run("sh", "-c", "kill -9 $$"); r.Code != 111 || r.Err != "preline: fatal: child crashed\n" {
		t.Errorf("got %+v", r)
	}
	if r := run("no-such-program"); r.Code != 100 || r.Err != "preline: fatal: unable to run no-such-program: file does not exist\n" {
		t.Errorf("got %+v", r)
	}
	if r := run(); r.Code != 100 || r.Err != "preline: usage: preline cmd [ arg ... ]\n" {
		t.Errorf("got %+v", r)
	}
	if r := tooltest.Run(t, Programs(), "preline", tooltest.Call{Args: []string{"cat"}, Env: delivery[:3]}); r.Code != 100 {
		t.Errorf("without DTLINE: %+v", r)
	}
}

// utmp is an entry of a user on a terminal.
func utmp(kind uint16, user, line string) []byte {
	b := make([]byte, utmpSize)
	binary.LittleEndian.PutUint16(b, kind)
	copy(b[utmpLine:], line)
	copy(b[utmpUser:], user)
	return b
}

func TestQbiffTellsTerminalsThatWantIt(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, d := range []string{"/dev/pts", "/var/run"} {
		if err := os.MkdirAll(root+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	db := append(utmp(userProcess, "joe", "pts/1"), utmp(userProcess, "joe", "pts/2")...)
	db = append(db, utmp(userProcess, "amy", "pts/3")...)
	db = append(db, utmp(8, "joe", "pts/4")...)
	db = append(db, utmp(userProcess, "joe", "../etc/x")...)
	if err := os.WriteFile(root+"/var/run/utmp", append(db, "cut short"...), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"1": 0o720, "2": 0o620, "3": 0o720, "4": 0o720} {
		if err := os.WriteFile(root+"/dev/pts/"+name, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(root+"/dev/pts/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	in := "Subject: Hi\n there\x1b\nFrom: x\n\nThe text\nof it" + strings.Repeat(".", 100)
	if r := tooltest.Run(t, Programs(), "qbiff", tooltest.Call{In: in, Env: append(delivery, "POSTILION_ROOT="+root)}); r != (tooltest.Result{}) {
		t.Errorf("got %+v", r)
	}
	text := "    Hi/ there//The text/of it"
	want := "\r\n\a*** TO <joe-x> FROM <s@s>\r\n" + text + strings.Repeat(".", 78-len(text)) + "\r\n"
	for name, want := range map[string]string{"1": want, "2": "", "3": "", "4": ""} {
		if b, err := os.ReadFile(root + "/dev/pts/" + name); err != nil || string(b) != want {
			t.Errorf("terminal %s: %q, %v, want %q", name, b, err, want)
		}
	}
}
