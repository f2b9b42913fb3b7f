package seam

import (
	"encoding/json"

	"github.com/postilion/postilion/internal/mail"
)

func encodeEnvelope(p []byte, env *mail.Envelope) ([]byte, error) {
	j, err := json.Marshal(env)
	return append(p, j...), err
}

func decodeEnvelope(p []byte, env *mail.Envelope) error { return json.Unmarshal(p, env) }
