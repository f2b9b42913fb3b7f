#!/bin/bash
# A host that two mail systems have been installed on: the distribution's Postfix on 127.0.0.1, and a qmail
# under svscan on 127.0.0.2. NOTQMAIL_SOURCE is replaced by a folder of notqmail's source, or by nothing.
set -e
host=mx.example.test
source='NOTQMAIL_SOURCE'
echo "joe:x:61201:61201::/home/joe:/bin/sh" >>/etc/passwd
echo "joe:x:61201:" >>/etc/group
mkdir -p /home/joe/Maildir/{tmp,new,cur}
chown -R 61201:61201 /home/joe
echo "127.0.0.1 localhost $host" >/etc/hosts
echo "$host" >/etc/hostname
: >/etc/resolv.conf

# Postfix, as its package sets it up.
cat >/etc/postfix/main.cf <<CF
compatibility_level = 3.6
myhostname = $host
mydestination = $host
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
home_mailbox = Maildir/
maillog_file = /var/log/postfix.log
CF
cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
postmulti -e init >/dev/null 2>&1 || :
rm -rf /var/spool/postfix/{active,incoming,deferred,maildrop}/* /var/lib/postfix/*
cp -a /etc/{hosts,resolv.conf,services,localtime} /var/spool/postfix/etc/ 2>/dev/null || :

# qmail: a real one where there is its source, else what greets as one.
rm -rf /var/qmail /service
if [ -n "$source" ]; then
	echo "nofiles:x:61210:" >>/etc/group
	echo "qmail:x:61211:" >>/etc/group
	uid=61220
	for user in alias:61210 qmaild:61210 qmaill:61210 qmailp:61210 qmailq:61211 qmailr:61211 qmails:61211; do
		echo "${user%:*}:x:$((uid++)):${user#*:}::/var/qmail$([ "${user%:*}" != alias ] || echo /alias):/bin/false" >>/etc/passwd
	done
	cp -r "$source" /root/notqmail
	mkdir -p /var/qmail
	make -C /root/notqmail setup >/root/make.log 2>&1
fi
mkdir -p /var/qmail/{control,alias,bin,users} /var/qmail/supervise/{qmail-smtpd,qmail-send} /service
for name in me locals rcpthosts; do echo "$host" >/var/qmail/control/$name; done
echo ./Maildir/ >/var/qmail/control/defaultdelivery
echo "&joe" >/var/qmail/alias/.qmail-postmaster
smtpd="sh -c 'printf \"220 old qmail ESMTP\\\\r\\\\n\"; read -r line; printf \"221 old qmail\\\\r\\\\n\"'"
send="exec sleep 100000"
if [ -n "$source" ]; then
	smtpd=/var/qmail/bin/qmail-smtpd
	send="exec env - PATH=/var/qmail/bin:/usr/bin:/bin qmail-start ./Maildir/"
	echo "$host old qmail" >/var/qmail/control/smtpgreeting
fi
printf '#!/bin/sh\nexec 2>&1\nexec tcpserver -H -R -l0 127.0.0.2 25 %s\n' "$smtpd" >/var/qmail/supervise/qmail-smtpd/run
printf '#!/bin/sh\nexec 2>&1\n%s\n' "$send" >/var/qmail/supervise/qmail-send/run
printf '#!/bin/sh\necho of the house\n' >/var/qmail/bin/house-filter
chmod 755 /var/qmail/supervise/*/run /var/qmail/bin/house-filter
ln -s /var/qmail/supervise/qmail-smtpd /var/qmail/supervise/qmail-send /service/

mkdir -p /etc/systemd/system/multi-user.target.wants
cat >/etc/systemd/system/qmail.service <<UNIT
[Unit]
Description=qmail under svscan
[Service]
ExecStart=$(command -v svscan) /service
Restart=always
[Install]
WantedBy=multi-user.target
UNIT
ln -s /etc/systemd/system/qmail.service /lib/systemd/system/postfix.service /etc/systemd/system/multi-user.target.wants/
cat >/etc/systemd/system/postilion.service <<UNIT
[Unit]
Description=Postilion mail server
[Service]
Type=notify
ExecStart=/usr/local/bin/postilion serve
StandardError=append:/var/log/postilion.log
Restart=always
WatchdogSec=60
[Install]
WantedBy=multi-user.target
UNIT

cat >/etc/init.d/qmail <<'SCRIPT'
#!/bin/sh
### BEGIN INIT INFO
# Provides:          qmail
# Required-Start:    $remote_fs
# Required-Stop:     $remote_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: qmail under svscan
### END INIT INFO
. /lib/lsb/init-functions
pidfile=/run/qmail.pid
case $1 in
start) start-stop-daemon --start --background --make-pidfile --pidfile "$pidfile" --exec "$(command -v svscan)" -- /service ;;
stop)
	start-stop-daemon --stop --pidfile "$pidfile" --oknodo
	rm -f "$pidfile"
	svc -dx /service/qmail-smtpd /service/qmail-send
	;;
esac
SCRIPT
chmod 755 /etc/init.d/qmail
for level in 2 3 4 5; do
	mkdir -p /etc/rc$level.d
	ln -s ../init.d/postfix /etc/rc$level.d/S01postfix
	ln -s ../init.d/qmail /etc/rc$level.d/S20qmail
done

mkdir -p /var/lib/postilion
cat >/var/lib/postilion/postilion.toml <<TOML
qmail = "/var/qmail"
[smtp]
listen = ["127.0.0.1:25", "127.0.0.2:25"]
greeting = "mx.example.test Postilion"
TOML
