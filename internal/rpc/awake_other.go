//go:build !linux

package rpc

import "net"

func look(net.Conn, func() bool) {}
