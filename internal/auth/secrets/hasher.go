package secrets

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"

	"github.com/postilion/postilion/internal/reason"
)

// hasher bounds what passwords cost: a fixed number of hashes at once, in a fixed
// memory, with a queue of a fixed length before it.
type hasher struct {
	slots  *semaphore.Weighted
	all    int64 // slots
	memory int64 // bytes of one slot
	passes uint32
	queue  int64

	waiting atomic.Int64
	ran     atomic.Int64 // argon2id hashes computed in all
}

func newHasher(o Options) *hasher {
	n := int64(o.HashConcurrency)
	return &hasher{slots: semaphore.NewWeighted(n), all: n, memory: o.HashMemory, passes: uint32(o.HashPasses), queue: int64(o.HashQueue)}
}

// run runs f in as many slots as memory bytes take. The error is temporary: f did
// not run.
func (h *hasher) run(ctx context.Context, memory int64, f func()) error {
	weight := min(max(1, (memory+h.memory-1)/h.memory), h.all)
	if !h.slots.TryAcquire(weight) {
		if h.waiting.Add(1) > h.queue {
			h.waiting.Add(-1)
			return reason.AuthBusy
		}
		err := h.slots.Acquire(ctx, weight)
		h.waiting.Add(-1)
		if err != nil {
			return reason.AuthBusy.Because(err)
		}
	}
	defer h.slots.Release(weight)
	f()
	return nil
}

// hash returns the argon2id form of a password.
func (h *hasher) hash(password string) string {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails: crypto/rand.Read
	h.ran.Add(1)
	key := argon2.IDKey([]byte(password), salt, h.passes, uint32(h.memory>>10), 1, 32)
	return h.prefix() + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(key)
}

// prefix begins every form that hash returns.
func (h *hasher) prefix() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$", argon2.Version, h.memory>>10, h.passes)
}

// idle does the work of hash for nothing, so that a failure costs the same whoever it
// is of.
func (h *hasher) idle(password string) {
	h.ran.Add(1)
	argon2.IDKey([]byte(password), make([]byte, 16), h.passes, uint32(h.memory>>10), 1, 32)
}

// current reports whether a form is as strong as hash would make it.
func (h *hasher) current(form string) bool {
	return strings.HasPrefix(form, "$argon2id$v=19$") &&
		number(form, "m=", 0)<<10 >= h.memory && number(form, "t=", 0) >= int64(h.passes)
}
