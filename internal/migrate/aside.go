package migrate

// AsidePrefix begins the hidden name of what was set aside in its folder: `switch over` gives such names, and what
// reads a host's settings knows the files by them.
const AsidePrefix = ".before-postilion."
