package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress returns a function that counts steps of total, which is 0 when it is not
// known, and one that ends the bar. The bar appears on a terminal alone, once the work has
// taken a second.
func (a *app) progress(what string, total int) (step func(n int), finish func()) {
	f := a.progressTerminal()
	if f == nil {
		return func(int) {}, func() {}
	}
	began := time.Now()
	var bars *mpb.Progress
	var bar *mpb.Bar
	done, count := 0, decor.CurrentNoUnit("%d")
	if total > 0 {
		count = decor.CountersNoUnit("%d of %d")
	}
	step = func(n int) {
		if done += n; total > 0 {
			done = min(done, total-1) // more may have come; the bar ends with the work
		}
		switch {
		case bar != nil:
			bar.SetCurrent(int64(done))
		case time.Since(began) > time.Second:
			bars = mpb.New(mpb.WithOutput(f))
			bar = bars.AddBar(int64(total), mpb.BarRemoveOnComplete(),
				mpb.PrependDecorators(decor.Name(what+" "), count),
				mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_GO)))
			bar.SetCurrent(int64(done))
		}
	}
	finish = func() {
		if bar != nil {
			bar.Abort(true)
			bars.Wait()
			bar = nil
		}
	}
	return step, finish
}

// progressTerminal returns the terminal that progress is shown on; nil for none.
func (a *app) progressTerminal() *os.File {
	f, ok := a.err.(*os.File)
	if a.json || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}

// busy shows on a terminal that something without steps to count goes on, once it has taken a second.
// What it returns ends that, and may be called again.
func (a *app) busy(what string) (finish func()) {
	f := a.progressTerminal()
	if f == nil {
		return func() {}
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
		}
		bars := mpb.New(mpb.WithOutput(f))
		bar := bars.New(0, mpb.SpinnerStyle(), mpb.BarRemoveOnComplete(), mpb.AppendDecorators(decor.Name(escape(what)+" "), decor.Elapsed(decor.ET_STYLE_GO)))
		<-stop
		bar.Abort(true)
		bars.Wait()
	}()
	return sync.OnceFunc(func() { close(stop); <-ended })
}

// countedReader tells of each KiB that is read.
type countedReader struct {
	io.Reader
	step func(n int)
}

// Read implements io.Reader.
func (c countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.step((n + 1023) / 1024)
	return n, err
}

// countedFile is one of a file.
type countedFile struct {
	countedReader
	io.Seeker
}

// counting tells of each KiB that is written.
type counting struct {
	io.Writer
	step func(n int)
}

// Write implements io.Writer.
func (c counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.step((n + 1023) / 1024)
	return n, err
}
