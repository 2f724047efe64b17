package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// A plan is what is read: stream number s has its chunk number n due at start + s/streams of an
// interval + n intervals, so that the streams' phases are spread evenly.
type plan struct {
	address, host         string
	streams, chunks       int
	warm, cool            int
	interval, lead, grace time.Duration
}

// An outcome is printed as JSON at the end; times are in seconds.
type outcome struct {
	Streams int `json:"streams"`
	// Whole: with all of their chunks, in order, unchanged, and a proper end.
	Whole   int   `json:"whole"`
	Chunks  int64 `json:"chunks"`
	Counted int64 `json:"counted"`
	// Between: chunks that were read between the two moments that were told.
	Between int64   `json:"between"`
	Delay   summary `json:"delay"`
	// Late is how late the chunks were sent: the load's own fault.
	Late summary `json:"late"`
	// First: what was wrong with the first stream of those that are not whole.
	First string `json:"first"`
}

// A sink is one stream as it is read.
type sink struct {
	fd      int
	stream  int64
	phase   int64
	next    int64
	status  status
	decoder decoder
	event   []byte
	wrong   string
}

type status int

const (
	reading status = iota
	whole
	broken
)

type client struct {
	plan        plan
	start       int64
	delay, late *histogram
	chunks      int64
	at          [2]int64
	sinks       map[int32]*sink
	all         []*sink
	open        int
}

func read(plan plan) {
	c := &client{plan: plan, delay: &histogram{}, late: &histogram{}, sinks: map[int32]*sink{}}
	poll, err := syscall.EpollCreate1(0)
	check("epoll_create", err)
	for number := range plan.streams {
		c.connect(poll, int64(number))
	}
	c.start = now() + plan.lead.Nanoseconds()
	for _, sink := range c.all {
		c.ask(sink)
	}
	c.follow(poll)
	c.print()
}

func (c *client) connect(poll int, number int64) {
	address, err := net.ResolveTCPAddr("tcp4", c.plan.address)
	check("address", err)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	check("socket", err)
	to := syscall.SockaddrInet4{Port: address.Port, Addr: [4]byte(address.IP.To4())}
	check("connect", syscall.Connect(fd, &to))
	check("nodelay", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1))
	check("nonblock", syscall.SetNonblock(fd, true))
	phase := number * c.plan.interval.Nanoseconds() / int64(c.plan.streams)
	one := &sink{fd: fd, stream: number, phase: phase, event: make([]byte, 0, eventSize)}
	c.sinks[int32(fd)] = one
	c.all = append(c.all, one)
	c.open++
	watch(poll, fd)
}

func (c *client) ask(for_ *sink) {
	const body = `{"model":"bench","stream":true,"messages":[{"role":"user","content":"Count."}]}`
	request := fmt.Sprintf("POST /v1/chat/completions?stream=%d&chunks=%d&interval=%d&due=%d HTTP/1.1\r\n"+
		"Host: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		for_.stream, c.plan.chunks, c.plan.interval.Nanoseconds(), c.start+for_.phase,
		c.plan.host, len(body), body)
	n, errno := write(for_.fd, []byte(request))
	if n != len(request) {
		fail("a request could not be sent: %v", errno)
	}
}

// follow reads until all have ended, or nothing more is to be expected. It says `counting` and
// `counted` when the first and the last counted chunk are due.
func (c *client) follow(poll int) {
	events := make([]syscall.EpollEvent, 1024)
	data := make([]byte, 64<<10)
	interval := c.plan.interval.Nanoseconds()
	counting := c.start + int64(c.plan.warm)*interval
	counted := c.start + int64(c.plan.chunks-c.plan.cool)*interval
	ended := c.start + int64(c.plan.chunks)*interval
	told := 0
	for c.open > 0 {
		at := now()
		if told == 0 && at >= counting || told == 1 && at >= counted {
			c.tell(told, at)
			told++
		}
		if at > ended+c.plan.grace.Nanoseconds() {
			return
		}
		for _, event := range wait(poll, events, 5) {
			from := c.sinks[event.Fd]
			n, errno := recv(from.fd, data)
			switch {
			case errno == syscall.EAGAIN:
			case n <= 0:
				c.end(from, broken, fmt.Sprintf("closed after %d chunks (%v)", from.next, errno))
			default:
				c.came(from, data[:n], now())
			}
		}
	}
	for ; told < 2; told++ {
		c.tell(told, now())
	}
}

func (c *client) tell(which int, at int64) {
	fmt.Println([]string{"counting", "counted"}[which], at)
	c.at[which] = c.chunks
}

func (c *client) end(one *sink, how status, why string) {
	one.status, one.wrong = how, why
	delete(c.sinks, int32(one.fd))
	syscall.Close(one.fd)
	c.open--
}

func (c *client) came(from *sink, data []byte, at int64) {
	for len(data) > 0 {
		body, rest, state := from.decoder.next(data)
		data = rest
		for len(body) > 0 {
			event := body
			if len(from.event) == 0 && len(body) >= eventSize {
				event, body = body[:eventSize], body[eventSize:]
			} else {
				take := min(eventSize-len(from.event), len(body))
				from.event = append(from.event, body[:take]...)
				body = body[take:]
				if len(from.event) < eventSize {
					break
				}
				event, from.event = from.event, from.event[:0]
			}
			if why := c.check(from, event, at); why != "" {
				c.end(from, broken, why)
				return
			}
		}
		switch {
		case state == malformed:
			c.end(from, broken, fmt.Sprintf("no chunked 200 after %d chunks: %.200q", from.next, data))
			return
		case state == complete && from.next == int64(c.plan.chunks) && len(from.event) == 0 && len(data) == 0:
			c.end(from, whole, "")
			return
		case state == complete:
			c.end(from, broken, fmt.Sprintf("ended after %d chunks", from.next))
			return
		}
	}
}

// check counts an event that has come; it returns what is wrong with it.
func (c *client) check(of *sink, event []byte, at int64) string {
	number := digits(event[numberAt : numberAt+numberWidth])
	sent := digits(event[sentAt : sentAt+sentWidth])
	if !fixed(event) || number < 0 || sent < 0 || digits(event[streamAt:streamAt+streamWidth]) != of.stream {
		return fmt.Sprintf("changed: %q", event)
	}
	if number != of.next {
		return fmt.Sprintf("chunk %d came in the place of %d", number, of.next)
	}
	if number >= int64(c.plan.warm) && number < int64(c.plan.chunks-c.plan.cool) {
		c.delay.add(at - sent)
		c.late.add(sent - c.start - of.phase - number*c.plan.interval.Nanoseconds())
	}
	of.next++
	c.chunks++
	return ""
}

func (c *client) print() {
	result := outcome{
		Streams: c.plan.streams,
		Chunks:  c.chunks,
		Counted: c.delay.total,
		Between: c.at[1] - c.at[0],
		Delay:   c.delay.summary(),
		Late:    c.late.summary(),
	}
	for _, one := range c.all {
		switch {
		case one.status == whole:
			result.Whole++
		case result.First == "" && one.status == broken:
			result.First = fmt.Sprintf("stream %d: %s", one.stream, one.wrong)
		case result.First == "":
			result.First = fmt.Sprintf("stream %d: only %d chunks came in time", one.stream, one.next)
		}
	}
	check("stdout", json.NewEncoder(os.Stdout).Encode(result))
}
