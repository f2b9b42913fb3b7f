//go:build !race

package rpc

func ordered() {}
