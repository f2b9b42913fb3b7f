package trace

// Tee is a Recorder that hands each event to all of its Recorders.
type Tee []Recorder

// Record hands e on.
func (t Tee) Record(e Event) {
	for _, r := range t {
		r.Record(e)
	}
}
