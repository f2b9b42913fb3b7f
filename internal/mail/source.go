package mail

import "io"

// Source is a reader of what somebody hands in. It remembers its failure, so that whoever copies it knows which side
// failed.
type Source struct {
	io.Reader
	Err error // why it ended early; nil before that, and at its proper end
}

// Read implements io.Reader.
func (s *Source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.Err = err
	}
	return n, err
}
