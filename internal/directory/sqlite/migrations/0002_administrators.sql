-- Who administers which domain or tenant, and what a domain may hold. 0 and '' are none.

CREATE TABLE administrators (
    account BIGINT NOT NULL,
    domain  TEXT NOT NULL,
    tenant  BIGINT NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (account, domain, tenant)
);
CREATE INDEX administrators_domain ON administrators (domain) WHERE domain <> '';
CREATE INDEX administrators_tenant ON administrators (tenant) WHERE tenant <> 0;
CREATE INDEX domains_tenant ON domains (tenant) WHERE tenant <> 0;

ALTER TABLE domains ADD COLUMN max_accounts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN max_aliases BIGINT NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN quota_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN default_quota BIGINT NOT NULL DEFAULT 0;
