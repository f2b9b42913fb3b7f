package mbox_test

// The promise on the kernel's own file systems. A writer in a process of its own appends to mailboxes that share a
// barrier, and after each append notes its number in a file on the same disk, as the queue does with a
// delivery. The power of the disk is cut at any instant. Two laws must hold, and neither knows an exception:
//
//   - what was appended, by the writer's own clock, before the cut began is in its mailbox, whole;
//   - what the disk itself has on record is in its mailbox, whole, whenever that was.
//
// What was reported between the begin of the cut and its end may be missing: the test counts it and tells.

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/fs/crash/loopdisk"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/mailbox/mbox"
)

var powerCuts = flag.Int("cuts", 0, "how many power cuts of a real disk are made; 0 is a few")

// writerEnv is the folder of a test process that is the writer; after it, a comma and how it records.
const writerEnv = "MBOX_POWER_WRITER"

func TestMain(m *testing.M) {
	if what, ok := os.LookupEnv(writerEnv); ok {
		dir, how, _ := strings.Cut(what, ",")
		if err := powerWriter(dir, how); err != nil {
			fmt.Println("error", err)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	powerBoxes   = 6
	powerSenders = 12
)

// powerBody is message n of a mailbox. It has lengths of all kinds, and some end with a block of the disk.
func powerBody(n int) string {
	line := fmt.Sprintf("message %d of this mailbox, a line to know it by\n", n)
	text := strings.Repeat(line, 1+(n*7919)%120)
	if n%50 == 7 {
		text = strings.Repeat(line, 2500)
	}
	return text
}

func powerHead(n int) string {
	return fmt.Sprintf("From joe@a.test Sat Nov 21 19:33:33 2026\nX-Number: %d\n", n)
}

// powerWriter appends until the disk fails, and tells of each message "a NUMBER BOX TIME" when it was appended and
// "r NUMBER BOX TIME" when it was on record too.
func powerWriter(dir, how string) error {
	files, err := osfs.New(dir)
	if err != nil {
		return err
	}
	records, err := openRecords(filepath.Join(dir, "records"), how)
	if err != nil {
		return err
	}
	s := &mbox.Store{FS: files, Barrier: &fs.Barrier{FS: files}, StaleLock: time.Nanosecond}
	base, _ := strconv.Atoi(os.Getenv("MBOX_POWER_BASE"))
	var next sync.Mutex
	n := base
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	for range powerSenders {
		all.Go(func() {
			defer stop() // locks cannot be removed any more
			for {
				next.Lock()
				n++
				i := n
				next.Unlock()
				box := i % powerBoxes
				if err := s.Append(ctx, fmt.Sprintf("box%d", box), []byte(powerHead(i)), strings.NewReader(powerBody(i))); err != nil {
					return
				}
				fmt.Printf("a %d %d %d\n", i, box, time.Now().UnixNano())
				if records.add(uint64(i)) != nil {
					return
				}
				fmt.Printf("r %d %d %d\n", i, box, time.Now().UnixNano())
			}
		})
	}
	all.Wait()
	return nil
}

// records are the numbers of messages in a file, eight bytes each. Like the queue's log, they are appended to a file that
// grows, or written over an older file whose blocks the disk knows already.
type records struct {
	mu   sync.Mutex
	file *os.File
	at   int64
}

func openRecords(name, how string) (*records, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	r := &records{file: f}
	if how == "recycled" {
		if _, err := f.WriteAt(make([]byte, 1<<20), 0); err != nil {
			return nil, err
		}
	} else if err := f.Truncate(0); err != nil {
		return nil, err
	}
	return r, f.Sync()
}

func (r *records) add(n uint64) error {
	r.mu.Lock()
	_, err := r.file.WriteAt(binary.BigEndian.AppendUint64(nil, n), r.at)
	r.at += 8
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.file.Sync()
}

// told is what a writer said of a message.
type told struct {
	box      int
	at       time.Time // it was appended
	recorded bool
}

// powerRound is one writer and one cut. before is the times of those that the cut must not take.
func powerRound(t *testing.T, d *loopdisk.Disk, how string, base int) (tell map[int]told, began time.Time) {
	t.Helper()
	writer := exec.Command(os.Args[0])
	writer.Env = append(os.Environ(), writerEnv+"="+d.Mount+","+how, "MBOX_POWER_BASE="+strconv.Itoa(base))
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	tell = map[int]told{}
	first, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var kind string
			var n, box int
			var ns int64
			if _, err := fmt.Sscan(lines.Text(), &kind, &n, &box, &ns); err != nil {
				t.Errorf("the writer said %q", lines.Text())
				continue
			}
			if kind == "r" {
				old := tell[n]
				old.recorded = true
				tell[n] = old
				continue
			}
			if len(tell) == 0 {
				close(first)
			}
			tell[n] = told{box: box, at: time.Unix(0, ns)}
		}
	}()
	select {
	case <-first:
	case <-ended:
		t.Fatal("the writer wrote nothing")
	}
	time.Sleep(time.Duration(20+rand.IntN(400)) * time.Millisecond) // of load: any instant is as good
	began = d.Cut()
	<-ended
	if err := writer.Wait(); err != nil {
		t.Fatalf("the writer: %v", err)
	}
	return tell, began
}

// powerLost returns which of the messages are not whole in their mailboxes.
func powerLost(t *testing.T, dir string, tell map[int]told) (lost map[int]bool) {
	t.Helper()
	boxes := map[int]string{}
	lost = map[int]bool{}
	for n, m := range tell {
		text, ok := boxes[m.box]
		if !ok {
			b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("box%d", m.box)))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			text = string(b)
			boxes[m.box] = text
		}
		at := strings.Index(text, powerHead(n))
		if at < 0 || !strings.HasPrefix(text[at:], powerHead(n)+powerBody(n)+"\n") {
			lost[n] = true
		}
	}
	return lost
}

func onRecord(t *testing.T, dir string) (list []int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "records"))
	if err != nil {
		t.Fatal(err)
	}
	for ; len(b) >= 8; b = b[8:] {
		if n := int(binary.BigEndian.Uint64(b)); n != 0 {
			list = append(list, n)
		}
	}
	return list
}

func TestARealPowerCutLosesNothingAppended(t *testing.T) {
	t.Parallel()
	cuts := *powerCuts
	if cuts == 0 {
		cuts = 3
	}
	for _, kind := range []string{"ext4", "xfs"} {
		for _, how := range []string{"growing", "recycled"} {
			t.Run(kind+"/"+how, func(t *testing.T) {
				t.Parallel()
				powerCutsOf(t, loopdisk.New(t, loopdisk.Options{Kind: kind}), how, cuts)
			})
		}
	}
}

func powerCutsOf(t *testing.T, d *loopdisk.Disk, how string, cuts int) {
	var appended, recorded, lost, overtaken int
	old := map[int]told{} // what was found after a cut
	for cut := range cuts {
		tell, began := powerRound(t, d, how, cut*100_000)
		d.Again()
		gone := powerLost(t, d.Mount, tell)
		late := maps.Clone(gone)
		for _, n := range onRecord(t, d.Mount) {
			recorded++
			if gone[n] {
				lost++
				delete(late, n)
				t.Errorf("message %d is on record and lost; it was appended %v before the cut began", n, began.Sub(tell[n].at))
				powerKeep(t, d.Mount, n, tell[n])
			}
		}
		for n := range late {
			if m := tell[n]; m.at.Before(began) {
				lost++
				t.Errorf("message %d was appended %v before the cut began and is lost", n, began.Sub(m.at))
				powerKeep(t, d.Mount, n, m)
			} else {
				overtaken++
			}
		}
		for n := range powerLost(t, d.Mount, old) {
			lost++
			t.Errorf("message %d was there after a cut and is not after a later one", n)
			powerKeep(t, d.Mount, n, old[n])
		}
		appended += len(tell)
		for n, m := range tell {
			if !gone[n] {
				old[n] = m
			}
		}
		if cut%8 == 7 {
			clear(old)
			for i := range powerBoxes {
				os.Remove(filepath.Join(d.Mount, fmt.Sprintf("box%d", i)))
			}
		}
	}
	t.Logf("%d cuts: %d appended, %d of them on record, %d lost; %d more were reported while the disk went down and are not there", cuts, appended, recorded, lost, overtaken)
}

// powerKeep shows what is left of a message.
func powerKeep(t *testing.T, dir string, n int, m told) {
	f, err := os.Open(filepath.Join(dir, fmt.Sprintf("box%d", m.box)))
	if err != nil {
		t.Log(err)
		return
	}
	defer f.Close()
	b, _ := io.ReadAll(f)
	at := strings.Index(string(b), powerHead(n))
	if at < 0 {
		t.Logf("nothing of it in %d bytes", len(b))
		return
	}
	want := powerHead(n) + powerBody(n) + "\n"
	have := string(b[at:])
	i := 0
	for i < len(want) && i < len(have) && want[i] == have[i] {
		i++
	}
	t.Logf("it begins at %d; %d of %d bytes are right, the mailbox has %d; then %.60q", at, i, len(want), len(b), have[i:min(len(have), i+60)])
}
