package service

import (
	"context"
	"fmt"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/clock"
)

// notify tells systemd, where it asked to be told (sd_notify(3)).
func notify(state string) {
	// Without systemd, or when it is gone, there is nobody to tell.
	_, _ = daemon.SdNotify(false, state)
}

// notifyReloading tells it that the server is busy with itself until the next READY: with another configuration, or with
// starting anew in the same process. One that is said to stop would be killed when TimeoutStopSec= is over.
func notifyReloading() {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return // it never fails
	}
	notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, t.Nano()/1000))
}

// keepWatchdog keeps systemd's watchdog (WatchdogSec=) quiet until what it returns is called: also while the server stops.
func keepWatchdog(ctx context.Context) (end func()) {
	ctx, end = context.WithCancel(context.WithoutCancel(ctx))
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return end
	}
	go func() {
		for clock.Sleep(ctx, every/2) == nil {
			notify(daemon.SdNotifyWatchdog)
		}
	}()
	return end
}
