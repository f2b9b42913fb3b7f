package secrets

// Matches reports whether a password is the one of a stored form: those that an account's password
// may be imported in. The error says that the form is none, or costs too much.
func Matches(stored, password string) (bool, error) {
	forms, err := newForms()
	if err != nil {
		return false, err
	}
	f, err := forms.parse(stored)
	if err != nil {
		return false, err
	}
	return f.match(password)
}
