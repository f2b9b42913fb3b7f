package main

import (
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress returns a function that counts steps of total, which is 0 when it is not
// known, and one that ends the bar. The bar appears on a terminal alone, once the work has
// taken a second.
func (a *app) progress(what string, total int) (step func(n int), finish func()) {
	f, ok := a.err.(*os.File)
	if a.json || !ok || !term.IsTerminal(int(f.Fd())) {
		return func(int) {}, func() {}
	}
	began := time.Now()
	var bars *mpb.Progress
	var bar *mpb.Bar
	done := 0
	step = func(n int) {
		done += n
		switch {
		case bar != nil:
			bar.SetCurrent(int64(done))
		case time.Since(began) > time.Second:
			bars = mpb.New(mpb.WithOutput(f))
			bar = bars.AddBar(int64(total), mpb.BarRemoveOnComplete(),
				mpb.PrependDecorators(decor.Name(what+" "), decor.CurrentNoUnit("%d")),
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
