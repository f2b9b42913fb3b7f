-- Names and keys are in their compared form; times are microseconds since the Unix
-- epoch in UTC; ids and tenants are 64-bit patterns.

CREATE TABLE domains (
    name             TEXT PRIMARY KEY,
    alias_of         TEXT NOT NULL,
    catch_all        TEXT NOT NULL,
    catch_all_domain TEXT NOT NULL,
    separators       TEXT NOT NULL,
    case_sensitive   INTEGER NOT NULL,
    disabled         INTEGER NOT NULL,
    max_size         BIGINT NOT NULL,
    tenant           BIGINT NOT NULL,
    created          BIGINT NOT NULL
);
CREATE INDEX domains_alias_of ON domains (alias_of) WHERE alias_of <> '';
CREATE INDEX domains_catch_all ON domains (catch_all_domain) WHERE catch_all_domain <> '';

CREATE TABLE accounts (
    id             BIGINT PRIMARY KEY,
    domain         TEXT NOT NULL REFERENCES domains (name),
    local_key      TEXT NOT NULL,
    local_part     TEXT NOT NULL, -- the bytes as they were given
    name           TEXT NOT NULL,
    disabled       INTEGER NOT NULL,
    no_send        INTEGER NOT NULL,
    quota_bytes    BIGINT NOT NULL,
    quota_messages BIGINT NOT NULL,
    max_size       BIGINT NOT NULL,
    max_recipients BIGINT NOT NULL,
    mailbox        TEXT NOT NULL,
    tenant         BIGINT NOT NULL,
    created        BIGINT NOT NULL
);
CREATE UNIQUE INDEX accounts_address ON accounts (domain, local_key);
CREATE UNIQUE INDEX accounts_mailbox ON accounts (mailbox);

CREATE TABLE aliases (
    domain     TEXT NOT NULL REFERENCES domains (name),
    local_key  TEXT NOT NULL,
    local_part TEXT NOT NULL,
    targets    TEXT NOT NULL, -- JSON, an array of {"Local", "Domain"}
    tenant     BIGINT NOT NULL,
    PRIMARY KEY (domain, local_key)
);

CREATE TABLE blocks (
    what    TEXT PRIMARY KEY,
    reason  TEXT NOT NULL,
    expires BIGINT NOT NULL, -- 0: never
    created BIGINT NOT NULL
);

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('account', 0), ('generation', 0);
