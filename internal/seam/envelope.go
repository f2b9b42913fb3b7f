package seam

import (
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
)

// encodeEnvelope appends the envelope in the queue's own form.
func encodeEnvelope(p []byte, env *mail.Envelope) []byte { return queue.AppendEnvelope(p, env) }

// decodeEnvelope fills env, whose address a draft keeps.
func decodeEnvelope(p []byte, env *mail.Envelope) error {
	e, err := queue.DecodeEnvelope(p)
	if err == nil {
		*env = *e
	}
	return err
}
