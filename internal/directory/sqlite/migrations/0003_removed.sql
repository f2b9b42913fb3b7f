-- Removed accounts of which something may still be kept: their passwords, their mail.

CREATE TABLE removed (
    account BIGINT PRIMARY KEY,
    mailbox TEXT NOT NULL,
    at      BIGINT NOT NULL
);
CREATE INDEX removed_mailbox ON removed (mailbox);
