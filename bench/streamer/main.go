// Streamer sends streams of small chunks at exact times and reads them back, for bench's `streams`.
//
//	streamer serve -port 8000
//	streamer read -address 127.0.0.1:8080 -host model -streams 100 -chunks 200 -interval 20ms
//
// Both run one thread over epoll with system calls of their own: what they cost must be small beside
// what a proxy costs, for on a small machine they share a core. Each chunk carries the moment at
// which it was sent (CLOCK_MONOTONIC, which all processes of a machine share).
//
// The load is open: a chunk is due at its moment whatever became of those before it. One that the
// proxy's full socket keeps waiting counts from that moment on.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail("streamer serve|read [flags]")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	// one thread, nothing collected: neither allocates once its streams have begun
	runtime.GOMAXPROCS(1)
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	raiseOpenFiles()
	sharpenTimers()
	switch os.Args[1] {
	case "serve":
		port := flags.Int("port", 0, "of loopback")
		flags.Parse(os.Args[2:])
		newServer(*port).run()
	case "read":
		var plan plan
		flags.StringVar(&plan.address, "address", "", "of the proxy, as HOST:PORT")
		flags.StringVar(&plan.host, "host", "", "of the Host field")
		flags.IntVar(&plan.streams, "streams", 1, "open at once")
		flags.IntVar(&plan.chunks, "chunks", 1, "of each stream")
		flags.IntVar(&plan.warm, "warm", 0, "of each stream's first chunks are not counted")
		flags.IntVar(&plan.cool, "cool", 0, "of each stream's last chunks are not counted")
		flags.DurationVar(&plan.interval, "interval", 20*time.Millisecond, "between chunks of a stream")
		flags.DurationVar(&plan.lead, "lead", 500*time.Millisecond, "from the last request to the first chunk")
		flags.DurationVar(&plan.grace, "grace", 20*time.Second, "after the last chunk's moment")
		flags.Parse(os.Args[2:])
		read(plan)
	default:
		fail("streamer serve|read [flags]")
	}
}

// base is CLOCK_MONOTONIC at the start of Go's own clock, which is cheaper to read.
var (
	begun = time.Now()
	base  = monotonic()
)

// now is CLOCK_MONOTONIC in nanoseconds.
func now() int64 { return base + int64(time.Since(begun)) }

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}

func check(what string, err error) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func raiseOpenFiles() {
	var limit syscall.Rlimit
	check("getrlimit", syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur = limit.Max
	check("setrlimit", syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
}
