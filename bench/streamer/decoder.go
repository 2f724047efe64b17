package main

import (
	"bytes"
	"strings"
)

// A decoder takes an answer apart: a head that says 200 and chunked, chunks, the end.
type decoder struct {
	state state
	line  []byte
	left  int
}

type state int

const (
	inHead state = iota
	inSize
	inData
	behindData
	inEnd
	complete
	malformed
)

// next gives the body bytes that come first in data, and the rest of it.
func (d *decoder) next(data []byte) (body, rest []byte, after state) {
	switch d.state {
	case inHead:
		d.line = append(d.line, data...)
		end := bytes.Index(d.line, []byte("\r\n\r\n"))
		if end < 0 {
			return nil, nil, d.state
		}
		head := strings.ToLower(string(d.line[:end+2]))
		rest = data[len(data)-(len(d.line)-end-4):]
		if !strings.HasPrefix(head, "http/1.1 200 ") || !strings.Contains(head, "\r\ntransfer-encoding: chunked\r\n") {
			d.state = malformed
			return nil, d.line, d.state
		}
		d.line, d.state = d.line[:0], inSize
		return nil, rest, d.state
	case inData:
		take := min(d.left, len(data))
		if d.left -= take; d.left == 0 {
			d.state = behindData
		}
		return data[:take], data[take:], d.state
	}
	// a line that ends in CR LF: a size, or nothing
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		d.line = append(d.line, data...)
		return nil, nil, d.state
	}
	line := data[:end+1]
	if len(d.line) > 0 {
		d.line = append(d.line, line...)
		line = d.line
		d.line = d.line[:0]
	}
	rest = data[end+1:]
	if len(line) < 2 || line[len(line)-2] != '\r' {
		d.state = malformed
		return nil, data, d.state
	}
	line = line[:len(line)-2]
	switch {
	case d.state == inSize:
		d.left = hexadecimal(line)
		switch {
		case d.left < 0:
			d.state = malformed
		case d.left == 0:
			d.state = inEnd
		default:
			d.state = inData
		}
	case len(line) > 0:
		d.state = malformed
	case d.state == behindData:
		d.state = inSize
	default:
		d.state = complete
	}
	return nil, rest, d.state
}

func hexadecimal(line []byte) int {
	if len(line) == 0 || len(line) > 7 {
		return -1
	}
	value := 0
	for _, c := range line {
		switch {
		case c >= '0' && c <= '9':
			value = value<<4 + int(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			value = value<<4 + int(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return value
}
