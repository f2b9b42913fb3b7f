package route

type aliases struct{}

func newAliases(Options, Deps) *aliases { return nil }

func (s *system) alias(*Route, place) (bool, error) { return false, nil }
