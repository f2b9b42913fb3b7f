//go:build !race

package pebblestore_test

// slower divides what is done many times, under the race detector.
const slower = 1
