package local_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/runas"
	ourfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/route"
)

// BenchmarkDelivery compares a delivery into an account's Maildir with those that .qmail files
// lead to, 100 at once.
func BenchmarkDelivery(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("only root can become others")
	}
	const uid, users = 713_900, 100
	top, err := os.MkdirTemp("", "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(top) })
	for i := range users {
		for _, dir := range []string{"tmp", "new", "cur"} {
			os.MkdirAll(fmt.Sprintf("%s/%d/Maildir/%s", top, i, dir), 0o700)
		}
		os.WriteFile(fmt.Sprintf("%s/%d/.qmail-default", top, i), []byte("./Maildir/\n"), 0o600)
		os.WriteFile(fmt.Sprintf("%s/%d/.qmail-fwd", top, i), []byte("&a@b.test\n"), 0o600)
		os.WriteFile(fmt.Sprintf("%s/%d/.qmail-prog", top, i), []byte("|exit 0\n"), 0o600)
	}
	filepath.Walk(top, func(path string, _ os.FileInfo, _ error) error { return os.Chown(path, uid, uid) })
	os.Chmod(top, 0o755)
	boxes, err := osfs.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	service, err := runas.NewHere(runas.Options{FilesPerUser: 200})
	if err != nil {
		b.Fatal(err)
	}
	defer service.Close()
	target := local.New(local.Options{}, local.Deps{FS: boxes, Barrier: &ourfs.Barrier{FS: boxes}, Directory: accounts{}, Clock: clock.System{}, Runas: service})
	body := "Subject: x\n\n" + strings.Repeat("0123456789abcdef\n", 200)
	var n atomic.Int64
	for _, kind := range []string{"account", "default", "fwd", "prog"} {
		b.Run(kind, func(b *testing.B) {
			b.SetParallelism(50)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1) % users
					j := job(body, uint64(i))
					j.Envelope.Accepted = clock.System{}.Now()
					if kind != "account" {
						j.Recipients[0] = deliver.Recipient{From: mail.Address{Local: "s", Domain: "a.test"}, User: &route.User{
							Name: "joe", UID: uid, GID: uid, Home: fmt.Sprintf("%s/%d", top, i), Dash: "-", Ext: map[string]string{"default": "a-b"}[kind] + map[string]string{"fwd": "fwd", "prog": "prog"}[kind], Local: "joe", Host: "mx.test",
						}}
					}
					j.Body = inMemory(body)
					if v := target.Deliver(b.Context(), j)[0]; v.Err != nil {
						b.Error(v.Err)
					}
				}
			})
		})
	}
}

func inMemory(body string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return seekable{strings.NewReader(body)}, nil }
}
