package main

import (
	"syscall"
	"unsafe"
)

const (
	clockMonotonic = 1
	setTimerSlack  = 29 // prctl(2)
)

func monotonic() int64 {
	var at syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&at)), 0)
	return at.Nano()
}

// sharpenTimers lets sleeps end within microseconds; by default 50 µs more are allowed.
func sharpenTimers() {
	syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1000, 0)
}

func sleep(nanoseconds int64) {
	at := syscall.NsecToTimespec(nanoseconds)
	syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&at)), 0, 0)
}

// write and recv skip the scheduler, for they never wait: (-1, EAGAIN) instead.
func write(fd int, data []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
	return int(n), errno
}

func recv(fd int, data []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
	return int(n), errno
}

// wait is epoll_wait; nothing within milliseconds, or a signal, is no events.
func wait(poll int, events []syscall.EpollEvent, milliseconds int) []syscall.EpollEvent {
	n, err := syscall.EpollWait(poll, events, milliseconds)
	if err == syscall.EINTR {
		return nil
	}
	check("epoll_wait", err)
	return events[:n]
}

func watch(poll, fd int) {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	check("epoll_ctl", syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &event))
}
