-- Accounts are the directory's ids; times are microseconds since the Unix epoch in UTC.

CREATE TABLE passwords (
    account          BIGINT PRIMARY KEY,
    hash             TEXT NOT NULL, -- a crypt(3) form or {SCHEME}…
    scram_iterations BIGINT NOT NULL, -- 0: no keys are known
    scram_salt       TEXT NOT NULL, -- base64, as are the keys
    scram_stored     TEXT NOT NULL,
    scram_server     TEXT NOT NULL,
    changed          BIGINT NOT NULL
);

CREATE TABLE app_passwords (
    account       BIGINT NOT NULL,
    name          TEXT NOT NULL,
    sum           TEXT NOT NULL, -- hexadecimal SHA-256 of 100 random bits
    protocols     TEXT NOT NULL, -- separated by a space; none: all
    created       BIGINT NOT NULL,
    used          BIGINT NOT NULL,
    used_client   TEXT NOT NULL,
    used_protocol TEXT NOT NULL,
    PRIMARY KEY (account, name)
);

-- Failures by network or user name.
CREATE TABLE strikes (
    who   TEXT PRIMARY KEY,
    n     BIGINT NOT NULL,
    last  BIGINT NOT NULL,
    until BIGINT NOT NULL
);

-- Where accounts logged in from.
CREATE TABLE known (
    account BIGINT NOT NULL,
    client  TEXT NOT NULL, -- a network
    last    BIGINT NOT NULL,
    PRIMARY KEY (account, client)
);

CREATE TABLE keys (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL -- base64
);
