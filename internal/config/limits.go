package config

import (
	"cmp"
	"fmt"
	"reflect"
)

// What an operator writes must be what counts. Parts take 0 for "the default", so a 0 that
// somebody wrote where the default is another number would silently be that number; and no
// negative number means anything unless its key says so ("min" tag).

// limits finds numbers, durations and sizes that are out of their key's range. What a qmail's
// files say is not looked at: it has qmail's meaning.
func (f *File) limits(s *schema) (ps Problems) {
	root := reflect.ValueOf(f.Config).Elem()
	for i := range s.keys {
		k := &s.keys[i]
		o, given := f.Origins[k.Name]
		if k.Repeated || !given || o.From == "qmail" || k.Type != "number" && k.Type != "duration" && k.Type != "size" {
			continue
		}
		if wrong := k.outOfRange(root.FieldByIndex(k.path)); wrong != "" {
			ps = append(ps, Problem{Key: k.Name, Text: what(k.Name) + ": " + wrong})
		}
	}
	return ps
}

// outOfRange says what is wrong with a value that was given; "" is nothing.
func (k *Key) outOfRange(v reflect.Value) string {
	have, ok := number(v)
	if !ok {
		return ""
	}
	value := func(tag string) reflect.Value {
		b := reflect.New(k.typ).Elem()
		_ = setText(b, k, cmp.Or(tag, "0")) // newSchema has tried it
		return b
	}
	bound := func(tag string) float64 { n, _ := number(value(tag)); return n }
	switch {
	case have < bound(k.min) && k.min == "":
		return fmt.Sprintf("%s: want a %s that is not negative", format(v, k), k.Type)
	case have < bound(k.min):
		return fmt.Sprintf("%s: want %s or more", format(v, k), k.min)
	case k.max != "" && have > bound(k.max):
		return fmt.Sprintf("%s: want at most %s", format(v, k), k.max)
	case have == 0 && bound(k.Default) != 0:
		return fmt.Sprintf("%s is not taken: leave the key out for the default, %s", format(v, k), format(value(k.Default), k))
	}
	return ""
}

// number returns the value of a field that holds a number of any kind.
func number(v reflect.Value) (n float64, ok bool) {
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}
