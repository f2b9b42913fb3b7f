package qmail

import "syscall"

// ErrorText returns the words that the family has for a system's error (error_str of its library); ok is false
// where it has none.
func ErrorText(e syscall.Errno) (text string, ok bool) {
	text, ok = errorTexts[e]
	return text, ok
}

var errorTexts = map[syscall.Errno]string{
	syscall.E2BIG: "argument list too long", syscall.EACCES: "access denied", syscall.EADDRINUSE: "address already used",
	syscall.EADDRNOTAVAIL: "address not available", syscall.EAFNOSUPPORT: "address family not supported", syscall.EAGAIN: "temporary failure",
	syscall.EALREADY: "operation already in progress", syscall.EBADF: "file descriptor not open", syscall.EBUSY: "device busy",
	syscall.ECHILD: "no child processes", syscall.ECONNABORTED: "connection aborted", syscall.ECONNREFUSED: "connection refused",
	syscall.ECONNRESET: "connection reset", syscall.EDEADLK: "operation would cause deadlock", syscall.EDQUOT: "disk quota exceeded",
	syscall.EEXIST: "file already exists", syscall.EFAULT: "bad address", syscall.EFBIG: "file too big",
	syscall.EHOSTDOWN: "host down", syscall.EHOSTUNREACH: "host unreachable", syscall.EINPROGRESS: "operation in progress",
	syscall.EINTR: "interrupted system call", syscall.EINVAL: "invalid argument", syscall.EIO: "input/output error",
	syscall.EISCONN: "already connected", syscall.EISDIR: "is a directory", syscall.ELOOP: "symbolic link loop",
	syscall.EMFILE: "process cannot open more files", syscall.EMLINK: "too many links", syscall.EMSGSIZE: "message too long",
	syscall.ENAMETOOLONG: "file name too long", syscall.ENETDOWN: "network down", syscall.ENETRESET: "network reset",
	syscall.ENETUNREACH: "network unreachable", syscall.ENFILE: "system cannot open more files", syscall.ENOBUFS: "out of buffer space",
	syscall.ENODEV: "device does not support operation", syscall.ENOENT: "file does not exist", syscall.ENOEXEC: "exec format error",
	syscall.ENOLCK: "no locks available", syscall.ENOMEM: "out of memory", syscall.ENOSPC: "out of disk space",
	syscall.ENOSYS: "system call not available", syscall.ENOTCONN: "not connected", syscall.ENOTDIR: "not a directory",
	syscall.ENOTEMPTY: "directory not empty", syscall.ENOTSOCK: "not a socket", syscall.ENOTTY: "not a tty",
	syscall.ENXIO: "device not configured", syscall.EOPNOTSUPP: "operation not supported", syscall.EPERM: "permission denied",
	syscall.EPIPE: "broken pipe", syscall.EPROTO: "protocol error", syscall.EROFS: "read-only file system",
	syscall.ESPIPE: "unseekable descriptor", syscall.ESRCH: "no such process", syscall.ESTALE: "stale NFS file handle",
	syscall.ETIMEDOUT: "timed out", syscall.ETXTBSY: "text busy", syscall.EXDEV: "cross-device link",
}
