package dotqmail

import (
	"strings"
	"time"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail"
)

// Delivery is what the variables of a delivery are made of (qmail reference 9.2).
type Delivery struct {
	User, Home string
	Local      string // with the prefix of virtualdomains, in its own case
	Host       string
	Ext        string
	Name       Name   // the file that was found; its zero value for the default delivery
	Sender     string // the envelope sender, not quoted; "" for bounces
	NewSender  string // see [NewSender]
	Time       time.Time
}

// Env returns the variables that programs of a delivery get, as NAME=value.
func (d Delivery) Env() []string {
	env := []string{
		"SENDER=" + d.Sender,
		"NEWSENDER=" + d.NewSender,
		"RECIPIENT=" + d.Local + "@" + d.Host,
		"USER=" + d.User,
		"HOME=" + d.Home,
		"LOCAL=" + d.Local,
		"HOST=" + d.Host,
	}
	host := d.Host
	for _, name := range []string{"HOST2", "HOST3", "HOST4"} {
		if i := strings.LastIndexByte(host, '.'); i >= 0 {
			host = host[:i]
		}
		env = append(env, name+"="+host)
	}
	ext := d.Ext
	for _, name := range []string{"EXT", "EXT2", "EXT3", "EXT4"} {
		env = append(env, name+"="+ext)
		_, ext, _ = strings.Cut(ext, "-")
	}
	if d.Name.HasDefault {
		env = append(env, "DEFAULT="+d.Name.Default)
	}
	return append(env,
		"DTLINE="+DTLine(d.Local, d.Host),
		"RPLINE="+RPLine(d.Sender),
		"UFLINE="+UFLine(d.Sender, d.Time))
}

// DTLine returns the Delivered-To field of a delivery, with its line feed.
func DTLine(local, host string) string {
	return "Delivered-To: " + strings.ReplaceAll(local+"@"+host, "\n", "_") + "\n"
}

// RPLine returns the Return-Path field for an envelope sender, with its line feed.
func RPLine(sender string) string {
	return "Return-Path: <" + strings.ReplaceAll(mail.ParseAddress(sender).Quoted(), "\n", "_") + ">\n"
}

// UFLine returns the From_ line of an mbox for an envelope sender, with its line feed:
// blanks of the sender become "-", no sender is MAILER-DAEMON, the time is in UTC.
func UFLine(sender string, t time.Time) string {
	if sender == "" {
		sender = "MAILER-DAEMON"
	}
	sender = strings.NewReplacer(" ", "-", "\t", "-", "\n", "-").Replace(sender)
	return string(qmail.AppendFromDate([]byte("From "+sender+" "), t)) + "\n"
}
