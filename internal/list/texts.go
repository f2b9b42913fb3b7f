package list

// texts are what a list says where it has no text of its own, in DIR/text or in the folders behind
// it. Their names are ezmlm's.
var texts = map[string]string{
	"top": `Hello! This is the program that looks after the mailing list
<#l#>@<#h#>.

A person can be reached at <#L#>-owner@<#H#>.

`,
	"bottom": `
--- Commands of this list

Each command is an address; subject and text of the mail do not matter.

   <#l#>-subscribe@<#h#>     join the list
   <#l#>-unsubscribe@<#h#>   leave it
   <#L#>-help@<#H#>          these and further commands
<=a=>
   <#L#>-index@<#H#>         the subjects of the newest messages
   <#L#>-get.12_45@<#H#>     the messages 12 to 45
<==>

To do it for another address, say joe@example.test, put it before the "@",
with "=" in place of its own:

   <#l#>-subscribe-joe=example.test@<#h#>

--- Enclosed is a copy of the request I received.

`,
	"sub-confirm": `Somebody, probably you, asked me to add

!A

to the mailing list <#l#>@<#h#>. To confirm, just answer this mail. The
answer must go to

!R

which most mail programs do by "Reply". The answer's text does not matter.

If you did not ask, do nothing: without an answer nothing happens.

`,
	"sub-ok": `Welcome! From now on the address

!A

gets what is sent to the mailing list <#l#>@<#h#>.

Keep this mail: should you want to leave, send any mail to

   <#l#>-unsubscribe-<#t#>@<#h#>

`,
	"sub-nop": `The address

!A

is on the mailing list <#l#>@<#h#> already. Nothing has changed.

`,
	"sub-bad": `That confirmation was not valid any more, or was not for this address.
They last for ten days. Nothing has changed.

To have

!A

added to the mailing list, answer this mail. The answer must go to

!R
`,
	"unsub-confirm": `Somebody, probably you, asked me to remove

!A

from the mailing list <#l#>@<#h#>. To confirm, just answer this mail. The
answer must go to

!R

which most mail programs do by "Reply".

If you did not ask, do nothing: without an answer you stay on the list.

`,
	"unsub-ok": `Goodbye. The address

!A

is no longer on the mailing list <#l#>@<#h#>.

To come back, send any mail to

   <#l#>-subscribe-<#t#>@<#h#>

`,
	"unsub-nop": `The address

!A

is not on the mailing list <#l#>@<#h#>.

Should messages of the list still reach you, you are on it by another
address: look for it in the Return-Path field of such a message. It stands
there behind "<#l#>-return-" and a number, with "=" in place of "@".

`,
	"unsub-bad": `That confirmation was not valid any more, or was not for this address.
They last for ten days. Nothing has changed.

To have

!A

removed from the mailing list, answer this mail. The answer must go to

!R
`,
	"mod-sub-confirm": `You get this as a moderator of the mailing list <#l#>@<#h#>.
Shall

!A

be on it? If so, answer this mail. The answer must go to

!R

If not, do nothing.

`,
	"mod-unsub-confirm": `You get this as a moderator of the mailing list <#l#>@<#h#>.
Shall

!A

be removed from it? If so, answer this mail. The answer must go to

!R

If not, do nothing.

`,
	"mod-sub": `This was decided by a moderator of the list. Questions go to
<#L#>-owner@<#H#>.
`,
	"mod-help": `Commands for moderators of <#l#>@<#h#>, who add and remove others:

   <#l#>-subscribe-joe=example.test@<#h#>
   <#l#>-unsubscribe-joe=example.test@<#h#>

I then ask you, not them, to confirm. The digest's readers, those who may
post without being on the list, and those who may not post at all are reached
by digest-, allow- or deny- before the command:

   <#l#>-allow-subscribe-joe=example.test@<#h#>
<=l=>
   <#l#>-list@<#h#>          the addresses on the list
   <#l#>-listn@<#h#>         how many there are
   <#l#>-log@<#h#>           who came and went, and when
<==>

`,
	"mod-request": `You get this as a moderator of the mailing list <#l#>@<#h#>.
Shall the message below be sent to it? If so, send any mail to

!A

which "Reply" does. To send it back to its author, send a mail to

!R

What stands in it between two lines that begin with %%% is shown to the author.
Without a decision it goes back after some days.

`,
	"mod-reject": `The moderators of <#l#>@<#h#> have decided against sending
your message, which follows, to the list.
`,
	"mod-timeout": `Nobody decided in time whether your message, which follows, may go to
the list <#l#>@<#h#>. You are welcome to send it again.

`,
	"post-confirm": `A message for the list <#l#>@<#h#> came in your name; it
follows. If it is yours, send any mail to

!A

which "Reply" does, and it is sent to the list. If it is not, do nothing.

`,
	"get-bad": `There is no such message in the archive.

`,
	"digest":  "The address of the list is <#L#>@<#H#>; commands go to <#L#>-help@<#H#>.\n\n",
	"trailer": "\n--\nTo leave the list, send any mail to <#l#>-unsubscribe@<#h#>\n",
	"faq":     "There are no questions and answers for this list yet.\n\n",
	"info":    "There is no description of this list yet.\n\n",
	"help": `This address does not read mails for commands: each command is an
address of its own. Yours was not sent to any of my command addresses, or
to the one for help.

`,
	"bounce-warn": `Messages of the mailing list <#l#>@<#h#> that I sent to you came
back. The first of them is enclosed.

If this message comes back as well, I will send another one, a probe. Should
that come back too, I take your address off the list, and say no more.

`,
	"bounce-probe": `Messages of the mailing list <#l#>@<#h#> that I sent to you came
back, and so did a warning. This is the probe: if it comes back, I take
your address off the list, and say no more. If you read it, all is well.

`,
	"bounce-num": `These are the numbers of the messages that came back. To get message 12
from the archive, send any mail to <#L#>-get.12@<#H#>.

`,
	"dig-bounce-num": `These are the numbers of the digests that came back.

`,
	"bounce-bottom": `
--- Enclosed is what came back.

`,
}
