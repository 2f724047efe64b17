package main

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

const (
	// looks is how often the server looks at its sockets, in nanoseconds: while streams run, there
	// is nothing to read in them.
	looks = 1_000_000
	// unsentMost is how many bytes may wait for a full socket; the stream is given up beyond.
	unsentMost = 4 << 20
	answerHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" +
		"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
	plainAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
)

// A server answers each request whose target says so with a stream, and any other one with "ok".
type server struct {
	listener int
	poll     int
	sources  map[int32]*source
	due      queue
	blocked  map[*source]struct{}
	chunk    []byte
}

// A source is one connection, and the stream that it sends.
type source struct {
	fd       int
	request  []byte
	unsent   []byte
	due      int64
	interval int64
	next     int64
	chunks   int64
	stream   int64
	closed   bool
}

func newServer(port int) *server {
	listener, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	check("socket", err)
	check("reuse", syscall.SetsockoptInt(listener, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	check("bind", syscall.Bind(listener, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
	check("listen", syscall.Listen(listener, 4096))
	poll, err := syscall.EpollCreate1(0)
	check("epoll_create", err)
	watch(poll, listener)
	return &server{
		listener: listener,
		poll:     poll,
		sources:  map[int32]*source{},
		blocked:  map[*source]struct{}{},
		chunk:    []byte(strconv.FormatInt(int64(eventSize), 16) + "\r\n" + eventTemplate + "\r\n"),
	}
}

func (s *server) run() {
	events := make([]syscall.EpollEvent, 1024)
	looked := int64(0)
	for {
		at := now()
		for len(s.due) > 0 && s.due[0].due <= at {
			s.step(s.due[0])
			at = now()
		}
		patience := 0
		if len(s.due) == 0 && len(s.blocked) == 0 {
			patience = 50
		} else if at-looked < looks {
			until := looked + looks
			if len(s.due) > 0 {
				until = min(until, s.due[0].due)
			}
			if until > at {
				sleep(until - at)
			}
			continue
		}
		for _, event := range wait(s.poll, events, patience) {
			if int(event.Fd) == s.listener {
				s.accept()
			} else if from := s.sources[event.Fd]; from != nil {
				s.readable(from)
			}
		}
		for source := range s.blocked {
			s.flush(source)
		}
		looked = now()
	}
}

func (s *server) accept() {
	for {
		fd, _, err := syscall.Accept4(s.listener, syscall.SOCK_NONBLOCK)
		if err != nil {
			return
		}
		check("nodelay", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1))
		s.sources[int32(fd)] = &source{fd: fd}
		watch(s.poll, fd)
	}
}

func (s *server) readable(from *source) {
	var data [16 << 10]byte
	n, errno := recv(from.fd, data[:])
	if errno == syscall.EAGAIN {
		return
	}
	if n <= 0 {
		s.close(from)
		return
	}
	from.request = append(from.request, data[:n]...)
	end := bytes.Index(from.request, []byte("\r\n\r\n"))
	if end < 0 || len(from.request) < end+4+contentLength(from.request[:end]) {
		return
	}
	s.answer(from, strings.Fields(string(from.request[:end]))[1])
	from.request = from.request[:0]
}

func contentLength(head []byte) int {
	const name = "\r\ncontent-length:"
	lower := bytes.ToLower(head)
	at := bytes.Index(lower, []byte(name))
	if at < 0 {
		return 0
	}
	value, _, _ := bytes.Cut(lower[at+len(name):], []byte("\r\n"))
	length, err := strconv.Atoi(strings.TrimSpace(string(value)))
	check("Content-Length", err)
	return length
}

func (s *server) answer(to *source, target string) {
	parsed, err := url.Parse(target)
	check("target", err)
	asked := parsed.Query()
	number := func(name string) int64 {
		value, err := strconv.ParseInt(asked.Get(name), 10, 64)
		check(name, err)
		return value
	}
	if !asked.Has("stream") {
		s.send(to, []byte(plainAnswer))
		return
	}
	s.send(to, []byte(answerHead))
	to.stream, to.chunks, to.interval = number("stream"), number("chunks"), number("interval")
	to.due, to.next = number("due"), 0
	s.due.push(to)
}

// step sends the chunk that is due.
func (s *server) step(of *source) {
	if of.closed {
		s.due.pop()
		return
	}
	event := s.chunk[len(s.chunk)-2-eventSize:]
	putDigits(event[streamAt:streamAt+streamWidth], of.stream)
	putDigits(event[numberAt:numberAt+numberWidth], of.next)
	putDigits(event[sentAt:sentAt+sentWidth], now())
	of.next++
	of.due += of.interval
	if of.next < of.chunks {
		s.due.down()
		s.send(of, s.chunk)
	} else {
		s.due.pop()
		s.send(of, append(s.chunk, "0\r\n\r\n"...))
	}
}

func (s *server) send(to *source, data []byte) {
	if len(to.unsent) == 0 {
		n, errno := write(to.fd, data)
		if n == len(data) || errno != 0 && errno != syscall.EAGAIN {
			return // a connection that is gone is seen where it is read
		}
		data = data[max(n, 0):]
	}
	to.unsent = append(to.unsent, data...)
	s.blocked[to] = struct{}{}
	if len(to.unsent) > unsentMost {
		s.close(to)
	}
}

func (s *server) flush(source *source) {
	n, errno := write(source.fd, source.unsent)
	if errno == syscall.EAGAIN {
		return
	}
	source.unsent = source.unsent[max(n, 0):]
	if errno != 0 || len(source.unsent) == 0 {
		source.unsent = nil
		delete(s.blocked, source)
	}
}

func (s *server) close(source *source) {
	if !source.closed {
		source.closed = true
		delete(s.blocked, source)
		delete(s.sources, int32(source.fd))
		syscall.Close(source.fd)
	}
}

// A queue of sources is a heap: the first is due first.
type queue []*source

func (q *queue) push(one *source) {
	*q = append(*q, one)
	h := *q
	at := len(h) - 1
	for at > 0 {
		up := (at - 1) / 2
		if h[up].due <= h[at].due {
			return
		}
		h[up], h[at] = h[at], h[up]
		at = up
	}
}

// pop drops the first.
func (q *queue) pop() {
	h := *q
	last := len(h) - 1
	h[0], h[last] = h[last], nil
	*q = h[:last]
	q.down()
}

// down restores the order when the first has become due later.
func (q *queue) down() {
	h := *q
	at := 0
	for {
		least := at
		for child := 2*at + 1; child <= 2*at+2 && child < len(h); child++ {
			if h[child].due < h[least].due {
				least = child
			}
		}
		if least == at {
			return
		}
		h[least], h[at] = h[at], h[least]
		at = least
	}
}
