package main

import (
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress returns a function that counts one step of total, and one that ends the bar. The
// bar appears on a terminal alone, once the work has taken a second.
func (a *app) progress(what string, total int) (step, finish func()) {
	f, ok := a.err.(*os.File)
	if a.json || !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}, func() {}
	}
	began := time.Now()
	var bars *mpb.Progress
	var bar *mpb.Bar
	done := 0
	step = func() {
		done++
		switch {
		case bar != nil:
			bar.SetCurrent(int64(done))
		case time.Since(began) > time.Second:
			bars = mpb.New(mpb.WithOutput(f))
			bar = bars.AddBar(int64(total), mpb.BarRemoveOnComplete(),
				mpb.PrependDecorators(decor.Name(what+" "), decor.CountersNoUnit("%d of %d")),
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
